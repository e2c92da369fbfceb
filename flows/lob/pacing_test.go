package lob_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var underWay, most atomic.Int64
		s := newServices()
		s.destination = func(int, request) httpResponse {
			most.Store(max(most.Load(), underWay.Add(1)))
			defer underWay.Add(-1)
			time.Sleep(time.Second)
			return httpResponse{200, destination(`"` + gatewayURL + `"`)}
		}
		flow := s.newFlow(t, flows.Options{MaxConcurrentRequests: 3})
		var group sync.WaitGroup
		for i := range 30 {
			group.Go(func() {
				if _, err := flow.Fetch(t.Context(), subject("acme", fmt.Sprint("user", i))); err != nil {
					t.Errorf("user %d: %v", i, err)
				}
			})
		}
		group.Wait()
		if most.Load() != 3 {
			t.Errorf("%d requests were under way at once, want MaxConcurrentRequests, 3", most.Load())
		}
	})
}

// The authorization server of one tenant asks for a pause of 3 s. That tenant waits;
// another one, which has a host of its own, does not.
func TestPauseOfATenantIsItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		mock := httpmock.NewMockTransport()
		var once sync.Once
		mock.RegisterNoResponder(func(req *http.Request) (resp *http.Response, err error) {
			if strings.HasPrefix(req.URL.Host, "acme.") {
				once.Do(func() {
					resp = httpmock.NewStringResponse(429, "")
					resp.Header.Set("Retry-After", "3")
				})
			}
			if resp != nil {
				return resp, nil
			}
			return s.respond(req)
		})
		flow, err := credentials().NewFlow(flows.Options{ServiceTransport: mock})
		if err != nil {
			t.Fatal(err)
		}
		src := newSource(t, flow, tokensource.Options{})
		begin := time.Now()
		var mu sync.Mutex
		waited := make(map[string]time.Duration)
		var group sync.WaitGroup
		for _, tenant := range []string{"acme", "umbrella"} {
			group.Go(func() {
				if _, err := src.AccessToken(tokensource.WithTenant(t.Context(), tenant)); err != nil {
					t.Errorf("tenant %s: %v", tenant, err)
				}
				mu.Lock()
				defer mu.Unlock()
				waited[tenant] = time.Since(begin)
			})
		}
		group.Wait()
		if waited["acme"] < 3*time.Second || waited["umbrella"] != 0 {
			t.Errorf("acme waited %v, want at least 3 s; umbrella waited %v, want none", waited["acme"], waited["umbrella"])
		}
	})
}
