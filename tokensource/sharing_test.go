package tokensource_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

func TestCallersShareOneFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(afterDelay(400*time.Millisecond, tokenLivingFor(time.Hour)))
		tokens, errs := bed.callAtOnce(t.Context(), 1000)
		if len(errs) > 0 || len(tokens) != 1 {
			t.Fatalf("1000 callers without a token: %d got an error and the others %d different tokens, want one token for all; errors: %.3v", len(errs), len(tokens), errs)
		}
		bed.assertRequests(1, "1000 callers share one fetch")
		if stats := bed.source.Stats(); stats.Shared != 999 || stats.Misses != 1000 {
			t.Errorf("counters: got %d shared and %d misses, want 999 and 1000", stats.Shared, stats.Misses)
		}
	})
}

func TestCallersShareOneFailure(t *testing.T) {
	tests := []struct {
		name     string
		err      tokensource.Error
		requests int64
	}{
		{"temporary, tried three times", unavailable, 3},
		{"permanent, tried once", notFound, 1},
		{"user denied, tried once", userDenied, 1},
		{"client denied, tried once", clientDenied, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				bed.flow.setFetch(afterDelay(50*time.Millisecond, failingWith(tt.err)))
				_, errs := bed.callAtOnce(t.Context(), 1000)
				if len(errs) != 1000 {
					t.Fatalf("%d of 1000 callers got the error, want all", len(errs))
				}
				for _, err := range errs {
					if err != errs[0] {
						t.Fatalf("two callers got different errors, want the same: %v and %v", errs[0], err)
					}
				}
				bed.assertRequests(tt.requests, "1000 callers share one fetch")
				synctest.Wait()
				stats := bed.source.Stats()
				if stats.Fetches != 1 || stats.Failures != 1 || stats.Retries != uint64(tt.requests-1) {
					t.Errorf("counters: got %d fetches, %d failures and %d retries, want 1, 1 and %d", stats.Fetches, stats.Failures, stats.Retries, tt.requests-1)
				}
			})
		})
	}
}

func TestCallerLeavesWithoutHarmToOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(afterDelay(400*time.Millisecond, tokenLivingFor(time.Hour)))
		others := make(chan []error)
		go func() {
			_, errs := bed.callAtOnce(context.Background(), 10)
			others <- errs
		}()
		synctest.Wait()

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := bed.call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller who allows 100 ms of a fetch that takes 400 ms: got error %v, want that of the context", err)
		}
		if waited := time.Since(start); waited != 100*time.Millisecond {
			t.Errorf("caller who allows 100 ms left after %v", waited)
		}
		if errs := <-others; len(errs) > 0 {
			t.Errorf("%d of 10 other callers failed because one left: %v", len(errs), errs)
		}
		bed.assertRequests(1, "all share one fetch")
	})
}

func TestFetchOutlivesItsCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(afterDelay(250*time.Millisecond, tokenLivingFor(time.Hour)))
		succeeded := 0
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if _, err := bed.call(ctx); err == nil {
				succeeded++
			}
			cancel()
		}
		bed.assertRequests(1, "the fetch that two callers have left serves the third")
		if succeeded != 18 {
			t.Errorf("%d of 20 callers who allow 100 ms each got the token of a fetch that takes 250 ms, want all but the first two", succeeded)
		}
	})
}

func TestErrorOfALeavingCallerHasTheCause(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		shutdown := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(shutdown) })
		_, err := bed.call(ctx)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, shutdown) {
			t.Errorf("got error %v, want one that is both %v and %v", err, context.Canceled, shutdown)
		}
	})
}

// A context that has ended sets nothing off, but a token that is there is served.
func TestEndedContext(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := bed.call(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("without a token: got error %v, want that of the context", err)
		}
		synctest.Wait()
		bed.assertRequests(0, "a context that has ended sets no fetch off")

		token := bed.token(t.Context())
		if got := bed.token(ended); got != token {
			t.Errorf("with a fresh token: got %v, want the cached token %v", got, token)
		}

		time.Sleep(bufferStart)
		if _, err := bed.call(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("with a token in its buffer: got error %v, want that of the context", err)
		}
		synctest.Wait()
		bed.assertRequests(1, "a context that has ended sets no renewal off")
	})
}

// A flow sees nothing of the contexts of those who wait.
func TestFetchIsDetachedFromItsCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		type contextKey struct{}
		bed.flow.setFetch(func(ctx context.Context, _ tokensource.Subject) (*tokensource.Response, error) {
			if s, ok := tokensource.SubjectFromContext(ctx); ok || ctx.Value(contextKey{}) != nil {
				t.Errorf("the fetch sees values of a caller's context: subject %v, value %v", s, ctx.Value(contextKey{}))
			}
			deadline, ok := ctx.Deadline()
			if left := time.Until(deadline); !ok || left > 60*time.Second || left < 59*time.Second {
				t.Errorf("the fetch has %v (deadline: %v), want the fetch timeout of 60 s and not the caller's 1 s", left, ok)
			}
			return responseLivingFor(time.Hour), nil
		})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), contextKey{}, 1), time.Second)
		defer cancel()
		bed.token(asUser(ctx, "alice"))
	})
}

// hookContext calls a hook when it is first asked for its error. A source asks before it
// starts a fetch, after it has looked into the cache.
type hookContext struct {
	context.Context
	hook func()
}

func (c *hookContext) Err() error {
	if hook := c.hook; hook != nil {
		c.hook = nil
		hook()
	}
	return c.Context.Err()
}

// Between a caller's look into the cache and its fetch, the fetch of another caller can
// end. It is not repeated, whether it succeeded or failed.
func TestFetchLooksIntoTheCacheAgain(t *testing.T) {
	tests := []struct {
		name  string
		fetch fetchFunc
	}{
		{"the other fetch succeeded", tokenLivingFor(time.Hour)},
		{"the other fetch failed", failingWith(notFound)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				bed.flow.setFetch(tt.fetch)
				var otherToken *tokensource.Token
				var otherErr error
				overtaken := &hookContext{t.Context(), func() { otherToken, otherErr = bed.call(context.Background()) }}
				token, err := bed.call(overtaken)
				if token != otherToken || err != otherErr || token == nil && err == nil {
					t.Errorf("got token %v and error %v, want what the other caller got: %v and %v", token, err, otherToken, otherErr)
				}
				bed.assertRequests(1, "the second fetch finds what the first one left")
				synctest.Wait()
				if stats := bed.source.Stats(); stats.Fetches != 1 || stats.Misses != 2 {
					t.Errorf("counters: got %d fetches and %d misses, want 1 and 2", stats.Fetches, stats.Misses)
				}
			})
		})
	}
}

// On a machine so slow that the time of a fetch is over before it begins, it does not
// begin.
func TestFetchThatIsTooLateDoesNotBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow := newFlow()
		var slow atomic.Bool
		bed := newTestbedOver(t, clockedFlow{flow, func() cache.Instant {
			if slow.Swap(false) {
				time.Sleep(2 * time.Minute)
			}
			return cache.Now()
		}}, flow, tokensource.Options{})
		ctx := &hookContext{t.Context(), func() { slow.Store(true) }} // when the fetch first reads the clock
		if err := bed.failure(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want a timeout", err)
		}
		time.Sleep(2 * time.Minute)
		bed.assertRequests(0, "the time of the fetch was over before its first request")
		bed.token(t.Context())
	})
}

// A fetch that ignores its context ends for those who wait for it nonetheless.
func TestFetchThatNeverReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		release := make(chan struct{})
		defer close(release)
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			<-release
			return responseLivingFor(time.Hour), nil
		})
		start := time.Now()
		_, errs := bed.callAtOnce(t.Context(), 100)
		if waited := time.Since(start); waited != 60*time.Second {
			t.Errorf("callers waited for %v, want the fetch timeout of 60 s", waited)
		}
		if len(errs) != 100 || !errors.Is(errs[0], context.DeadlineExceeded) {
			t.Errorf("%d of 100 callers got an error, want a timeout for all: %.3v", len(errs), errs)
		}
		if stats := bed.source.Stats(); stats.InFlight != 0 {
			t.Errorf("%d fetches count as under way after their timeout, want none", stats.InFlight)
		}
		bed.flow.setFetch(tokenLivingFor(time.Hour))
		time.Sleep(time.Second)
		bed.token(t.Context())
	})
}

// The result of a fetch that was given up is not used any more.
func TestLateResultIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			time.Sleep(2 * time.Minute)
			return responseLivingFor(time.Hour), nil
		})
		bed.failure(t.Context())
		time.Sleep(2 * time.Minute)
		if n := bed.source.Stats().SystemTokens; n != 0 {
			t.Errorf("a token that came 1 min after the fetch timeout is cached: got %d tokens, want none", n)
		}
	})
}

func TestTinyFetchTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newTestbed(t, tokensource.Options{Settings: tokensource.Settings{FetchTimeout: 1}})
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		for i := range 100 {
			if _, err := bed.call(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("call %d with a fetch timeout of 1 ns: got error %v, want a timeout", i, err)
			}
			time.Sleep(time.Minute)
		}
	})
}
