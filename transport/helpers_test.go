package transport_test

import (
	"context"
	"errors"
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

// gatewayURL is the gateway of most tests.
const gatewayURL = "https://gw.example/base"

// fakeSource is a transport.Source that hands out its tokens in turn: the next one after
// each Invalidate. The last one stays.
type fakeSource struct {
	err     error    // of AccessToken, if not nil
	gateway *url.URL // that Gateway knows; nil if it knows none
	final   bool     // whether no token comes with another one

	mu          sync.Mutex
	tokens      []*tokensource.Token
	invalidated []*tokensource.Token
	calls       atomic.Int64 // of AccessToken
}

func newSource(tokens ...*tokensource.Token) *fakeSource { return &fakeSource{tokens: tokens} }

// newSecretSource returns a source of one token, "secret", for gatewayURL.
func newSecretSource(tb testing.TB) *fakeSource {
	tb.Helper()
	return newSource(newToken(tb, "secret", gatewayURL))
}

func (s *fakeSource) AccessToken(ctx context.Context) (*tokensource.Token, error) {
	s.calls.Add(1)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || len(s.tokens) == 0 {
		return nil, s.err
	}
	return s.tokens[0], nil
}

func (s *fakeSource) Gateway(context.Context) (*url.URL, bool) { return s.gateway, s.final }

func (s *fakeSource) Invalidate(token *tokensource.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalidated = append(s.invalidated, token)
	if len(s.tokens) > 1 && s.tokens[0] == token {
		s.tokens = s.tokens[1:]
		return true
	}
	return false
}

// sourceFailingAfterInvalidate has an error in place of a second token.
type sourceFailingAfterInvalidate struct{ *fakeSource }

func (s sourceFailingAfterInvalidate) Invalidate(token *tokensource.Token) bool {
	defer func() { s.err = errors.New("the token service is down") }()
	return s.fakeSource.Invalidate(token)
}

func parseURL(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func newToken(tb testing.TB, accessToken, gateway string) *tokensource.Token {
	tb.Helper()
	token, err := tokensource.NewToken(accessToken, time.Now().Add(time.Hour), parseURL(tb, gateway))
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// fakeBase records the requests that it is to send. It reads and closes their bodies as an
// [http.Transport] does, and responds with its results in turn. The last one stays, and
// none means status 200.
type fakeBase struct {
	results  []result
	idleCall atomic.Int64 // calls of CloseIdleConnections

	mu   sync.Mutex
	sent []sentRequest
}

type result struct {
	status int
	header http.Header
	body   io.ReadCloser
	length int64 // ContentLength
	err    error // in place of a response, if not nil
}

type sentRequest struct {
	*http.Request
	content string // of the body
}

func newBase(results ...result) *fakeBase { return &fakeBase{results: results} }

func (b *fakeBase) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := sentRequest{Request: req}
	if req.Body != nil {
		content, err := io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
		sent.content = string(content)
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

func (b *fakeBase) CloseIdleConnections() { b.idleCall.Add(1) }

// onlyRequest returns the request that was sent, and fails unless it is one.
func (b *fakeBase) onlyRequest(tb testing.TB) sentRequest {
	tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sent) != 1 {
		tb.Fatalf("%d requests were sent, want 1", len(b.sent))
	}
	return b.sent[0]
}

// roundTripFunc is a base that is a function.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// countingBody counts how often it is closed, and how many bytes are read.
type countingBody struct {
	io.Reader
	closed atomic.Int64
	read   atomic.Int64
}

func newBody(content string) *countingBody {
	return &countingBody{Reader: strings.NewReader(content)}
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *countingBody) Close() error {
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

// assertNotSent fails unless a request failed with want, and the base was sent nothing.
func assertNotSent(tb testing.TB, b *fakeBase, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("got error %v, want %v", err, want)
	}
	if len(b.sent) != 0 {
		tb.Errorf("%d requests were sent, want none", len(b.sent))
	}
}
