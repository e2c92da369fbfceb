package tokensource_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

func TestRejectedOnceByMany(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		old := h.mustGrant(t.Context())
		h.does(takes(100*time.Millisecond, lives(time.Hour)))
		var mu sync.Mutex
		dropped, tokens := 0, make(map[string]int)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				ok := h.Invalidate(old)
				token := h.token(t.Context())
				mu.Lock()
				defer mu.Unlock()
				tokens[token]++
				if ok {
					dropped++
				}
			})
		}
		wg.Wait()
		h.fetched(2)
		if dropped != 1 || len(tokens) != 1 || tokens[old.Token().AccessToken] != 0 {
			t.Errorf("dropped %d times, %d different tokens, %d times the old one", dropped, len(tokens), tokens[old.Token().AccessToken])
		}
	})
}

// A late report about an old token does not harm its successor.
func TestLateRejection(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		old := h.mustGrant(t.Context())
		h.Invalidate(old)
		fresh := h.mustGrant(t.Context())
		for range 3 {
			if h.Invalidate(old) {
				t.Error("an old token was dropped again")
			}
			if h.mustGrant(t.Context()) != fresh {
				t.Error("the new token was dropped")
			}
			time.Sleep(11 * time.Second)
		}
		h.fetched(2)
	})
}

func TestGatewayAlwaysRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		for _, ctx := range subjects(t) {
			before := h.fetches.Load()
			for range 1000 {
				g := h.mustGrant(ctx)
				if h.Invalidate(g) {
					h.Invalidate(h.mustGrant(ctx)) // the transport's one retry
				}
				time.Sleep(10 * time.Millisecond)
			}
			if n := h.fetches.Load() - before; n > 2 {
				t.Errorf("%d fetches in 10 s, want at most 2", n)
			}
		}
	})
}

// A token that was refused in between is replaced as soon as that is allowed,
// whether or not it is refused again.
func TestRejectedIsReplacedLater(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.Invalidate(h.mustGrant(t.Context()))
		second := h.mustGrant(t.Context())
		time.Sleep(time.Second)
		if h.Invalidate(second) {
			t.Error("dropped a second time within 10 s")
		}
		time.Sleep(9*time.Second - 1)
		if h.mustGrant(t.Context()) != second {
			t.Error("replaced within 10 s")
		}
		time.Sleep(time.Nanosecond)
		if h.mustGrant(t.Context()) == second {
			t.Error("not replaced after 10 s")
		}
		h.fetched(3)
		if n := h.Stats().Rejections; n != 2 {
			t.Errorf("%d rejections, want 2", n)
		}
	})
}

func TestRejectedIsOneSubjects(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		grants := make([]*tokensource.Grant, 0, 4)
		for _, ctx := range subjects(t) {
			grants = append(grants, h.mustGrant(ctx))
		}
		n := h.fetches.Load()
		if !h.Invalidate(grants[1]) {
			t.Fatal("not dropped")
		}
		for i, ctx := range subjects(t) {
			if same := h.mustGrant(ctx) == grants[i]; same != (i != 1) {
				t.Errorf("subject %d: the same grant is %v", i, same)
			}
		}
		h.fetched(n + 1)
	})
}

// What a source never handed out is nothing to it.
func TestRejectForeign(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		g := h.mustGrant(t.Context())
		foreign, err := tokensource.NewGrant(g.Token().AccessToken, g.Token().Expiry, nil)
		if err != nil {
			t.Fatal(err)
		}
		if h.Invalidate(nil) || h.Invalidate(foreign) || newHarness(t, tokensource.Options{}).Invalidate(g) {
			t.Error("dropped what is not there")
		}
		h.token(t.Context())
		h.fetched(1)
	})
}

// A rejection and a failed renewal at the same time forget nothing of each other.
func TestRejectDuringRenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		g := h.mustGrant(t.Context())
		time.Sleep(dueFor)
		h.does(takes(time.Second, fails(permanent)))
		h.token(t.Context()) // sets the renewal off
		synctest.Wait()
		h.Invalidate(g)
		time.Sleep(time.Second)
		synctest.Wait()
		if e := h.mustFail(t.Context()); e.StatusCode != 404 {
			t.Errorf("error is %v", e)
		}
		h.fetched(2)
		h.does(lives(time.Hour))
		time.Sleep(time.Second)
		g = h.mustGrant(t.Context())
		if h.Invalidate(g) {
			t.Error("the failure made the rejection 2 s ago forgotten")
		}
	})
}
