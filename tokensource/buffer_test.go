package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// A token that nobody asked for while it was due is renewed by the first caller in its
// buffer, who waits for it.
func TestBufferedCallerWaitsForTheRenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(t.Context())
		time.Sleep(bufferStart)
		bed.flow.setFetch(afterDelay(900*time.Millisecond, tokenLivingFor(time.Hour)))
		if bed.token(t.Context()) == old {
			t.Error("got the old token, want the new one that came after 900 ms")
		}
		bed.assertRequests(2, "one renewal")
	})
}

// The caller does not wait for long: the old token is still good.
func TestBufferedCallerDoesNotWaitLong(t *testing.T) {
	tests := []struct {
		name string
		left time.Duration // before the expiry
		want time.Duration
	}{
		{"30 s left", 30 * time.Second, time.Second},
		{"1 s left", time.Second, 500 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				old := bed.token(t.Context())
				time.Sleep(expiry - tt.left)
				bed.flow.setFetch(afterDelay(20*time.Second, tokenLivingFor(time.Hour)))
				start := time.Now()
				if got := bed.token(t.Context()); got != old {
					t.Errorf("got token %v, want the old one, as the renewal takes 20 s", got)
				}
				if waited := time.Since(start); waited != tt.want {
					t.Errorf("waited for %v, want %v", waited, tt.want)
				}
				if n := bed.source.Stats().ServedStale; n != 1 {
					t.Errorf("counters: got %d tokens served stale, want 1", n)
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if bed.token(t.Context()) == old {
					t.Error("after the renewal: got the old token, want the new one")
				}
				bed.assertRequests(2, "the renewal goes on after its caller has left")
			})
		})
	}
}

func TestBufferedCallerLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.token(t.Context())
		time.Sleep(bufferStart)
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := bed.call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller who allows 100 ms of a renewal that takes 1 s: got error %v, want that of the context", err)
		}
		if waited := time.Since(start); waited != 100*time.Millisecond {
			t.Errorf("caller who allows 100 ms left after %v", waited)
		}
	})
}

// While a caller waits for the renewal, the old token can expire by the wall clock alone.
func TestTokenExpiresDuringItsRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, flow := newManualClock(), newFlow()
		bed := newTestbedOver(t, clockedFlow{flow, clock.now}, flow, tokensource.Options{})
		old := bed.token(t.Context())
		clock.advance(bufferStart)
		flow.setFetch(afterDelay(5*time.Second, tokenLivingFor(time.Hour)))
		time.AfterFunc(500*time.Millisecond, func() { clock.stepWall(time.Hour) })
		if bed.token(t.Context()) == old {
			t.Error("a token was served after it had expired by the wall clock, want the new one")
		}
		bed.assertRequests(2, "one renewal")
	})
}

// Each of the two clocks ends the life of a token.
func TestTokenExpiresByEitherClock(t *testing.T) {
	tests := []struct {
		name string
		move func(*manualClock)
	}{
		{"the machine was suspended", func(c *manualClock) { c.stepWall(expiry) }},
		{"the wall clock was set back", func(c *manualClock) {
			c.stepWall(-24 * time.Hour)
			c.advance(expiry)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				clock, flow := newManualClock(), newFlow()
				bed := newTestbedOver(t, clockedFlow{flow, clock.now}, flow, tokensource.Options{})
				old := bed.token(t.Context())
				if bed.token(t.Context()) != old {
					t.Error("a fresh token is not served again")
				}
				tt.move(clock)
				if bed.token(t.Context()) == old {
					t.Error("an expired token is served, want a new one")
				}
				bed.assertRequests(2, "one for each token")
			})
		})
	}
}

// An exchanged token never outlives the user's own.
func TestUsersTokenBoundsTheExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		end := time.Now().Add(10 * time.Minute)
		alice := asUser(t.Context(), unsignedJWT(fmt.Sprintf(`{"sub":"alice","exp":%d}`, end.Unix())))
		if got := bed.token(alice).Expiry(); !got.Equal(end) {
			t.Errorf("a token of an hour for a user's token of 10 min expires at %v, want %v", got, end)
		}
		if got, want := bed.token(t.Context()).Expiry(), time.Now().Add(time.Hour); !got.Equal(want) {
			t.Errorf("the system token of an hour expires at %v, want %v", got, want)
		}
		time.Sleep(time.Until(end))
		if _, err := bed.call(alice); !errors.Is(err, tokensource.ErrUserTokenExpired) {
			t.Errorf("after the user's token has expired: got error %v, want ErrUserTokenExpired", err)
		}
		bed.assertRequests(2, "an expired user token is not sent")
		if n := bed.source.Stats().UserTokens; n != 0 {
			t.Errorf("after the user's token has expired: %d user tokens are cached, want none", n)
		}
	})
}

func TestNoExpiryBuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newTestbed(t, tokensource.Options{Settings: tokensource.Settings{ExpiryBuffer: tokensource.NoExpiryBuffer}})
		bed.flow.setFetch(tokenLivingFor(4 * time.Nanosecond)) // too short to be due before it expires
		bed.token(t.Context())
		time.Sleep(3 * time.Nanosecond)
		bed.token(t.Context())
		bed.assertRequests(1, "1 ns before its expiry, a token without a buffer is served")
		time.Sleep(time.Nanosecond)
		bed.token(t.Context())
		bed.assertRequests(2, "at its expiry, it is not")
	})
}
