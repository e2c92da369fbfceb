package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/tokensource"
)

// MaxBody is the size of the largest answer that is read, in bytes, after any
// decompression.
const MaxBody = 1 << 20

// A Config configures a [Client]. The zero Config is usable.
type Config struct {
	// Base is what sends the requests. nil means a transport of the client's own. An
	// [*http.Transport] is cloned. Anything else is used as it is, and RootCAs and
	// Certificate have no effect on it.
	Base http.RoundTripper

	// RootCAs are the authorities that a server's certificate may come from. nil
	// means those of Base, or else the system's.
	RootCAs *x509.CertPool

	// Certificate is the client certificate. It is presented to every server that
	// asks for one, whichever authorities that server names. nil means none, or what
	// Base has.
	Certificate *tls.Certificate

	// Pacer holds back requests. nil means one of the client's own.
	Pacer *Pacer
}

// A Client sends requests. It keeps connections and TLS sessions for reuse, and is
// safe for concurrent use.
type Client struct {
	base     http.RoundTripper
	pacer    *Pacer
	presents bool // whether there may be a client certificate
}

// NewClient returns a client.
func NewClient(cfg Config) *Client {
	c := &Client{base: cfg.Base, pacer: cfg.Pacer, presents: true}
	if c.pacer == nil {
		c.pacer = NewPacer(0)
	}
	switch base := cfg.Base.(type) {
	case nil:
		c.base, c.presents = newTransport(nil, cfg, c.pacer.limit)
	case *http.Transport:
		c.base, c.presents = newTransport(base, cfg, c.pacer.limit)
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
	URL    string      // where; see [ParseEndpoint]
	Header http.Header // in addition to Accept and Content-Type; it is not modified
	Form   url.Values  // the body, unless nil

	// Secrets is everything in the request that must not come back in the text of
	// an error.
	Secrets []string
}

// Do sends r as soon as the pacer permits and returns the body of an answer with
// status 200, which is a JSON object or array. Any error is a [*tokensource.Error].
// If the service has asked to be left alone for longer than ctx lasts, or longer
// than a few seconds, nothing is sent and the error says when to come back.
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	req, err := r.build(ctx)
	if err != nil {
		return nil, &tokensource.Error{Op: r.Op, Err: err}
	}
	slot, err := c.pacer.acquire(ctx, origin.String(req.URL))
	if err != nil {
		return nil, unsent(r.Op, err)
	}
	defer slot.release()

	a, err := c.exchange(req)
	if err == nil && a.status == http.StatusOK && jsonLike(a.body) {
		return a.body, nil
	}
	f := failure{
		report:   tokensource.Error{Op: r.Op, URL: display(req.URL)},
		secrets:  newRedactor(r.Secrets),
		presents: c.presents,
	}
	if err != nil {
		return nil, f.fromError(ctx, a.status, err)
	}
	slot.pause(a.pause())
	return nil, f.fromAnswer(a)
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
	// Present but empty, it is not sent: it lets the transport repeat the request
	// if a kept connection turns out to be closed.
	req.Header["Idempotency-Key"] = nil
	maps.Copy(req.Header, r.Header.Clone())
	return req, nil
}

// An answer is what a server said, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends req and reads the answer. It bypasses http.Client, so that a
// redirect is an answer like any other. With an error, the status is that of the
// answer if there was the beginning of one.
func (c *Client) exchange(req *http.Request) (answer, error) {
	var conn net.Conn
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn },
	})
	resp, err := c.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return answer{}, lastWords(conn, err)
	}
	if resp == nil || resp.Body == nil {
		return answer{}, errors.New("the round tripper returned neither an answer nor an error")
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode < 200 { // a switch of protocols: there is no end to read to
		return a, nil
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err == nil && len(a.body) > MaxBody {
		err = errTooLarge
	}
	return a, err
}

// jsonLike reports whether body is a JSON object or array.
func jsonLike(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[') && json.Valid(body)
}
