// Package tokenservice sends one request to a token service, or to a service that takes
// the place of one, and returns the JSON of the response, or an error that says how to
// go on.
//
//   - Only status 200 with a JSON object or array is success. Redirects are not followed,
//     cookies are not kept, and at most 1 MiB is read.
//   - Every error is a [*tokensource.Error]. What it quotes of a response is at most 200
//     bytes long, and free of [Request.Secrets].
//   - A request waits for its slot of a [pace.Pacer], and tells it when the service asks
//     for a pause.
//
// A request is sent once. Retries, caching and sharing are the caller's business.
package tokenservice

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
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
}

// New returns a client with the ServiceTransport and the RootCAs of opts. It presents
// certificate, unless that is nil, to every server that asks for one. Clients can share
// a pacer.
func New(opts flows.Options, certificate *tls.Certificate, pacer *pace.Pacer) *Client {
	c := &Client{base: opts.ServiceTransport, presents: true, pacer: pacer}
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
	req, err := r.build(ctx)
	if err != nil {
		return nil, &tokensource.Error{Op: r.Op, Err: err}
	}
	slot, err := c.pacer.Acquire(ctx, origin.String(req.URL))
	if err != nil {
		return nil, unsent(r.Op, err)
	}
	resp, err := c.exchange(slot, req)
	if err == nil && resp.status == http.StatusOK && isJSON(resp.body) {
		return resp.body, nil
	}
	f := failure{op: r.Op, url: DisplayURL(req.URL), secrets: redact.New(r.Secrets...), presents: c.presents}
	if err != nil {
		return nil, f.ofExchange(ctx, resp.status, err)
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
func (r Request) build(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	if r.Form != nil {
		body = strings.NewReader(r.Form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
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
}

// exchange sends req, reads the response and releases the slot, even if the transport
// panics. It bypasses http.Client, so that a redirect is a response like any other. With
// an error, only the status of the response is set.
func (c *Client) exchange(slot *pace.Slot, req *http.Request) (response, error) {
	defer slot.Release()
	var conn net.Conn
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn },
	})
	r, err := c.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return response{}, connect.ClosingError(conn, err)
	}
	if r == nil || r.Body == nil {
		return response{}, errors.New("the round tripper returned neither a response nor an error")
	}
	defer r.Body.Close()
	resp := response{status: r.StatusCode, header: r.Header}
	slot.Pause(resp.pause())
	if resp.status < 200 { // a switch of protocols: its body has no end
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLarge
	}
	if err != nil {
		return response{status: resp.status}, err
	}
	resp.body = body
	return resp, nil
}

// isJSON reports whether body is a JSON object or array.
func isJSON(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[') && json.Valid(body)
}
