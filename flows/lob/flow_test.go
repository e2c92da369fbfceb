package lob_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// However small the cache of tokens is, no tenant's service token or fragment has to
// leave for another one's.
func TestManyTenants(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.start(t, lob.Options{Settings: cache.Settings{MaxSystemTokens: 1, MaxUserTokens: 1}})
	const tenants = 300
	for round, want := range []string{"auth fragments destination", "destination"} {
		for i := range tenants {
			f.trace()
			f.mustFetch(t, fmt.Sprint("tenant-", i), "")
			if got := f.trace(); got != want {
				t.Fatalf("round %d, tenant %d: %q", round, i, got)
			}
		}
	}
}

func TestEventsOfServiceTokens(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var kinds []string
	f := newFake()
	f.start(t, lob.Options{OnEvent: func(ev tokensource.Event) {
		mu.Lock()
		defer mu.Unlock()
		kinds = append(kinds, ev.Flow+" "+string(ev.Kind))
	}})
	f.mustFetch(t, "acme", "")
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(kinds, ", "); !strings.HasPrefix(got, "lob-service fetch_start") {
		t.Errorf("events: %s", got)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		f := newFake()
		f.destination = func(int, sent) answer {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return answer{200, destination(`"` + gatewayURL + `"`)}
		}
		f.start(t, lob.Options{MaxConcurrentRequests: 3})
		var group sync.WaitGroup
		for i := range 30 {
			group.Go(func() {
				if _, err := f.fetch("acme", fmt.Sprint("user", i)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if most.Load() != 3 {
			t.Errorf("%d requests at once", most.Load())
		}
	})
}

// The service token is the tenant's, whoever asks for it.
func TestServiceTokenHasNoUser(t *testing.T) {
	t.Parallel()
	f := newFake()
	flow := f.start(t, lob.Options{})
	ctx := tokensource.WithTenant(t.Context(), "acme")
	for _, ctx := range []context.Context{tokensource.WithUserToken(ctx, userJWT), ctx, tokensource.WithUserToken(ctx, "")} {
		if _, err := flow.ClientID(ctx); err != nil {
			t.Error(err)
		}
		_, _ = flow.MCPServers(ctx)
	}
	expectTrace(t, f, "auth destination auth fragments fragments fragments")
}
