package transport

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/agwgo/agw/internal/connect"
	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/internal/route"
	"github.com/agwgo/agw/tokensource"
)

// PlaceholderHost, agent-gateway.invalid, stands for the gateway of the request's subject,
// in URLs of scheme https with no port or port 443. See the package documentation.
const PlaceholderHost = route.PlaceholderHost

// A Source provides the tokens of a [Transport]. [*tokensource.Source] and
// [*tokensource.FixedSource] do. Its methods must be safe for concurrent use.
type Source interface {
	// AccessToken returns a token for the subject of ctx, together with its gateway. It
	// waits no longer than ctx allows.
	AccessToken(ctx context.Context) (*tokensource.Token, error)

	// Gateway returns the gateway of ctx's subject if it is known without a token. A
	// request for another host then fails before a token is fetched. The URL is not
	// modified.
	Gateway(ctx context.Context) (gateway *url.URL, known bool)

	// Invalidate tells the source that the gateway has rejected a token of AccessToken.
	// The result, whether the token was dropped, does not matter to a Transport.
	Invalidate(token *tokensource.Token) bool
}

// Options configure a [Transport]. The zero value means the defaults.
type Options struct {
	// Base sends the requests. Default: a transport of its own, made by [NewBase].
	Base http.RoundTripper

	// PassForeignHosts hands requests for other origins than the gateway's to Base as
	// they are, without a token. Default: they fail with [ErrForeignHost].
	PassForeignHosts bool

	// DangerouslyAllowPlainHTTP sends tokens unencrypted over the network if the
	// gateway's URL is an http one. Everybody on the way can read and use them. It is
	// for service meshes, in which something else encrypts the connection.
	DangerouslyAllowPlainHTTP bool

	// NewCorrelationID returns the X-Correlation-Id of a request whose caller set none.
	// If it returns "", none is sent. It must be safe for concurrent use. Default: a
	// random UUID (RFC 9562, section 5.4).
	NewCorrelationID func() string
}

// A Transport is an [http.RoundTripper] that sends requests to the gateway, with the token
// of the subject that their context names. It must be made by [New], and is safe for
// concurrent use.
type Transport struct {
	source Source
	opts   Options // complete
}

// New returns a Transport that takes its tokens from src. If src is nil, every request
// fails.
func New(src Source, opts Options) *Transport {
	if opts.Base == nil {
		opts.Base = NewBase()
	}
	if opts.NewCorrelationID == nil {
		opts.NewCorrelationID = randomUUID
	}
	return &Transport{source: src, opts: opts}
}

// NewBase returns a new [http.Transport] that suits a gateway: HTTP/2 if the server offers
// it, TLS 1.2 or newer, up to 64 idle connections for each host and no limit on those in
// use, proxies from the environment, no limit on the time that a response takes. An HTTP/2
// connection on which nothing arrives for 30 s is pinged, so that a stream over a dead
// connection ends. Its TLSClientConfig is not nil, and may be modified before use.
func NewBase() *http.Transport { return connect.NewTransport() }

// Client returns a new [http.Client] over t, which the caller may modify. It has no
// Timeout, because that would cut streams: use the requests' contexts.
func (t *Transport) Client() *http.Client { return &http.Client{Transport: t} }

// CloseIdleConnections closes the idle connections of the base, if the base can do that.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.opts.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip sends req to the gateway and returns the response. Its own errors are
// [ErrForeignHost], [ErrOpaqueURL], [ErrPathEscapes], [ErrNoGateway] and
// [tokensource.ErrInsecureURL]. Those of the token source and of the base are wrapped,
// except for an error of the base whose text shows the token, of which only the text is
// left, without the token.
//
// The token replaces the Authorization of req, which does not decide on the subject: see
// [tokensource.WithUserToken]. The context of req bounds the wait for a token (its Cancel
// does not).
//
// After a 401 response the source is told that its token was rejected. If the source then
// has another token, and req has no body or a GetBody, the request is sent once more,
// whatever its method: a gateway authenticates before it acts. Otherwise the 401 response
// is returned, with its body unread.
//
// The Request of the response is req. A relative Location is made absolute.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	token, out, err := t.prepare(req, t.opts.NewCorrelationID)
	if err != nil {
		// Not errors.As: a fetch of a token may have met a foreign host of its own.
		if _, foreign := err.(*route.ForeignHostError); foreign && t.opts.PassForeignHosts {
			return t.opts.Base.RoundTrip(req)
		}
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper has to, also after an error
		}
		return nil, err
	}
	resp, err := t.send(req, out, token)
	if err != nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	return t.retry(req, out, token, resp)
}

// prepare returns a token and the request to send with it. The request depends on nothing
// but req, the token and, if req has no correlation id, on newID.
func (t *Transport) prepare(req *http.Request, newID func() string) (*tokensource.Token, *outgoing, error) {
	switch {
	case t.source == nil:
		return nil, nil, errNoSource
	case req.URL == nil:
		return nil, nil, errNoURL
	case req.URL.Opaque != "":
		return nil, nil, ErrOpaqueURL
	}
	out := newOutgoing(req)
	if !route.IsRelative(req.URL) {
		// A foreign host fails without a token if possible. The gateway that comes with
		// the token may be another one, and decides.
		if gateway, known := t.source.Gateway(req.Context()); known && gateway != nil {
			if err := route.JoinInto(&out.url, gateway, req.URL); err != nil {
				return nil, nil, err
			}
		}
	}
	token, err := t.source.AccessToken(req.Context())
	switch {
	case err != nil:
		return nil, nil, &stepError{"get a token for the gateway", err}
	case token == nil || token.GatewayURL() == nil:
		return nil, nil, ErrNoGateway
	}
	if err := route.JoinInto(&out.url, token.GatewayURL(), req.URL); err != nil {
		return nil, nil, err
	}
	if !t.opts.DangerouslyAllowPlainHTTP && !origin.Secure(&out.url) {
		return nil, nil, fmt.Errorf("%w: the gateway is %q", tokensource.ErrInsecureURL, origin.String(&out.url))
	}
	out.setHeader(req.Header, token.Authorization(), newID)
	return token, out, nil
}

// send has the base send out, and returns the response as one to req.
func (t *Transport) send(req *http.Request, out *outgoing, token *tokensource.Token) (*http.Response, error) {
	resp, err := t.opts.Base.RoundTrip(&out.request)
	switch {
	case err != nil:
		return resp, sendError(out, token, err)
	case resp == nil:
		return nil, nil
	}
	// A Location is relative to the URL that the request was sent to (RFC 9110, section
	// 10.2.2), and the caller knows only the one that it asked for.
	if location := resp.Header["Location"]; len(location) > 0 && location[0] != "" {
		if ref, err := url.Parse(location[0]); err == nil && !ref.IsAbs() {
			resp.Header.Set("Location", out.url.ResolveReference(ref).String())
		}
	}
	// The header of out has the token. Whoever logs a response, or copies the header of
	// its request, must not find the token there.
	resp.Request = req
	return resp, nil
}

// maxDrain is how many bytes of a body are read to be able to use its connection again. A
// new connection costs less than to read more.
const maxDrain = 4 << 10

// retry returns the response to a second attempt, if that can be made with another token
// than the rejected one, which sent had. Otherwise it returns first, the 401 response.
func (t *Transport) retry(req *http.Request, sent *outgoing, rejected *tokensource.Token, first *http.Response) (*http.Response, error) {
	t.source.Invalidate(rejected)
	hasBody := req.Body != nil && req.Body != http.NoBody
	if hasBody && req.GetBody == nil {
		return first, nil
	}
	sameID := func() string { return sent.request.Header.Get(correlationID) }
	token, out, err := t.prepare(req, sameID)
	if err != nil || token.AccessToken() == rejected.AccessToken() {
		return first, nil
	}
	if hasBody {
		if out.request.Body, err = req.GetBody(); err != nil {
			return first, nil
		}
	}
	if first.ContentLength >= 0 && first.ContentLength <= maxDrain {
		_, _ = io.CopyN(io.Discard, first.Body, first.ContentLength)
	}
	_ = first.Body.Close()
	return t.send(req, out, token)
}
