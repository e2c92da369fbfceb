package compat_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
)

func newRetrying(client *http.Client) *retryablehttp.Client {
	c := retryablehttp.NewClient()
	c.HTTPClient, c.Logger = client, nil
	c.RetryWaitMin, c.RetryWaitMax = time.Millisecond, 10*time.Millisecond
	return c
}

func newRetryable(t *testing.T, ctx context.Context, url, body string) *retryablehttp.Request {
	t.Helper()
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, url, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Retries on top of our client: they see the failures of the gateway, and not the
// tokens that were replaced beneath.
func TestRetryable(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	client := newRetrying(w.ClientFor(w.subject("alice")))
	w.server.Gateway.Inject(agwtest.Fault{Times: 2, Status: http.StatusServiceUnavailable})
	for range 2 {
		resp, err := client.Do(newRetryable(t, ctx, w.URL("orders"), "body"))
		if err != nil {
			t.Fatal(err)
		}
		echo := decode(t, resp)
		mustSee(t, echo, "alice")
		if echo.Body != "body" {
			t.Errorf("the gateway got %q", echo.Body)
		}
		w.server.RevokeAll()
	}
	if c := w.server.Counts(); c.Gateway != 3+2 || c.Token != 2 {
		t.Errorf("%+v, want 5 requests to the gateway and 2 for tokens", c)
	}
}

// Retries on top do not multiply those of the token service.
func TestRetryableTokenFailure(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	w.server.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault {
		return &agwtest.Fault{Status: http.StatusServiceUnavailable}
	})
	_, err := newRetrying(w.Client()).Do(newRetryable(t, ctx, w.URL("orders"), "body"))
	if e := (*tokensource.Error)(nil); !errors.As(err, &e) || e.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("Do = %v, want a tokensource.Error", err)
	}
	if n := w.server.Counts().Token; n > 3 {
		t.Errorf("%d token requests, want at most 3", n)
	}
}
