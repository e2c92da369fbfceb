package tokensource_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

func TestColdCallersShareOneFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(takes(400*time.Millisecond, lives(time.Hour)))
		if errs := h.crowd(1000, t.Context()); len(errs) > 0 {
			t.Fatalf("%d callers failed, such as with: %v", len(errs), errs[0])
		}
		h.fetched(1)
		if s := h.Stats(); s.Shared != 999 || s.Misses != 1000 {
			t.Errorf("%d shared of %d misses, want 999 of 1000", s.Shared, s.Misses)
		}
	})
}

func TestColdCallersShareOneFailure(t *testing.T) {
	tests := []struct {
		name    string
		err     tokensource.Error
		fetches int64
	}{
		{"passing", outage, 3},
		{"permanent", permanent, 1},
		{"refused user", invalidGrant, 1},
		{"refused client", badClient, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				h.does(takes(50*time.Millisecond, fails(tt.err)))
				errs := h.crowd(1000, t.Context())
				if len(errs) != 1000 {
					t.Fatalf("%d callers got the error, want 1000", len(errs))
				}
				for _, err := range errs {
					if err != errs[0] {
						t.Fatalf("callers got different errors: %v and %v", err, errs[0])
					}
				}
				h.fetched(tt.fetches)
				synctest.Wait()
				if s := h.Stats(); s.Fetches != 1 || s.Failures != 1 || s.Retries != uint64(tt.fetches-1) {
					t.Errorf("counters are %+v", s)
				}
			})
		})
	}
}

func TestRetriesGrow(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(fails(outage))
		h.mustFail(t.Context())
		retries := h.events.of(tokensource.EventRetry)
		if len(retries) != 2 {
			t.Fatalf("%d retries, want 2", len(retries))
		}
		first, second := retries[0].Duration, retries[1].Duration
		if first < 100*time.Millisecond || first >= 150*time.Millisecond || second < 200*time.Millisecond || second >= 300*time.Millisecond {
			t.Errorf("retried after %v and %v", first, second)
		}
	})
}

// Programs that failed together do not try again together.
func TestRetriesDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waits := make(map[time.Duration]bool)
		for range 20 {
			h := newHarness(t, tokensource.Options{})
			h.does(fails(outage))
			h.mustFail(t.Context())
			waits[h.events.of(tokensource.EventRetry)[0].Duration] = true
		}
		if len(waits) < 10 {
			t.Errorf("20 engines retry after %d different times", len(waits))
		}
	})
}

func TestRetrySucceeds(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if h.fetches.Load() < 3 {
				return nil, errors.New("connection reset")
			}
			return response(time.Hour), nil
		})
		h.token(t.Context())
		h.fetched(3)
	})
}

func TestCallerLeavesAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(takes(400*time.Millisecond, lives(time.Hour)))
		others := make(chan []error)
		go func() { others <- h.crowd(10, context.Background()) }()
		synctest.Wait()

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := h.Grant(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want that of the context", err)
		}
		if waited := time.Since(start); waited != 100*time.Millisecond {
			t.Errorf("left after %v, want 100 ms", waited)
		}
		if errs := <-others; len(errs) > 0 {
			t.Errorf("%d others were harmed: %v", len(errs), errs[0])
		}
		h.fetched(1)
	})
}

func TestFetchOutlivesEverybody(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(takes(250*time.Millisecond, lives(time.Hour)))
		succeeded := 0
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if _, err := h.Grant(ctx); err == nil {
				succeeded++
			}
			cancel()
		}
		h.fetched(1)
		if succeeded != 18 {
			t.Errorf("%d of 20 succeeded, want all but the first two", succeeded)
		}
	})
}

func TestCauseOfLeaving(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(takes(time.Second, lives(time.Hour)))
		shutdown := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(shutdown) })
		_, err := h.Grant(ctx)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, shutdown) {
			t.Errorf("error %v tells nothing of the context's", err)
		}
		time.Sleep(time.Second)
	})
}

// A context that has ended sets nothing off, but a token that is there is served.
func TestEndedContext(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Grant(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("missing: error is %v, want that of the context", err)
		}
		synctest.Wait()
		h.fetched(0)

		h.token(t.Context())
		h.token(ended)
		h.fetched(1)

		time.Sleep(time.Hour - time.Second) // into the buffer
		if _, err := h.Grant(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("buffered: error is %v, want that of the context", err)
		}
		synctest.Wait()
		h.fetched(1)
	})
}

// A flow sees nothing of the contexts of those who wait.
func TestFetchIsDetached(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		type key struct{}
		h.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if _, ok := tokensource.SubjectFromContext(ctx); ok || ctx.Value(key{}) != nil {
				t.Error("the fetch sees values of the caller's context")
			}
			if left := time.Until(deadline(t, ctx)); left > 60*time.Second || left < 59*time.Second {
				t.Errorf("the fetch has %v, want the fetch timeout", left)
			}
			return response(time.Hour), nil
		})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, 1), time.Second)
		defer cancel()
		h.token(user(ctx, "alice"))
	})
}

func deadline(t *testing.T, ctx context.Context) time.Time {
	t.Helper()
	d, ok := ctx.Deadline()
	if !ok {
		t.Fatal("the context has no deadline")
	}
	return d
}

const secret = "s3cr3t-assertion"

// Whatever a flow does, everybody gets an error, which tells no secret, and the key
// is free again after its rest.
func TestFlowMisbehaves(t *testing.T) {
	tests := []struct {
		name string
		do   fetch
		want string
	}{
		{"panics with a secret", func(context.Context, tokensource.Subject) (*tokensource.Response, error) { panic(secret) }, "panic with a string"},
		{"panics with an error", func(context.Context, tokensource.Subject) (*tokensource.Response, error) { panic(errors.New(secret)) }, "panic with a *errors.errorString"},
		{"dereferences nil", func(_ context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			var r *tokensource.Response
			return r, errors.New(r.AccessToken)
		}, "nil pointer dereference"},
		{"exits", func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			runtime.Goexit()
			return nil, nil
		}, "ended its goroutine"},
		{"returns nothing", func(context.Context, tokensource.Subject) (*tokensource.Response, error) { return nil, nil }, "neither a token nor an error"},
		{"returns no token", func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			return &tokensource.Response{TokenResponse: cache.TokenResponse{AccessToken: " "}}, nil
		}, "access_token has a character"},
		{"returns another type", func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			return &tokensource.Response{TokenResponse: cache.TokenResponse{AccessToken: secret, TokenType: "DPoP"}}, nil
		}, "not of type Bearer"},
		{"returns an expired token", lives(-time.Minute), "expired on arrival"},
		{"hangs until its context ends", takes(time.Hour, lives(time.Hour)), "deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				h := newHarness(t, tokensource.Options{Logger: logger(&log)})
				h.does(tt.do)
				errs := h.crowd(100, t.Context())
				if len(errs) != 100 {
					t.Fatalf("%d callers got an error, want 100", len(errs))
				}
				var e *tokensource.Error
				if !errors.As(errs[99], &e) || e.NextAttempt.IsZero() {
					t.Errorf("error %#v is no *Error with the next attempt", errs[99])
				}
				if text := errs[99].Error(); !strings.Contains(text, tt.want) || strings.Contains(text[1:], "agw: ") {
					t.Errorf("error is %q, want it to contain %q and the prefix once", text, tt.want)
				}
				synctest.Wait()
				tellsNothing(t, secret, errs[99], e, e.Err, log.String(), h.events.list())

				h.does(lives(time.Hour))
				time.Sleep(time.Until(e.NextAttempt))
				h.token(t.Context())
				h.balance()
			})
		})
	}
}

// A fetch that ignores its context ends for those who wait for it, too.
func TestFetchNeverReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		release := make(chan struct{})
		defer close(release)
		h.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			<-release
			return response(time.Hour), nil
		})
		start := time.Now()
		errs := h.crowd(100, t.Context())
		if waited := time.Since(start); waited != 60*time.Second {
			t.Errorf("waited for %v, want the fetch timeout", waited)
		}
		if len(errs) != 100 || !errors.Is(errs[0], context.DeadlineExceeded) {
			t.Errorf("%d errors: %v", len(errs), errs)
		}
		if s := h.Stats(); s.InFlight != 0 {
			t.Errorf("%d fetches are under way", s.InFlight)
		}
		h.does(lives(time.Hour))
		time.Sleep(time.Second)
		h.token(t.Context())
	})
}

// The result of a fetch that was given up does not come back.
func TestLateResultIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			time.Sleep(2 * time.Minute)
			return response(time.Hour), nil
		})
		h.mustFail(t.Context())
		time.Sleep(2 * time.Minute)
		if n := h.Stats().SystemTokens; n != 0 {
			t.Errorf("%d tokens are cached", n)
		}
	})
}

func TestTinyFetchTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, tokensource.Options{Settings: cache.Settings{FetchTimeout: 1}})
		h.does(takes(time.Second, lives(time.Hour)))
		for range 100 {
			if _, err := h.Grant(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("error is %v, want a timeout", err)
			}
			time.Sleep(time.Minute)
		}
		h.balance()
	})
}

// Between a caller's look into the cache and its fetch, another fetch can end. It
// is not repeated, whether it succeeded or failed.
func TestLooksAgain(t *testing.T) {
	for name, second := range map[string]fetch{"success": lives(time.Hour), "failure": fails(permanent)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				h.Invalidate(h.mustGrant(t.Context()))
				rejected := h.mustGrant(t.Context())
				h.Invalidate(rejected) // too early: it stays
				time.Sleep(10 * time.Second)
				h.does(second)
				// The next caller drops it, and is overtaken while it tells so.
				var overtook error
				h.events.when(tokensource.EventReject, func() { _, overtook = h.Grant(context.Background()) })
				if _, err := h.Grant(t.Context()); err != overtook {
					t.Errorf("error is %v, want that of the other caller: %v", err, overtook)
				}
				h.fetched(3)
				if s := h.Stats(); s.Fetches != 3 {
					t.Errorf("%d fetches are counted, want 3", s.Fetches)
				}
			})
		})
	}
}

// On a machine so slow that the time of a fetch is over before it begins, it does
// not begin.
func TestFetchTooLateToBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var readings atomic.Int64
		h := newHarness(t, tokensource.Options{Clock: func() cache.Instant {
			if readings.Add(1) == 2 { // by the fetch
				time.Sleep(2 * time.Minute)
			}
			return cache.Now()
		}})
		if e := h.mustFail(t.Context()); !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("error is %v, want a timeout", e)
		}
		time.Sleep(2 * time.Minute)
		h.fetched(0)
		h.token(t.Context())
		h.balance()
	})
}
