package transport

import (
	"fmt"
	"net/http"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/tokensource"
)

// Options of a [Transport]. The zero value means the defaults.
type Options struct {
	// Base sends the requests; nil means one of [NewBase].
	Base http.RoundTripper

	// PassForeignHosts hands requests for other origins than the gateway's to Base as
	// they are, without a token, instead of refusing them with [ErrForeignHost].
	PassForeignHosts bool

	// DangerouslyAllowPlainHTTP sends tokens unencrypted over the network if the
	// gateway's URL is an http one. Everybody on the way can read and use them. It is
	// for service meshes, in which something else encrypts the connection.
	DangerouslyAllowPlainHTTP bool

	// NewCorrelationID returns the x-correlation-id of a request whose caller set
	// none; "" sends none. It must be safe for concurrent use. nil means a random
	// UUID (RFC 9562, section 5.4).
	NewCorrelationID func() string

	// NoCorrelationID sends the x-correlation-id that a caller set, and no other.
	NoCorrelationID bool
}

// A Transport is an [http.RoundTripper] that sends requests to the gateway with the
// token of whoever their context acts for. See the package documentation for where a
// request goes. It must be made by [New], and is safe for concurrent use.
type Transport struct {
	src  tokensource.GrantSource
	opts Options
}

// New returns a Transport that takes its tokens from src. A nil opts means the
// defaults. With a nil src every request fails.
func New(src tokensource.GrantSource, opts *Options) *Transport {
	t := &Transport{src: src}
	if opts != nil {
		t.opts = *opts
	}
	if t.opts.Base == nil {
		t.opts.Base = NewBase()
	}
	if t.opts.NewCorrelationID == nil {
		t.opts.NewCorrelationID = newCorrelationID
	}
	if t.opts.NoCorrelationID {
		t.opts.NewCorrelationID = nil
	}
	return t
}

// Client returns a new [http.Client] over t, for the caller to adapt. It has no
// Timeout, since that would cut streams: use the requests' contexts.
func (t *Transport) Client() *http.Client { return &http.Client{Transport: t} }

// CloseIdleConnections closes the idle connections of the base, if it can.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.opts.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip sends req to the gateway and returns its answer. The errors of the token
// source and of the base (unless its text shows the token, as a malformed answer can
// make it) are within reach of [errors.Is] and [errors.As]; those of this package are
// [ErrForeignHost], [ErrOpaqueURL], [ErrPathEscapes], [ErrNoGateway] and
// [tokensource.ErrInsecureURL].
//
// The token replaces the Authorization of req, which does not say for whom the call
// acts: see [tokensource.WithUserToken]. Until there is a token, the context of req
// bounds the wait (its Cancel does not).
//
// If the answer is 401, the source is told. If then it has another token, and req has
// no body or a GetBody, the request is sent once more, whatever its method: the
// gateway authenticates before it acts. Otherwise the answer is returned, unread.
//
// The Request of the response is req, and its Location, if relative, is completed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	grant, out, err := t.prepare(req, t.opts.NewCorrelationID)
	if err != nil {
		return t.unsent(req, err)
	}
	resp, err := t.send(req, out)
	if err != nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	return t.retry(req, out, grant, resp)
}

// prepare returns a grant and the request with it, made of nothing but req and, if it
// needs one, a correlation id.
func (t *Transport) prepare(req *http.Request, newID func() string) (*tokensource.Grant, *outgoing, error) {
	if err := t.precheck(req); err != nil {
		return nil, nil, err
	}
	grant, err := t.src.Grant(req.Context())
	switch {
	case err != nil:
		return nil, nil, &stepError{"get a token for the gateway", err}
	case grant == nil || grant.GatewayURL() == nil:
		return nil, nil, ErrNoGateway
	}
	out := newOutgoing(req, grant, newID)
	if err := join(out.URL, grant.GatewayURL(), req.URL); err != nil {
		return nil, nil, err
	}
	if !t.opts.DangerouslyAllowPlainHTTP && !origin.Secure(out.URL) {
		return nil, nil, fmt.Errorf("%w: the gateway is %q", tokensource.ErrInsecureURL, origin.String(out.URL))
	}
	return grant, out, nil
}

// precheck refuses what can be refused without a token. What the grant's own gateway
// says comes later, and counts.
func (t *Transport) precheck(req *http.Request) error {
	switch u := req.URL; {
	case t.src == nil:
		return errNoSource
	case u == nil:
		return errNoURL
	case u.Opaque != "":
		return ErrOpaqueURL
	case relative(u):
		return nil
	default:
		gateway, known := t.src.Gateway(req.Context())
		if known && gateway != nil && !origin.Same(gateway, u) {
			return newForeignError(u, gateway)
		}
		return nil
	}
}

// unsent ends a request that no token may go with, because of err.
func (t *Transport) unsent(req *http.Request, err error) (*http.Response, error) {
	// Not errors.As: a token fetch may have met a foreign host of its own.
	if _, foreign := err.(*foreignError); foreign && t.opts.PassForeignHosts {
		return t.opts.Base.RoundTrip(req)
	}
	if req.Body != nil {
		_ = req.Body.Close() // RoundTrip has to, on errors too
	}
	return nil, err
}

// send has the base send out, on behalf of req.
func (t *Transport) send(req *http.Request, out *outgoing) (*http.Response, error) {
	resp, err := t.opts.Base.RoundTrip(&out.Request)
	if err != nil {
		return resp, sendError(out, err)
	}
	if resp == nil {
		return nil, nil
	}
	completeLocation(resp, out.URL)
	// The header of out has the token. Whoever logs a response, or takes over the
	// header of its request, must not find it there.
	resp.Request = req
	return resp, nil
}
