package lob

import (
	"errors"
	"fmt"

	"github.com/agwgo/agw/tokensource"
)

var (
	// ErrNoLandscape: it is not known which landscape the agent runs in.
	ErrNoLandscape = errors.New("agw: no landscape: set " + envLandscape + ", or Credentials.Landscape")
	// ErrNoTenant: neither the request nor the configuration names a tenant.
	ErrNoTenant = errors.New("agw: no tenant: name one with tokensource.WithTenant, or configure Tenant or TenantFunc")
	// ErrNoFragment: the Destination Service has no fragment for the tenant. See
	// [FragmentError].
	ErrNoFragment = errors.New("agw: no fragment")
	// ErrNoDestinationToken: the destination has no token that could be used.
	ErrNoDestinationToken = errors.New("agw: the destination has no usable token")
)

// A FragmentError says which fragment a tenant lacks. It is an [ErrNoFragment].
type FragmentError struct {
	Label  string // what the fragment would be labeled
	Tenant string
	Reason string // what there is in its place; "" if nothing
}

// Error names the label and the tenant.
func (e *FragmentError) Error() string {
	text := fmt.Sprintf("no fragment labeled %q in tenant %q", e.Label, e.Tenant)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Unwrap returns ErrNoFragment.
func (e *FragmentError) Unwrap() error { return ErrNoFragment }

// asError returns err as a [tokensource.Error], or nil.
func asError(err error) *tokensource.Error {
	var e *tokensource.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// answered reports whether err is the Destination Service's answer of that status,
// and not one of the authorization server about the service token.
func answered(err error, status int) bool {
	e := asError(err)
	return e != nil && e.StatusCode == status && e.Op != opServiceToken
}

// refused reports whether credentials were refused for good.
func refused(err error) bool {
	e := asError(err)
	return e != nil && e.Kind == tokensource.Refused
}

// passing reports whether the same request may succeed later.
func passing(err error) bool {
	e := asError(err)
	return e == nil || e.Kind == tokensource.Passing
}
