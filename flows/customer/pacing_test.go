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
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// script answers requests by a function.
type script func(*http.Request) *http.Response

func (s script) RoundTrip(req *http.Request) (*http.Response, error) { return s(req), nil }

func reply(status int, retryAfter, body string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// sourceOver returns a source of a flow whose requests s answers.
func sourceOver(t *testing.T, s http.RoundTripper) *tokensource.Source {
	t.Helper()
	flow := must(customer.NewFlow(&customer.Credentials{ClientID: "client", TokenServiceURL: tokenURL, GatewayURL: gatewayURL}, &customer.Options{Base: s}))(t)
	return must(tokensource.New(flow, tokensource.Options{}))(t)
}

// The token service asks one user's exchange to come back in 3 s: until then it hears
// from nobody, and then everybody gets a token.
func TestPausedServiceIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		var asked []time.Duration
		src := sourceOver(t, script(func(*http.Request) *http.Response {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(begin))
			if len(asked) == 1 {
				return reply(429, "3", "")
			}
			return reply(200, "", `{"access_token":"token","expires_in":3600}`)
		}))
		var users sync.WaitGroup
		for i := range 20 {
			users.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if _, err := src.TokenContext(tokensource.WithUserToken(t.Context(), fmt.Sprint("user", i))); err != nil {
					t.Error(err)
				}
			})
		}
		users.Wait()
		if len(asked) != 21 || asked[0] != 0 {
			t.Errorf("asked at %v", asked)
		}
		for _, at := range asked[1:] {
			if at < 3*time.Second {
				t.Errorf("asked again at %v", at)
			}
		}
	})
}

// A thousand users who come at once stand in line: no more than 32 token requests are
// under way, over real connections, and all of them get their own token.
func TestThousandColdUsers(t *testing.T) {
	t.Parallel()
	server := must(agwtest.Start(agwtest.Options{}))(t)
	t.Cleanup(server.Close)
	root := t.TempDir()
	if err := server.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	server.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Latency: 5 * time.Millisecond} })
	flow := must(customer.NewFlow(must(customer.LoadFile(root))(t), &customer.Options{RootCAs: server.RootCAs()}))(t)
	t.Cleanup(flow.CloseIdleConnections)
	src := must(tokensource.New(flow, tokensource.Options{Settings: cache.Settings{MaxUserTokens: 1000}}))(t)

	var crowd sync.WaitGroup
	for i := range 1000 {
		ctx := tokensource.WithUserToken(context.Background(), server.UserToken(agwtest.User{Name: fmt.Sprint("user", i)}))
		crowd.Go(func() {
			if _, err := src.TokenContext(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	crowd.Wait()
	if n := server.Counts().Token; n != 1000 {
		t.Errorf("%d token requests", n)
	}
	if n := server.Tokens.Meter().MaxInFlight; n > 32 || n < 2 {
		t.Errorf("up to %d requests were under way", n)
	}
}
