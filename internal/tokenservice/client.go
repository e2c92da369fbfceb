// Package tokenservice sends one request to a token service, or to a service that takes
// the place of one, and returns the JSON of the response, or an error that says how to
// go on.
//
//   - Only status 200 with a JSON object or array is success. Redirects are not followed,
//     cookies are not kept, and at most 1 MiB is read.
//   - Every error is a [*tokensource.Error]. What it quotes of a response is at most 200
//     bytes long, and free of [Request.Secrets].
//   - A request waits for its slot of a [pace.Pacer], and tells it when the service asks
//     for a pause. From then on it has a third of the fetch timeout, so that a connection
//     that has died silently leaves time for another one.
//   - What sends the request gets a context that has the deadline of the caller's, and ends
//     with it, but has none of its values.
//
// A request is sent once. Retries, caching and sharing are the caller's business.
package tokenservice

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/connect"
	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/internal/redact"
	"github.com/agwgo/agw/tokensource"
)

const maxBody = 1 << 20 // bytes of a response, after any decompression

// A Client sends requests. It keeps connections and TLS sessions for reuse. It must be
// made by [New], and is safe for concurrent use.
type Client struct {
	base     http.RoundTripper
	presents bool // whether base may present a client certificate
	pacer    *pace.Pacer
	timeout  time.Duration // of one request
}

// New returns a client with the ServiceTransport and the RootCAs of opts, which must have
// passed [flows.Options.Check]. It presents certificate, unless that is nil, to every
// server that asks for one. Clients can share a pacer.
func New(opts flows.Options, certificate *tls.Certificate, pacer *pace.Pacer) *Client {
	settings, _ := opts.Tokens.Settings.WithDefaults() // has been checked
	c := &Client{base: opts.ServiceTransport, presents: true, pacer: pacer, timeout: settings.FetchTimeout / 3}
	base, standard := opts.ServiceTransport.(*http.Transport)
	if standard || opts.ServiceTransport == nil {
		t, presents := connect.ForService(base, opts.RootCAs, certificate)
		if base == nil { // keep all connections that can be in use at once
			t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, pacer.Limit())
			t.MaxIdleConns = max(t.MaxIdleConns, pacer.Limit())
		}
		c.base, c.presents = t, presents
	}
	return c
}

// CloseIdleConnections closes the connections that no request is using.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// A Request is what [Client.Do] sends.
type Request struct {
	Op     string      // what is attempted, for [tokensource.Error.Op]
	Method string      // "" means GET
	URL    string      // where; see [ParseURL]
	Header http.Header // in addition to Accept and Content-Type; it is not modified
	Form   url.Values  // the body; nil means none

	// Secrets are the parts of the request that must not appear in an error.
	Secrets []string
}

// Do sends r and returns the body of the response, a JSON object or array. Any error is
// a [*tokensource.Error]. Nothing has been sent if its URL is empty; then RetryAfter, if
// it is not 0, is the rest of a pause that the service has asked for.
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	req, err := r.build()
	if err != nil {
		return nil, &tokensource.Error{Op: r.Op, Err: err}
	}
	slot, err := c.pacer.Acquire(ctx, origin.String(req.URL))
	if err != nil {
		return nil, unsent(r.Op, err)
	}
	resp := c.exchange(ctx, slot, req)
	if resp.err == nil && resp.status == http.StatusOK && isJSON(resp.body) {
		return resp.body, nil
	}
	f := failure{op: r.Op, url: DisplayURL(req.URL), secrets: redact.New(r.Secrets...), presents: c.presents}
	if resp.err != nil {
		return nil, f.ofExchange(resp)
	}
	return nil, f.ofResponse(resp)
}

// Token sends a token request and returns the token of the response (RFC 6749, section
// 5.1). Errors are those of [Client.Do]. A response without a token that can be sent is
// a temporary failure, a token of another type than Bearer (section 7.1) a permanent one.
func (c *Client) Token(ctx context.Context, r Request) (*tokensource.Response, error) {
	body, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	failed := &tokensource.Error{Op: r.Op, StatusCode: http.StatusOK, Kind: tokensource.Temporary}
	if u, err := url.Parse(r.URL); err == nil {
		failed.URL = DisplayURL(u)
	}
	resp, err := tokensource.ParseResponse(body)
	if err == nil { // whoever uses the token checks this too, but does not know the service
		_, err = tokensource.NewToken(resp.AccessToken, time.Time{}, nil)
	}
	if err == nil && resp.TokenType != "" && !strings.EqualFold(resp.TokenType, "bearer") {
		failed.Kind, err = tokensource.Permanent, errors.New("the token is not of type Bearer")
	}
	if err != nil {
		failed.Err = err
		return nil, failed
	}
	return resp, nil
}

// build returns r as an HTTP request.
func (r Request) build() (*http.Request, error) {
	var body io.Reader
	if r.Form != nil {
		body = strings.NewReader(r.Form.Encode())
	}
	req, err := http.NewRequest(r.Method, r.URL, body)
	if err != nil { // its text quotes the URL
		return nil, errors.New("the URL or the method is malformed")
	}
	req.Header.Set("Accept", "application/json")
	if r.Form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	// Present but empty, it is not sent. It lets the transport send the request again if
	// a connection that was kept turns out to be closed.
	req.Header["Idempotency-Key"] = nil
	maps.Copy(req.Header, r.Header.Clone())
	return req, nil
}

// A response has been read to its end, as far as it has one.
type response struct {
	status int // 0 if there was no response
	header http.Header
	body   []byte

	// If err is not nil, there was no response, or only its beginning, and header and body
	// are empty. hint, if not "", says what err does not.
	err  error
	hint string
}

// A bareContext ends when the Context in it does, and has none of its values: a
// [net/http/httptrace.ClientTrace] in them would be told what is sent.
type bareContext struct{ context.Context }

func (bareContext) Value(any) any { return nil }

// exchange sends req, reads the response and releases the slot, even if the transport
// panics.
func (c *Client) exchange(ctx context.Context, slot *pace.Slot, req *http.Request) response {
	defer slot.Release()
	sent, cancel := context.WithTimeout(bareContext{ctx}, c.timeout)
	defer cancel()
	watched, attempt := connect.Watch(sent)
	resp := c.roundTrip(req.WithContext(watched), slot)
	if resp.err == nil {
		return resp
	}
	var network net.Error
	switch {
	case ctx.Err() != nil:
		resp.hint, resp.err = attempt.Step(), pace.Cause(ctx)
	case sent.Err() != nil:
		resp.hint, resp.err = fmt.Sprintf("gave up after %v %s", c.timeout, attempt.Step()), context.DeadlineExceeded
		c.CloseIdleConnections() // what has dropped this one has perhaps dropped others
	case errors.As(resp.err, &network) && network.Timeout(): // one of the transport's own
		c.CloseIdleConnections()
	default:
		resp.err = attempt.Cause(resp.err)
		switch mayBeRefusal := attempt.MayBeRefusal(resp.err); {
		case mayBeRefusal && c.presents:
			resp.hint = hintMayRefuse
		case mayBeRefusal:
			resp.hint = hintMayRequire
		}
	}
	return resp
}

// roundTrip sends req and reads the response. It bypasses http.Client, so that a redirect
// is a response like any other.
func (c *Client) roundTrip(req *http.Request, slot *pace.Slot) response {
	r, err := c.base.RoundTrip(req)
	if err != nil {
		return response{err: err}
	}
	if r == nil || r.Body == nil {
		return response{err: errors.New("the round tripper returned neither a response nor an error")}
	}
	defer r.Body.Close()
	resp := response{status: r.StatusCode, header: r.Header}
	slot.Pause(resp.pause())
	if resp.status < 200 { // a switch of protocols: its body has no end
		return resp
	}
	resp.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(resp.body) > maxBody {
		err = errTooLarge
	}
	if err != nil {
		return response{status: resp.status, err: err}
	}
	return resp
}

// isJSON reports whether body is a JSON object or array.
func isJSON(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[') && json.Valid(body)
}
