package transport_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/agwgo/agw/transport"
)

// net/http quotes malformed answers, and the gateway knows the token.
func TestErrorsThatQuoteTheTokenAreReplaced(t *testing.T) {
	t.Parallel()
	const token = "opaque-token-of-alice"
	for _, quoted := range []string{token, token[3:15], base64.StdEncoding.EncodeToString([]byte("Bearer " + token))} {
		cause := fmt.Errorf("malformed HTTP response %q", "told: "+quoted)
		b := newBase(result{err: cause})
		_, err := transport.New(newSource(mustGrant(t, token, gateway)), &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
		if err == nil || errors.Is(err, cause) || strings.Contains(err.Error(), quoted) || !strings.Contains(err.Error(), "malformed HTTP response") {
			t.Errorf("%s: got %v", quoted, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	b := roundTripFunc(func(*http.Request) (*http.Response, error) { cancel(); return nil, context.Canceled })
	_, err := transport.New(newSource(mustGrant(t, "canceled", gateway)), &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil).WithContext(ctx))
	if err != context.Canceled {
		t.Errorf("got %v for a context that ended", err)
	}
}

// A base must leave the request alone. One that does not gets no panic out of it.
func TestErrorOfABaseThatTakesTheTokenAway(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route")
	b := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req.Header.Del("Authorization")
		return nil, cause
	})
	_, err := transport.New(newSource(mustGrant(t, "taken", gateway)), &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}
