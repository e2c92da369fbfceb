package transport

import (
	"context"
	"fmt"
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

	// Gateway returns the gateway of ctx's subject if it is known without a token, else
	// nil. final says that no token can come with another one: then a request for another
	// host needs no token to be found foreign. The URL is not modified.
	Gateway(ctx context.Context) (gateway *url.URL, final bool)

	// Invalidate tells the source that the gateway has rejected a token of AccessToken.
	// The result, whether the token was dropped, does not matter to a Transport.
	Invalidate(token *tokensource.Token) bool
}

// Options configure a [Transport]. The zero value means the defaults.
type Options struct {
	// Base sends the requests. Default: a transport of its own, made by [NewBase].
	Base http.RoundTripper

	// PassForeignHosts hands requests for other origins than the gateway's to Base as
	// they are, without a token. Default: they fail with [ErrForeignHost]. Which origin
	// is the gateway's comes with the subject's token, so that one is fetched if there is
	// none, unless the gateway is configured. If that fails, the gateway that is known
	// from an earlier token counts; if there is none, the request fails.
	PassForeignHosts bool

	// DangerouslyAllowPlainHTTP sends tokens unencrypted over the network if the
	// gateway's URL is an http one. Everybody on the way can read and use them. It is
	// for service meshes, in which something else encrypts the connection.
	DangerouslyAllowPlainHTTP bool

	// NewCorrelationID returns the X-Correlation-Id of a request whose caller set none.
	// If it returns "", none is sent. If it panics, the request fails. It must be safe for
	// concurrent use. Default: a random UUID (RFC 9562, section 5.4).
	NewCorrelationID func() string
}

// A Transport is an [http.RoundTripper] that sends requests to the gateway, with the token
// of the subject that their context names. It must be made by [New], and is safe for
// concurrent use.
type Transport struct {
	source Source
	opts   Options // with a Base
	newID  func() (string, error)
}

// New returns a Transport that takes its tokens from src. If src is nil, every request
// fails.
func New(src Source, opts Options) *Transport {
	if opts.Base == nil {
		opts.Base = NewBase()
	}
	newID := randomUUID
	if opts.NewCorrelationID != nil {
		newID = recovering(opts.NewCorrelationID)
	}
	return &Transport{source: src, opts: opts, newID: newID}
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
// [ErrForeignHost], [ErrOpaqueURL], [ErrInvalidURL], [ErrPathEscapes], [ErrNoGateway] and
// [tokensource.ErrInsecureURL]. Those of the token source and of the base are wrapped,
// except for an error of the base whose text shows the token, of which only the text is
// left, without the token.
//
// The token replaces the Authorization of req, which does not decide on the subject: see
// [tokensource.WithUserToken]. The context of req bounds the wait for a token (its Cancel
// does not).
//
// After a 401 response the source is told that its token was rejected. If the source then
// has another token, and req has no body or a GetBody, the first response is closed unread
// and the request is sent once more, whatever its method: a gateway authenticates before it
// acts. Otherwise the 401 response is returned, with its body unread.
//
// The Request of the response is req. A relative Location means the same to the caller as
// it does to the gateway: if the URL of req names the gateway's host, it is made absolute;
// if not, it becomes a path below that of the gateway, and absolute only if it leads
// elsewhere.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	token, out, err := t.prepare(req, t.newID)
	if err != nil {
		// Not errors.As: a fetch of a token may have met a foreign host of its own.
		if foreign, ok := err.(*route.ForeignHostError); ok {
			if t.opts.PassForeignHosts {
				return t.opts.Base.RoundTrip(req)
			}
			foreign.Redirected = req.Response != nil
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
func (t *Transport) prepare(req *http.Request, newID func() (string, error)) (*tokensource.Token, *outgoing, error) {
	switch {
	case t.source == nil:
		return nil, nil, errNoSource
	case req.URL == nil:
		return nil, nil, errNoURL
	}
	if err := route.Check(req.URL); err != nil {
		return nil, nil, err
	}
	out, ctx := newOutgoing(req), req.Context()
	// Which host is foreign is for the gateway of the token to decide. One that is known
	// without a token can be out of date, unless it is final.
	var known *url.URL
	if !route.IsRelative(req.URL) {
		gateway, final := t.source.Gateway(ctx)
		if gateway != nil && final {
			if err := route.JoinInto(&out.url, gateway, req.URL); err != nil {
				return nil, nil, err
			}
		}
		known = gateway
	}
	token, err := t.source.AccessToken(ctx)
	switch {
	case err != nil:
		noToken := tokenError(err)
		if known != nil && ctx.Err() == nil { // who has left gets the error of their context
			if foreign, ok := route.JoinInto(&out.url, known, req.URL).(*route.ForeignHostError); ok {
				foreign.NoToken = noToken
				return nil, nil, foreign
			}
		}
		return nil, nil, noToken
	case token == nil || token.GatewayURL() == nil:
		return nil, nil, ErrNoGateway
	}
	if err := route.JoinInto(&out.url, token.GatewayURL(), req.URL); err != nil {
		return nil, nil, err
	}
	if out.url.Scheme != "https" && !t.opts.DangerouslyAllowPlainHTTP && !origin.Secure(&out.url) {
		return nil, nil, fmt.Errorf("%w: the gateway is %q, and its URL has to be https", tokensource.ErrInsecureURL, origin.String(&out.url))
	}
	if err := out.setHeader(req.Header, token.Authorization(), newID); err != nil {
		return nil, nil, err
	}
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
	// The caller may know neither the gateway's host nor its path.
	if location := resp.Header["Location"]; len(location) > 0 && location[0] != "" {
		if own := route.Location(token.GatewayURL(), req.URL, &out.url, location[0]); own != location[0] {
			resp.Header.Set("Location", own)
		}
	}
	// The header of out has the token. Whoever logs a response, or copies the header of
	// its request, must not find the token there.
	resp.Request = req
	return resp, nil
}

// retry returns the response to a second attempt, if that can be made with another token
// than the rejected one, which sent had. Otherwise it returns first, the 401 response.
func (t *Transport) retry(req *http.Request, sent *outgoing, rejected *tokensource.Token, first *http.Response) (*http.Response, error) {
	t.source.Invalidate(rejected)
	hasBody := req.Body != nil && req.Body != http.NoBody
	if hasBody && req.GetBody == nil {
		return first, nil
	}
	sameID := func() (string, error) { return sent.request.Header.Get(correlationID), nil }
	token, out, err := t.prepare(req, sameID)
	if err != nil || token.AccessToken() == rejected.AccessToken() {
		return first, nil
	}
	if hasBody {
		if out.request.Body, err = req.GetBody(); err != nil {
			return first, nil
		}
	}
	_ = first.Body.Close() // unread, since it may be slow
	return t.send(req, out, token)
}
