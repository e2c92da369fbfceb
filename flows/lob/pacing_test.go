package lob_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// One tenant's authorization server asks to be left alone for 3 s. That tenant waits;
// another one, which has a server of its own, does not.
func TestPauseOfATenantIsItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
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
			return f.respond(req)
		})
		flow, err := lob.NewFlow(credentials(), &lob.Options{Base: mock})
		if err != nil {
			t.Fatal(err)
		}
		src, err := tokensource.New(flow, tokensource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		took := make(map[string]time.Duration)
		var mu sync.Mutex
		var tenants sync.WaitGroup
		for _, tenant := range []string{"acme", "umbrella"} {
			tenants.Go(func() {
				if _, err := src.TokenContext(tokensource.WithTenant(t.Context(), tenant)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				took[tenant] = time.Since(begin)
			})
		}
		tenants.Wait()
		if took["acme"] < 3*time.Second || took["umbrella"] != 0 {
			t.Errorf("they waited %v", took)
		}
	})
}
