package lob

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/agwgo/agw/tokensource"
)

// Credentials are a binding to the Destination Service, and the landscape that the agent
// runs in. All fields but Source are required.
//
// Credentials that [Load] read from files are read again when these change. Others stay as
// they are.
//
// They print and marshal without the secret.
type Credentials struct {
	ClientID     string
	ClientSecret string
	URL          string // base of the authorization server; IdentityZone is a label of its host
	URI          string // base of the Destination Service
	IdentityZone string // the provider's subdomain

	// Landscape is a part of the destination's name.
	Landscape string

	// Source says where the binding comes from, in errors only.
	Source string

	dir string // of the files; "" if the binding is not from files
}

var (
	errMissing     = errors.New("missing or empty: copy it from the binding to the Destination Service")
	errNoLandscape = errors.New("missing or empty: set it to the landscape that the agent runs in, such as eu10")
)

// A field is one of those that make up a binding.
type field struct {
	name  string // in Go
	key   string // in a binding
	value *string
}

// binding returns the fields of the binding.
func (c *Credentials) binding() []field {
	return []field{
		{"ClientID", "clientid", &c.ClientID},
		{"ClientSecret", "clientsecret", &c.ClientSecret},
		{"URL", "url", &c.URL},
		{"URI", "uri", &c.URI},
		{"IdentityZone", "identityzone", &c.IdentityZone},
	}
}

// spelling returns what the field with that key is called where the binding comes from.
func (c *Credentials) spelling(key string) string {
	switch {
	case c.dir != "":
		return key
	case c.Source == environment:
		return envBinding + strings.ToUpper(key)
	}
	for _, f := range c.binding() {
		if f.key == key {
			key = f.name
		}
	}
	return key
}

// invalid returns the error of the field with that key.
func (c *Credentials) invalid(key string, err error) error {
	return &tokensource.ConfigError{Source: c.Source, Field: c.spelling(key), Err: err}
}

// missing returns the keys of the binding that have no value.
func (c *Credentials) missing() (keys []string) {
	for _, f := range c.binding() {
		if strings.TrimSpace(*f.value) == "" {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// checkComplete returns an error for each key of the binding that has no value.
func (c *Credentials) checkComplete() error {
	var errs []error
	for _, key := range c.missing() {
		errs = append(errs, c.invalid(key, errMissing))
	}
	return errors.Join(errs...)
}

// Format prints everything but the secret and the URLs, whatever the verb: before they are
// checked, URLs may hold a password.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.describe()) }

// MarshalJSON returns what Format prints, as a string.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.describe()) }

// LogValue returns what Format prints.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.describe()) }

func (c *Credentials) describe() string {
	return fmt.Sprintf("lob.Credentials{source:%q clientid:%q identityzone:%q landscape:%q}", c.Source, c.ClientID, c.IdentityZone, c.Landscape)
}
