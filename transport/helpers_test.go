package transport_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/tokensource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a GrantSource that hands out its grants in turn, the next one after each
// Invalidate; the last one stays.
type source struct {
	err   error    // of Grant, if not nil
	known *url.URL // what Gateway knows, if not nil

	mu          sync.Mutex
	grants      []*tokensource.Grant
	invalidated []*tokensource.Grant
	asked       atomic.Int64 // calls of Grant
}

func newSource(grants ...*tokensource.Grant) *source { return &source{grants: grants} }

func (s *source) Grant(ctx context.Context) (*tokensource.Grant, error) {
	s.asked.Add(1)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || len(s.grants) == 0 {
		return nil, s.err
	}
	return s.grants[0], nil
}

func (s *source) Gateway(context.Context) (*url.URL, bool) { return s.known, s.known != nil }

func (s *source) Invalidate(g *tokensource.Grant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalidated = append(s.invalidated, g)
	if len(s.grants) > 1 && s.grants[0] == g {
		s.grants = s.grants[1:]
		return true
	}
	return false
}

func mustURL(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func mustGrant(tb testing.TB, token, gateway string) *tokensource.Grant {
	tb.Helper()
	g, err := tokensource.NewGrant(token, time.Now().Add(time.Hour), mustURL(tb, gateway))
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// base records what it is asked to send, as far as it must not change later, reads
// and closes the bodies as an [http.Transport] does, and answers with the results in
// turn; the last one stays.
type base struct {
	results []result
	idle    atomic.Int64 // calls of CloseIdleConnections

	mu   sync.Mutex
	sent []sentRequest
}

type result struct {
	status int
	header http.Header
	body   io.ReadCloser
	length int64
	err    error
}

type sentRequest struct {
	*http.Request
	body string
}

func newBase(results ...result) *base { return &base{results: results} }

func (b *base) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := sentRequest{Request: req}
	if req.Body != nil {
		content, err := io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
		sent.body = string(content)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, sent)
	r := result{status: http.StatusOK}
	if n := len(b.results); n > 0 {
		r = b.results[min(len(b.sent), n)-1]
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.response(req), nil
}

func (r result) response(req *http.Request) *http.Response {
	resp := &http.Response{StatusCode: r.status, Header: r.header, Body: r.body, ContentLength: r.length, Request: req}
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	return resp
}

func (b *base) CloseIdleConnections() { b.idle.Add(1) }

// only returns the one request that was sent.
func (b *base) only(tb testing.TB) sentRequest {
	tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sent) != 1 {
		tb.Fatalf("%d requests were sent, want 1", len(b.sent))
	}
	return b.sent[0]
}

// body counts how often it is closed and read.
type body struct {
	io.Reader
	closed atomic.Int64
	read   atomic.Int64
}

func newBody(content string) *body { return &body{Reader: strings.NewReader(content)} }

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *body) Close() error {
	b.closed.Add(1)
	return nil
}

func newRequest(tb testing.TB, method, url string, body io.Reader) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, body)
	if err != nil {
		tb.Fatal(err)
	}
	return req
}
