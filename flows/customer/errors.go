package customer

import (
	"strings"

	"github.com/agwgo/agw/tokensource"
)

// A ConfigError is about credentials or options that cannot be used. Its text
// holds no secret.
type ConfigError struct {
	Source string // the file, "environment", or "" if made by hand
	Field  string // the key, variable or Go field at fault; "" if it is all of them
	Err    error  // what is wrong
}

// Error says where, which field and what.
func (e *ConfigError) Error() string {
	const prefix = "agw: "
	parts := []string{prefix + "customer"}
	for _, part := range []string{e.Source, e.Field, strings.TrimPrefix(e.Err.Error(), prefix)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// A NotFoundError is a [tokensource.ErrNoCredentials] that says where credentials
// were looked for, in this order, and what was there instead.
type NotFoundError struct {
	Looked []string // each a place and why it is not the one
}

// Error lists the places.
func (e *NotFoundError) Error() string {
	return tokensource.ErrNoCredentials.Error() + " for the customer flow: looked at " + strings.Join(e.Looked, "; then at ")
}

// Unwrap returns ErrNoCredentials.
func (e *NotFoundError) Unwrap() error { return tokensource.ErrNoCredentials }
