package tokenservice_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	endpoint = "https://tokens.example/oauth2/token"
	userJWT  = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6ImFndyJ9.c2lnbmF0dXJlLW9mLWFsaWNl"
)

// A roundTripper responds to requests by a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newClient returns a client with a pacer of its own, and the default limit.
func newClient(base http.RoundTripper) *tokenservice.Client { return newClientWith(base, pace.New(0)) }

func newClientWith(base http.RoundTripper, pacer *pace.Pacer) *tokenservice.Client {
	return tokenservice.New(flows.Options{ServiceTransport: base}, nil, pacer)
}

// response returns a response. header is pairs of name and value.
func response(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// clientOfResponse returns a client that gets the same response to every request.
func clientOfResponse(status int, body string, header ...string) *tokenservice.Client {
	return newClient(roundTripper(func(*http.Request) (*http.Response, error) {
		return response(status, body, header...), nil
	}))
}

// startServer starts a server that ends with the test, and returns a client for it.
func startServer(t *testing.T, handler http.HandlerFunc) (c *tokenservice.Client, url string) {
	t.Helper()
	srv := httptest.NewServer(handler)
	c = newClient(nil)
	t.Cleanup(func() { c.CloseIdleConnections(); srv.Close() })
	return c, srv.URL
}

// get sends a request without a body.
func get(ctx context.Context, c *tokenservice.Client, url string) error {
	_, err := c.Do(ctx, tokenservice.Request{Op: "get", URL: url})
	return err
}

// doError sends a request that must fail, and returns its error.
func doError(t *testing.T, c *tokenservice.Client, r tokenservice.Request) *tokensource.Error {
	t.Helper()
	_, err := c.Do(t.Context(), r)
	return asError(t, err)
}

// asError returns err as the type that every error of this package must have.
func asError(t *testing.T, err error) *tokensource.Error {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want a *tokensource.Error", err, err)
	}
	return e
}

func contextLasting(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
