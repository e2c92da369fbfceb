package tokensource_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// The stations of a token that lives for an hour, with the default buffer of 30 s:
// it becomes due between dueFrom and dueFor, and is buffered from then on.
const (
	dueFrom  = 3570*time.Second - 300*time.Second
	dueFor   = dueFrom + 150*time.Second
	buffered = 3570 * time.Second
	expiry   = time.Hour
)

func TestNobodyWaitsForARenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		old := h.token(t.Context())
		time.Sleep(dueFor)
		h.does(takes(time.Second, lives(time.Hour)))
		start := time.Now()
		if errs := h.crowd(10_000, t.Context()); len(errs) > 0 {
			t.Fatalf("%d callers failed, such as with: %v", len(errs), errs[0])
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("callers waited for %v", waited)
		}
		if got := h.token(t.Context()); got != old {
			t.Error("the old token is not served during its renewal")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := h.token(t.Context()); got == old {
			t.Error("the old token is served after its renewal")
		}
		h.fetched(2)
		if s := h.Stats(); s.Refreshes != 1 || s.Misses != 1 || s.Shared != 0 {
			t.Errorf("%d refreshes, %d misses, %d shared, want 1, 1, 0", s.Refreshes, s.Misses, s.Shared)
		}
	})
}

func TestRenewalsDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const engines = 20
		var hs []*harness
		for range engines {
			h := newHarness(t, tokensource.Options{})
			h.token(t.Context())
			hs = append(hs, h)
		}
		moments := make(map[time.Duration]int)
		time.Sleep(dueFrom - time.Second)
		for at := dueFrom - time.Second; at <= dueFor; at += time.Second {
			for _, h := range hs {
				before := h.fetches.Load()
				h.token(t.Context())
				synctest.Wait()
				if h.fetches.Load() > before {
					moments[at]++
				}
			}
			time.Sleep(time.Second)
		}
		renewed := 0
		for at, n := range moments {
			renewed += n
			if at < dueFrom {
				t.Errorf("renewed as early as %v", at)
			}
		}
		if renewed != engines {
			t.Errorf("%d engines renewed in the first half of the window, want %d", renewed, engines)
		}
		if len(moments) < engines/2 {
			t.Errorf("%d engines renewed in %d different seconds only", engines, len(moments))
		}
	})
}

// A token without a caller in its refresh window is renewed by the first caller in
// its buffer, who waits for it.
func TestBufferedCallerWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		old := h.token(t.Context())
		time.Sleep(buffered)
		h.does(takes(900*time.Millisecond, lives(time.Hour)))
		if got := h.token(t.Context()); got == old {
			t.Error("got the old token")
		}
		h.fetched(2)
	})
}

// But not for long: the old token is good yet.
func TestBufferedCallerWaitsBriefly(t *testing.T) {
	tests := []struct {
		name     string
		left     time.Duration
		want     time.Duration
		deadline time.Duration
	}{
		{"30 s left", 30 * time.Second, time.Second, time.Hour},
		{"1 s left", time.Second, 500 * time.Millisecond, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				old := h.token(t.Context())
				time.Sleep(expiry - tt.left)
				h.does(takes(20*time.Second, lives(time.Hour)))
				start := time.Now()
				if got := h.token(t.Context()); got != old {
					t.Error("did not get the old token")
				}
				if waited := time.Since(start); waited != tt.want {
					t.Errorf("waited for %v, want %v", waited, tt.want)
				}
				if stale := h.Stats().ServedStale; stale != 1 {
					t.Errorf("served %d times from the buffer, want 1", stale)
				}
				time.Sleep(20 * time.Second)
				h.fetched(2)
			})
		})
	}
}

func TestBufferedCallerLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.token(t.Context())
		time.Sleep(buffered)
		h.does(takes(time.Second, lives(time.Hour)))
		ctx, cancel := timeout(t, 100*time.Millisecond)
		defer cancel()
		if _, err := h.Grant(ctx); !errors.Is(err, ctx.Err()) {
			t.Errorf("error is %v, want that of the context", err)
		}
		time.Sleep(time.Second)
	})
}

// While it is waited for the renewal, the old token can end by the wall clock.
func TestTokenEndsDuringRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		h := newHarness(t, tokensource.Options{Clock: c.now})
		old := h.token(t.Context())
		c.run(buffered)
		h.does(takes(5*time.Second, lives(time.Hour)))
		time.AfterFunc(500*time.Millisecond, func() { c.step(time.Hour) })
		if got := h.token(t.Context()); got == old {
			t.Error("an expired token was served")
		}
		h.fetched(2)
		h.balance()
	})
}

func TestPassingFailureWhileValid(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		old := h.token(t.Context())
		start := time.Now()
		time.Sleep(dueFor)
		h.does(fails(outage))
		gaps, last, lastAt := []int(nil), h.Stats().Fetches, time.Time{}
		for time.Since(start) < expiry {
			if got := h.token(t.Context()); got != old {
				t.Fatal("another token is served")
			}
			synctest.Wait()
			if n := h.Stats().Fetches; n != last {
				if !lastAt.IsZero() {
					gaps = append(gaps, int(time.Since(lastAt)/time.Second))
				}
				last, lastAt = n, time.Now()
			}
			time.Sleep(100 * time.Millisecond)
		}
		if want := []int{1, 2, 4, 8, 16, 30, 30, 30, 30}; !slices.Equal(gaps, want) {
			t.Errorf("seconds between the attempts are %v, want %v", gaps, want)
		}
		s := h.Stats()
		if s.ServedStale == 0 {
			t.Error("nothing tells of a token served from its buffer")
		}
		if s.Misses > s.Fetches {
			t.Errorf("%d callers waited for %d fetches", s.Misses, s.Fetches)
		}
		if e := h.mustFail(t.Context()); e.StatusCode != 503 {
			t.Errorf("after the expiry, the error is %v", e)
		}
		h.does(lives(time.Hour))
		time.Sleep(30 * time.Second)
		if got := h.token(t.Context()); got == old {
			t.Error("the expired token is served")
		}
	})
}

// A service that hangs is as good as one that fails.
func TestHangingRenewalWhileValid(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		old := h.token(t.Context())
		start := time.Now()
		time.Sleep(dueFor)
		h.does(takes(time.Hour, lives(time.Hour)))
		for time.Since(start) < expiry {
			if got := h.token(t.Context()); got != old {
				t.Fatal("another token is served")
			}
			time.Sleep(time.Second)
		}
		if n := h.Stats().Fetches; n > 4 {
			t.Errorf("%d fetches in three minutes, want at most 4", n)
		}
		h.does(lives(time.Hour))
		time.Sleep(2 * time.Minute)
		h.token(t.Context())
	})
}

func TestRefusalWhileValid(t *testing.T) {
	for name, at := range map[string]time.Duration{"due": dueFor, "buffered": buffered} {
		for _, refusal := range []tokensource.Error{invalidGrant, badClient} {
			t.Run(name+" "+refusal.Code, func(t *testing.T) {
				inBubble(t, func(t *testing.T, h *harness) {
					alice := user(t.Context(), "alice")
					h.token(alice)
					time.Sleep(at)
					h.does(fails(refusal))
					if at == dueFor {
						h.token(alice) // sets the renewal off
						synctest.Wait()
					}
					if e := h.mustFail(alice); e.Code != refusal.Code || e.NextAttempt.IsZero() {
						t.Errorf("error is %v", e)
					}
					if n := h.Stats().UserTokens; n != 0 {
						t.Errorf("%d tokens are cached", n)
					}
					h.fetched(2)
				})
			})
		}
	}
}

// A renewal that makes no sense is no reason to give up a token that is good.
func TestPermanentFailureWhileValid(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		old := h.token(t.Context())
		time.Sleep(buffered)
		h.does(fails(permanent))
		if got := h.token(t.Context()); got != old {
			t.Error("another token is served")
		}
	})
}

func TestShortLivedTokens(t *testing.T) {
	tests := []struct {
		life time.Duration
		most int64
	}{
		{60 * time.Second, 1},
		{30 * time.Second, 1},
		{10 * time.Second, 3},
		{time.Second, 25},
	}
	for _, tt := range tests {
		t.Run(tt.life.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for range 20 { // jitter
					h := newHarness(t, tokensource.Options{})
					h.does(lives(tt.life))
					for range 100 {
						h.token(t.Context())
						time.Sleep(100 * time.Millisecond)
					}
					if n := h.fetches.Load(); n > tt.most {
						t.Errorf("%d fetches, want at most %d", n, tt.most)
					}
					h.balance()
				}
			})
		})
	}
}

// An exchanged token never outlives the user's own.
func TestCappedByTheUsersExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		end := time.Now().Add(10 * time.Minute)
		alice := user(t.Context(), jwt(fmt.Sprintf(`{"sub":"alice","exp":%d}`, end.Unix())))
		if got := h.mustGrant(alice).Token().Expiry; !got.Equal(end) {
			t.Errorf("the token ends at %v, want %v", got, end)
		}
		if got := h.mustGrant(t.Context()).Token().Expiry; !got.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("the technical token ends at %v", got)
		}
		time.Sleep(time.Until(end))
		h.fetched(2)
		if _, err := h.Grant(alice); !errors.Is(err, tokensource.ErrUserTokenExpired) {
			t.Errorf("error is %v, want ErrUserTokenExpired", err)
		}
		h.fetched(2) // in vain it would have been
		if n := h.Stats().UserTokens; n != 0 {
			t.Errorf("%d user tokens are cached", n)
		}
	})
}

func TestNoBufferNoWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, tokensource.Options{Settings: cache.Settings{ExpiryBuffer: cache.NoExpiryBuffer}})
		h.does(lives(4 * time.Nanosecond)) // too short for a window
		h.token(t.Context())
		time.Sleep(3 * time.Nanosecond)
		h.token(t.Context())
		h.fetched(1)
		time.Sleep(time.Nanosecond)
		h.token(t.Context())
		h.fetched(2)
		h.balance()
	})
}
