package lob

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// A Binding is a binding to the Destination Service. Every field but Source is
// required.
//
// It prints and marshals without its secret.
type Binding struct {
	ClientID     string // key clientid
	ClientSecret string // key clientsecret
	URL          string // key url: base of the authorization server, with IdentityZone as a label of its host
	URI          string // key uri: base of the Destination Service
	IdentityZone string // key identityzone: the provider's subdomain

	// Source says where the binding comes from. It is for messages only, and may be
	// empty.
	Source string
}

// Credentials are what an agent needs in order to obtain tokens. Those that [Load]
// has read from files are read again when the files change; others stay as they
// are.
type Credentials struct {
	Binding

	// Landscape is the landscape that the agent runs in. It is required, for it is a
	// part of the name of the destination.
	Landscape string

	files string // the directory that the binding was read from, or ""
}

// field is one of the required values of a binding.
type field struct {
	key   string
	value *string
}

// fields returns the required values, to be read or to be set.
func (b *Binding) fields() []field {
	return []field{
		{"clientid", &b.ClientID},
		{"clientsecret", &b.ClientSecret},
		{"url", &b.URL},
		{"uri", &b.URI},
		{"identityzone", &b.IdentityZone},
	}
}

// A BindingError says which key of a binding is wrong.
type BindingError struct {
	Key    string // such as "clientid"
	Source string // see [Binding.Source]
	Err    error  // what is wrong; it does not hold the value
}

// Error names the source and the key.
func (e *BindingError) Error() string {
	source := "Destination Service binding"
	if e.Source != "" {
		source += " (" + e.Source + ")"
	}
	const prefix = "agw: "
	return prefix + source + ": " + e.Key + ": " + strings.TrimPrefix(e.Err.Error(), prefix)
}

// Unwrap returns what is wrong.
func (e *BindingError) Unwrap() error { return e.Err }

// wrong returns an error about a key of b.
func (b *Binding) wrong(key string, err error) error {
	return &BindingError{Key: key, Source: b.Source, Err: err}
}

// complete returns an error that names every value that is missing.
func (b *Binding) complete() error {
	var errs []error
	for _, f := range b.fields() {
		if strings.TrimSpace(*f.value) == "" {
			errs = append(errs, b.wrong(f.key, errors.New("missing or empty")))
		}
	}
	return errors.Join(errs...)
}

// Format prints everything but the secret, whatever the verb.
func (b Binding) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, b.describe()) }

// MarshalJSON returns what Format prints, as a string.
func (b Binding) MarshalJSON() ([]byte, error) { return json.Marshal(b.describe()) }

// LogValue returns what Format prints.
func (b Binding) LogValue() slog.Value { return slog.StringValue(b.describe()) }

// describe leaves out the URLs as well: before they are checked, they may hold a
// password.
func (b Binding) describe() string {
	return fmt.Sprintf("binding{source:%q clientid:%q identityzone:%q}", b.Source, b.ClientID, b.IdentityZone)
}
