package customer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// A responder is a token service that responds by a function.
type responder func(*http.Request) *http.Response

func (r responder) RoundTrip(req *http.Request) (*http.Response, error) { return r(req), nil }

func newResponse(status int, retryAfter, body string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// The token service answers one user's request with a Retry-After of 3 s. Until then it
// gets no request for any user, and afterwards everybody gets a token.
func TestPauseCountsForAllUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var times []time.Duration
		service := responder(func(*http.Request) *http.Response {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(start))
			if len(times) == 1 {
				return newResponse(429, "3", "")
			}
			return newResponse(200, "", `{"access_token":"token","expires_in":3600}`)
		})
		creds := &customer.Credentials{ClientID: "client", TokenServiceURL: tokenURL, GatewayURL: gatewayURL}
		src := newSource(t, newFlow(t, creds, flows.Options{ServiceTransport: service}))
		var users sync.WaitGroup
		for i := range 20 {
			users.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if _, err := src.TokenContext(tokensource.WithUserToken(t.Context(), fmt.Sprint("user", i))); err != nil {
					t.Errorf("user %d: %v", i, err)
				}
			})
		}
		users.Wait()
		if len(times) != 21 || times[0] != 0 {
			t.Errorf("the service was asked at %v, want the first request at once, and 20 more", times)
		}
		for _, at := range times[1:] {
			if at < 3*time.Second {
				t.Errorf("the service was asked again at %v, want no request before 3s", at)
			}
		}
	})
}

// A thousand users come at once. No more than 32 token requests are under way, over real
// connections, and each user gets a token.
func TestThousandNewUsers(t *testing.T) {
	t.Parallel()
	srv := startDouble(t, agwtest.Options{})
	root := t.TempDir()
	if err := srv.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	srv.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Latency: 5 * time.Millisecond} })
	flow := loadFlow(t, root, flows.Options{RootCAs: srv.RootCAs()})
	t.Cleanup(flow.CloseIdleConnections)
	src := must(tokensource.New(flow, tokensource.Options{Settings: tokensource.Settings{MaxUserTokens: 1000}}))(t)

	var users sync.WaitGroup
	for i := range 1000 {
		ctx := tokensource.WithUserToken(context.Background(), srv.UserToken(agwtest.User{Name: fmt.Sprint("user", i)}))
		users.Go(func() {
			if _, err := src.TokenContext(ctx); err != nil {
				t.Errorf("user %d: %v", i, err)
			}
		})
	}
	users.Wait()
	if n := srv.Counts().Token; n != 1000 {
		t.Errorf("%d token requests, want 1000", n)
	}
	if n := srv.Tokens.Meter().MaxInFlight; n > 32 || n < 2 {
		t.Errorf("up to %d requests were under way, want 2 to 32", n)
	}
}
