package customer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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

// A proxy that wants somebody to log in refuses what it does not let through. The tokens
// that are there are good nevertheless, and it is not asked over and over again.
func TestPageOfAProxyCostsNoToken(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 407} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var times []time.Duration
			service := responder(func(*http.Request) *http.Response {
				times = append(times, time.Since(start))
				if len(times) == 1 {
					return newResponse(200, "", `{"access_token":"good","expires_in":300}`)
				}
				return newResponse(status, "", "<html><body>please log in</body></html>")
			})
			creds := &customer.Credentials{ClientID: "client", TokenServiceURL: tokenURL, GatewayURL: gatewayURL}
			src := newSource(t, newFlow(t, creds, flows.Options{ServiceTransport: service}))
			for time.Since(start) < 299*time.Second { // until it expires
				if token, err := src.Token(); err != nil || token.AccessToken != "good" {
					t.Fatalf("status %d, after %v: got error %v, want the token, which is good for 300s", status, time.Since(start), err)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(2 * time.Second)
			if _, err := src.Token(); err == nil || !strings.Contains(err.Error(), "is a proxy in between?") {
				t.Errorf("status %d, after the token has expired: got error %v, want one that asks about a proxy", status, err)
			}
			for i := 2; i < len(times); i++ {
				if pause := times[i] - times[i-1]; pause < 10*time.Second {
					t.Errorf("status %d: the service was asked at %v, want at least 10s between two refusals", status, times)
					break
				}
			}
		})
	}
}

// A NAT has forgotten the connections that were kept. The next call takes longer, but does
// not fail, and the one after that is as quick as ever.
func TestCallAfterConnectionsHaveDiedSilently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var forgotten atomic.Int64 // how often; a connection that was made before the last time is lost
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			made := forgotten.Load()
			go func() {
				defer server.Close()
				for in := bufio.NewReader(server); ; {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					time.Sleep(time.Second)
					if made != forgotten.Load() {
						_, _ = io.Copy(io.Discard, in) // until the client has closed it
						return
					}
					const body = `{"access_token":"abc","expires_in":3600}`
					_, _ = fmt.Fprintf(server, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				}
			}()
			return client, nil
		}
		creds := &customer.Credentials{ClientID: "client", TokenServiceURL: "http://127.0.0.1/token", GatewayURL: gatewayURL}
		flow := newFlow(t, creds, flows.Options{ServiceTransport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 10}})
		defer flow.CloseIdleConnections()
		src := newSource(t, flow)
		var users sync.WaitGroup
		for i := range 4 {
			users.Go(func() {
				if _, err := src.TokenContext(tokensource.WithUserToken(t.Context(), fmt.Sprint("user", i))); err != nil {
					t.Errorf("user %d: %v", i, err)
				}
			})
		}
		users.Wait()
		forgotten.Add(1)
		for i, most := range []time.Duration{25 * time.Second, time.Second, time.Second} {
			start := time.Now()
			_, err := src.TokenContext(tokensource.WithUserToken(t.Context(), fmt.Sprint("new-user", i)))
			if took := time.Since(start); err != nil || took > most {
				t.Errorf("call %d after that: got error %v after %v, want a token after %v at most", i+1, err, took, most)
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
