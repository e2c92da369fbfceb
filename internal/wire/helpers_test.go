package wire_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

const endpoint = "https://tokens.example/oauth2/token"

// transportFunc is a round tripper.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer makes an answer; header is pairs of name and value.
func answer(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// answering returns a client that gets the same answer each time.
func answering(status int, body string, header ...string) *wire.Client {
	return wire.NewClient(wire.Config{Base: transportFunc(func(*http.Request) (*http.Response, error) {
		return answer(status, body, header...), nil
	})})
}

// failure returns the error of a request that must fail.
func failure(t *testing.T, c *wire.Client, r wire.Request) *tokensource.Error {
	t.Helper()
	return failureOf(t, func() error { _, err := c.Do(t.Context(), r); return err }())
}

func failureOf(t *testing.T, err error) *tokensource.Error {
	t.Helper()
	e := (*tokensource.Error)(nil)
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *tokensource.Error", err, err)
	}
	return e
}

// get sends a request without a body.
func get(ctx context.Context, c *wire.Client, url string) error {
	_, err := c.Do(ctx, wire.Request{Op: "get", URL: url})
	return err
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// discard returns a logger of servers whose handshakes are meant to fail.
func discard() *log.Logger { return log.New(io.Discard, "", 0) }
