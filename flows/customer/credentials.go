package customer

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

// Credentials are what a customer's agent has to obtain tokens. They come from [Load] or
// are made by hand. [Credentials.NewFlow] checks and copies them.
//
// They print and marshal without the certificate and the private key.
type Credentials struct {
	TokenServiceURL string // the token endpoint, used as it is
	ClientID        string

	// Certificate and PrivateKey are PEM: a client certificate, with any intermediate
	// ones after it, and its unencrypted key in PKCS #1, PKCS #8 or SEC 1 form. Both are
	// empty if something else presents a certificate.
	Certificate, PrivateKey string

	GatewayURL string

	// Dependencies are what the agent may call through the gateway. nil means that they
	// are not known: tokens can be had, but no lists of endpoints.
	Dependencies []flows.Dependency

	// Source says in errors where the credentials came from: a file, "environment", or
	// whatever they were made from by hand.
	Source string

	names   map[string]string // of the fields above, and of those of a Dependency, at the source; nil: the same
	binding string            // directory; "" if they came from no file
	content string            // of the binding's credentials file
}

var (
	namesInFile = map[string]string{
		"TokenServiceURL": "tokenServiceUrl", "ClientID": "clientid", "Certificate": "certificate", "PrivateKey": "privateKey",
		"GatewayURL": "gatewayUrl", "Dependencies": "integrationDependencies", "ORDID": "ordId", "GlobalTenantID": "globalTenantId",
	}
	namesInEnvironment = map[string]string{
		"TokenServiceURL": "INTEGRATION_AUTH_URL", "ClientID": "INTEGRATION_CLIENT_ID", "GatewayURL": "INTEGRATION_GATEWAY_URL",
		"Dependencies": "INTEGRATION_DEPENDENCIES", "ORDID": "ordId", "GlobalTenantID": "globalTenantId",
	}
)

// nameOf returns the name of a field at the source.
func (c *Credentials) nameOf(field string) string {
	if name, ok := c.names[field]; ok {
		return name
	}
	return field
}

// errorIn returns the error of a field.
func (c *Credentials) errorIn(field string, err error) error {
	return &tokensource.ConfigError{Source: c.Source, Field: c.nameOf(field), Err: err}
}

// errorInDependency returns the error of a field of dependency i; field "" means all of it.
func (c *Credentials) errorInDependency(i int, field string, err error) error {
	path := fmt.Sprintf("%s[%d]", c.nameOf("Dependencies"), i)
	if field != "" {
		path += "." + c.nameOf(field)
	}
	return &tokensource.ConfigError{Source: c.Source, Field: path, Err: err}
}

// Format prints everything but certificate and private key, whatever the verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.describe()) }

// MarshalJSON returns what Format prints, as a string.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.describe()) }

// LogValue returns what Format prints.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.describe()) }

func (c Credentials) describe() string {
	display := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			return "[malformed]"
		}
		return tokenservice.DisplayURL(u)
	}
	certificate := "none"
	if c.Certificate != "" || c.PrivateKey != "" {
		certificate = "[redacted]"
	}
	return fmt.Sprintf("customer.Credentials{client:%q token service:%q gateway:%q certificate:%s dependencies:%d source:%q}",
		c.ClientID, display(c.TokenServiceURL), display(c.GatewayURL), certificate, len(c.Dependencies), c.Source)
}
