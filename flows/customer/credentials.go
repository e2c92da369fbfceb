package customer

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
)

// Credentials are what a customer's agent has to obtain tokens. They come from
// [Load] or are made by hand; [NewFlow] checks and copies them.
//
// They print and marshal without the private key.
type Credentials struct {
	TokenServiceURL string // the token endpoint, used as it is
	ClientID        string

	// Certificate and PrivateKey are PEM: a client certificate, with any
	// intermediate ones after it, and its unencrypted key in PKCS #1, PKCS #8 or SEC 1
	// form. Both are empty if something else presents a certificate.
	Certificate, PrivateKey string

	GatewayURL string

	// Dependencies are what the agent may call through the gateway. nil means that
	// they are not known: tokens can be had, but no lists of endpoints.
	Dependencies []Dependency

	// Source says where the credentials came from, for errors: a file, "environment",
	// or whatever they were made from by hand.
	Source string

	fields fields // names of the above where they came from
	file   *file  // nil if they came from no file
}

// A Dependency is something that the agent may call through the gateway.
type Dependency struct {
	ORDID          string // Open Resource Discovery id, such as sap.s4:apiAccess:salesOrder:v1
	GlobalTenantID string // the tenant that it runs in
}

// fields are the names of the credentials' parts at their source.
type fields struct {
	tokenServiceURL, clientID, certificate, privateKey, gatewayURL, dependencies string
}

func fileFields() fields {
	return fields{"tokenServiceUrl", "clientid", "certificate", "privateKey", "gatewayUrl", "integrationDependencies"}
}

func envFields() fields {
	return fields{"INTEGRATION_AUTH_URL", "INTEGRATION_CLIENT_ID", "", "", "INTEGRATION_GATEWAY_URL", "INTEGRATION_DEPENDENCIES"}
}

func goFields() fields {
	return fields{"TokenServiceURL", "ClientID", "Certificate", "PrivateKey", "GatewayURL", "Dependencies"}
}

// names returns the names of the parts.
func (c *Credentials) names() fields {
	if c.fields == (fields{}) {
		return goFields()
	}
	return c.fields
}

// errorIn returns the error of one field.
func (c *Credentials) errorIn(field string, err error) error {
	return &ConfigError{Source: c.Source, Field: field, Err: err}
}

// sameAccess reports whether a token for c is as good as one for d.
func (c *Credentials) sameAccess(d *Credentials) bool {
	return c.TokenServiceURL == d.TokenServiceURL && c.ClientID == d.ClientID &&
		c.Certificate == d.Certificate && c.PrivateKey == d.PrivateKey && c.GatewayURL == d.GatewayURL
}

// Format prints everything but certificate and private key, whatever the verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.describe()) }

// MarshalJSON returns what Format prints, as a string.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.describe()) }

// LogValue returns what Format prints.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.describe()) }

func (c Credentials) describe() string {
	certificate := "none"
	if c.Certificate != "" || c.PrivateKey != "" {
		certificate = "[redacted]"
	}
	return fmt.Sprintf("customer.Credentials{client:%q token service:%q gateway:%q certificate:%s dependencies:%d source:%q}",
		c.ClientID, withoutSecrets(c.TokenServiceURL), withoutSecrets(c.GatewayURL), certificate, len(c.Dependencies), c.Source)
}

// withoutSecrets returns a URL, which need not be a valid one, without what may be
// secret in it.
func withoutSecrets(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "[malformed]"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
