package transport

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/internal/wire"
)

var (
	// ErrForeignHost: the URL leads to another scheme, host or port than the
	// gateway's. Nothing was sent; see [Options].PassForeignHosts.
	ErrForeignHost = errors.New("agw: foreign host")
	// ErrOpaqueURL: the URL has a scheme and no slash after it. That is how a relative
	// reference parses that begins with an ORD id, such as sap.s4:apiAccess:order:v1.
	ErrOpaqueURL = errors.New("agw: opaque URL (put a leading slash before an ORD id)")
	// ErrPathEscapes: the path has a ".." segment, however encoded, and could lead out
	// of the gateway's own path.
	ErrPathEscapes = errors.New(`agw: the path has a ".." segment`)
	// ErrNoGateway: a token came without the gateway that it is for.
	ErrNoGateway = errors.New("agw: the token came without the URL of its gateway")
)

var (
	errNoSource = errors.New("agw: the transport has no source of tokens")
	errNoURL    = errors.New("agw: the request has no URL")
)

// foreignError is an ErrForeignHost that says which. Of a URL it keeps the origin
// alone, since the rest may be confidential.
type foreignError struct{ target, gateway string }

func newForeignError(target, gateway *url.URL) error {
	return &foreignError{origin.String(target), origin.String(gateway)}
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("%v: the request is for %q, the gateway is %q", ErrForeignHost, e.target, e.gateway)
}

func (e *foreignError) Unwrap() error { return ErrForeignHost }

// stepError says at which step of a request err occurred. Timeout and Temporary are
// there because [url.Error], in which an http.Client wraps it, does not look deeper.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }

func (e *stepError) Unwrap() error { return e.err }

// Timeout reports whether the caller's time, or that of the step, was over.
func (e *stepError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}

// Temporary reports whether a later attempt may succeed.
func (e *stepError) Temporary() bool {
	var t interface{ Temporary() bool }
	return errors.As(e.err, &t) && t.Temporary()
}

// sendError returns the base's error about out. It names the gateway, since a caller
// who used the placeholder knows no other host; and if err quotes the token, only what
// can be shown of it is left: net/http quotes malformed answers, and the gateway knows
// the token.
func sendError(out *outgoing, err error) error {
	ended := out.Context().Err()
	if ended != nil && errors.Is(err, ended) {
		return err
	}
	if token := out.Header.Get(authorization); wire.Shows(err.Error(), token) {
		err = errors.New("malformed answer: " + wire.Clean(err.Error(), token))
	}
	return &stepError{"gateway " + origin.String(out.URL), err}
}
