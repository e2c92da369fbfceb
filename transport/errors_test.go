package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	cause := &tokensource.Error{Op: "exchange user token", StatusCode: 400, Code: "invalid_grant", Kind: tokensource.Refused,
		Err: &oauth2.RetrieveError{ErrorCode: "invalid_grant"}}
	b := newBase()
	client := transport.New(&source{err: cause}, &transport.Options{Base: b, PassForeignHosts: true}).Client()
	for _, target := range []string{"https://agent-gateway.invalid/x", "/x", "https://gw.example/x"} {
		resp, err := client.Get(target)
		if resp != nil || len(b.sent) != 0 {
			t.Fatalf("got a response %v, %d requests were sent", resp, len(b.sent))
		}
		var typed *tokensource.Error
		var retrieve *oauth2.RetrieveError
		if !errors.As(err, &typed) || typed != cause || !errors.As(err, &retrieve) {
			t.Errorf("the cause is out of reach: %v", err)
		}
		if !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("unclear: %v", err)
		}
	}
}

// What http.Client and its callers ask of an error: net.Error.
func TestTokenErrorsAreNetErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cause              error
		timeout, temporary bool
	}{
		{context.DeadlineExceeded, true, true},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), true, true},
		{context.Canceled, false, false},
		{&tokensource.Error{Kind: tokensource.Passing}, false, true},
		{&tokensource.Error{Kind: tokensource.Permanent}, false, false},
		{&tokensource.Error{Kind: tokensource.Passing, Err: context.DeadlineExceeded}, true, true},
	} {
		_, err := transport.New(&source{err: test.cause}, nil).Client().Get("https://agent-gateway.invalid/x")
		var ne net.Error
		if !errors.As(err, &ne) || !errors.Is(err, test.cause) {
			t.Fatalf("%v is no net.Error, or lost its cause", err)
		}
		if ne.Timeout() != test.timeout || ne.(interface{ Temporary() bool }).Temporary() != test.temporary {
			t.Errorf("%v: Timeout %v, want %v, or Temporary is wrong", err, ne.Timeout(), test.timeout)
		}
	}
}

// waitingSource has no token before the caller's time is over.
type waitingSource struct{ *source }

func (s waitingSource) Grant(ctx context.Context) (*tokensource.Grant, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestWaitForATokenEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rt := transport.New(waitingSource{newSource()}, &transport.Options{Base: newBase()})

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		req, _ := http.NewRequestWithContext(ctx, "GET", "/x", nil)
		if _, err := rt.Client().Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: error %v", err)
		}

		client, start := rt.Client(), time.Now()
		client.Timeout = time.Second
		_, err := client.Get("/x")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != time.Second {
			t.Errorf("timed out after %v: error %v", time.Since(start), err)
		}
	})
}

// A token fetch may go through a transport of its own and meet a foreign host there.
// That does not make this request one for a foreign host.
func TestForeignHostOfATokenFetch(t *testing.T) {
	t.Parallel()
	b := newBase()
	src := &source{err: fmt.Errorf("fetch: %w", transport.ErrForeignHost)}
	_, err := transport.New(src, &transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(newRequest(t, "GET", "/x", nil))
	wantRefused(t, b, err, transport.ErrForeignHost)
}

// Who used the placeholder knows no other host: the error names the gateway.
func TestErrorsOfTheBaseNameTheGateway(t *testing.T) {
	t.Parallel()
	b := newBase(result{err: os.ErrDeadlineExceeded})
	resp, err := transport.New(newSource(mustGrant(t, "secret", gateway)), &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() || resp != nil || !strings.Contains(err.Error(), "https://gw.example:443") {
		t.Errorf("got %v and error %v", resp, err)
	}
	nothing := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, nil })
	resp, err = transport.New(newSource(mustGrant(t, "secret", gateway)), &transport.Options{Base: nothing}).RoundTrip(newRequest(t, "GET", "/x", nil))
	if err != nil || resp != nil {
		t.Errorf("got %v and error %v", resp, err)
	}
}
