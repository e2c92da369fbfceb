package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

func TestWaitBetweenAttemptsGrows(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(failingWith(unavailable))
		bed.failure(t.Context())
		retries := bed.events.ofKind(tokensource.EventRetry)
		if len(retries) != 2 {
			t.Fatalf("a fetch that fails with a 503 was retried %d times, want 2", len(retries))
		}
		first, second := retries[0].Duration, retries[1].Duration
		if first < 100*time.Millisecond || first >= 150*time.Millisecond {
			t.Errorf("first retry: after %v, want 100 ms to 150 ms", first)
		}
		if second < 200*time.Millisecond || second >= 300*time.Millisecond {
			t.Errorf("second retry: after %v, want 200 ms to 300 ms", second)
		}
	})
}

// Programs that failed together do not try again together.
func TestRetriesOfDifferentProgramsDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waits := make(map[time.Duration]bool)
		for range 20 {
			bed := newTestbed(t, tokensource.Options{})
			bed.flow.setFetch(failingWith(unavailable))
			bed.failure(t.Context())
			waits[bed.events.ofKind(tokensource.EventRetry)[0].Duration] = true
		}
		if len(waits) < 10 {
			t.Errorf("20 sources retry after %d different times, want 10 at least", len(waits))
		}
	})
}

func TestRetrySucceeds(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			if bed.flow.requests.Load() < 3 {
				return nil, errors.New("connection reset") // an error of another type counts as temporary
			}
			return responseLivingFor(time.Hour), nil
		})
		bed.token(t.Context())
		bed.assertRequests(3, "the third attempt succeeds")
	})
}

func TestFailureIsRepeatedUntilTheNextAttempt(t *testing.T) {
	tests := []struct {
		name     string
		err      tokensource.Error
		requests int64 // of one fetch
	}{
		{"temporary", unavailable, 3},
		{"permanent", notFound, 1},
		{"user denied", userDenied, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				bed.flow.setFetch(failingWith(tt.err))
				first := bed.failure(t.Context())
				for range 10 {
					if err := bed.failure(t.Context()); err != first {
						t.Fatalf("during the backoff: got error %v, want the one of the failed fetch, %v", err, first)
					}
				}
				bed.assertRequests(tt.requests, "no request during the backoff")

				time.Sleep(time.Until(first.NextAttempt))
				if err := bed.failure(t.Context()); err == first {
					t.Error("after the backoff: got the old error, want that of another fetch")
				}
				var callers sync.WaitGroup
				for range 100 {
					callers.Go(func() {
						for range 100 {
							bed.failure(t.Context())
						}
					})
				}
				callers.Wait()
				bed.assertRequests(2*tt.requests, "10,000 calls during the second backoff cause no request")
			})
		})
	}
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(failingWith(notFound))
		for i, seconds := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			err := bed.failure(t.Context())
			if got := time.Until(err.NextAttempt); got != seconds*time.Second {
				t.Errorf("failure %d in a row: backs off for %v, want %d s", i+1, got, seconds)
			}
			time.Sleep(time.Until(err.NextAttempt) - 1)
			if again := bed.failure(t.Context()); again != err {
				t.Errorf("failure %d: 1 ns before the next attempt, got error %v, want %v", i+1, again, err)
			}
			time.Sleep(time.Nanosecond)
		}
		bed.assertRequests(7, "one for each backoff")

		bed.flow.setFetch(tokenLivingFor(2 * time.Second))
		bed.token(t.Context())
		bed.flow.setFetch(failingWith(notFound))
		time.Sleep(2 * time.Second)
		if got := time.Until(bed.failure(t.Context()).NextAttempt); got != time.Second {
			t.Errorf("first failure after a success: backs off for %v, want 1 s", got)
		}
		time.Sleep(2 * time.Minute)
		if got := time.Until(bed.failure(t.Context()).NextAttempt); got != time.Second {
			t.Errorf("failure 2 min after the last one: backs off for %v, want 1 s", got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name           string
		asked, backoff time.Duration
		requests       int64
	}{
		{"shorter than the backoff without it", time.Millisecond, time.Second, 3},
		{"3 s", 3 * time.Second, 3 * time.Second, 3},
		{"as long as a fetch may wait", 5 * time.Second, 5 * time.Second, 3},
		{"longer than a fetch may wait", 6 * time.Second, 6 * time.Second, 1},
		{"longer than the backoff without it", 2 * time.Minute, 2 * time.Minute, 1},
		{"longer than it is believed", time.Hour, 10 * time.Minute, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				busy := unavailable
				busy.RetryAfter = tt.asked
				bed.flow.setFetch(failingWith(busy))
				start := time.Now()
				err := bed.failure(t.Context())
				bed.assertRequests(tt.requests, fmt.Sprintf("a service that asks for %v", tt.asked))
				if took := time.Since(start); took < time.Duration(tt.requests-1)*tt.asked {
					t.Errorf("%d requests in %v, want them %v apart", tt.requests, took, tt.asked)
				}
				if got := time.Until(err.NextAttempt); got != tt.backoff {
					t.Errorf("backs off for %v, want %v", got, tt.backoff)
				}
				bed.flow.setFetch(tokenLivingFor(time.Hour))
				time.Sleep(tt.backoff - 1)
				bed.failure(t.Context())
				time.Sleep(time.Nanosecond)
				bed.token(t.Context())
			})
		})
	}
}

// A retry that would come after the fetch timeout is not waited for.
func TestRetriesEndWithTheFetchTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		busy := unavailable
		busy.RetryAfter = 5 * time.Second
		bed.flow.setFetch(afterDelay(58*time.Second, failingWith(busy)))
		start := time.Now()
		bed.failure(t.Context())
		bed.assertRequests(1, "2 s before the fetch timeout, a retry in 5 s is pointless")
		if waited := time.Since(start); waited != 58*time.Second {
			t.Errorf("the error of a request that took 58 s came after %v, want it at once", waited)
		}
	})
}

// A Source that the flow uses has retried and backs off itself. What it says of its next
// attempt is believed.
func TestErrorOfASourceThatTheFlowUses(t *testing.T) {
	tests := []struct {
		name string
		wrap func(error) error
	}{
		{"as it is", func(err error) error { return err }},
		{"wrapped", func(err error) error { return fmt.Errorf("service token: %w", err) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				next := time.Now().Add(7 * time.Second)
				bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
					err := unavailable
					err.NextAttempt = next
					return nil, tt.wrap(&err)
				})
				err := bed.failure(t.Context())
				bed.assertRequests(1, "the other source has retried already")
				if !err.NextAttempt.Equal(next) || err.StatusCode != 503 || !err.Temporary() {
					t.Errorf("got %#v, want a temporary error with status 503 and the next attempt at %v", err, next)
				}
			})
		})
	}
}

func TestBackoffIsThatOfOneSubject(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if s.UserToken() == "bob" {
				return failingWith(userDenied)(ctx, s)
			}
			return responseLivingFor(time.Hour), nil
		})
		bed.failure(asUser(t.Context(), "bob"))
		bed.token(asUser(t.Context(), "alice"))
		bed.token(t.Context())
		bed.failure(asUser(t.Context(), "bob"))
		bed.assertRequests(3, "bob backs off, alice and the system do not")
	})
}

// Whatever a flow does, all callers get an error that tells no secret, and after the
// backoff the subject is asked for again.
func TestFlowMisbehaves(t *testing.T) {
	var noResponse *tokensource.Response
	tests := []struct {
		name  string
		fetch fetchFunc
		text  string // part of the error
	}{
		{"panics with a secret", func(context.Context, tokensource.Subject) (*tokensource.Response, error) { panic(secret) }, "panic with a string"},
		{"panics with an error", func(context.Context, tokensource.Subject) (*tokensource.Response, error) { panic(errors.New(secret)) }, "panic with a *errors.errorString"},
		{"dereferences nil", func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			return nil, errors.New(noResponse.AccessToken)
		}, "nil pointer dereference"},
		{"ends its goroutine", func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			runtime.Goexit()
			return nil, nil
		}, "ended its goroutine"},
		{"returns nothing", func(context.Context, tokensource.Subject) (*tokensource.Response, error) { return nil, nil }, "neither a token nor an error"},
		{"returns a blank token", func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			return &tokensource.Response{AccessToken: " "}, nil
		}, "access_token has a character"},
		{"returns another type of token", func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			return &tokensource.Response{AccessToken: secret, TokenType: "DPoP"}, nil
		}, "not of type Bearer"},
		{"returns an expired token", tokenLivingFor(-time.Minute), "expired on arrival"},
		{"hangs until its context ends", afterDelay(time.Hour, tokenLivingFor(time.Hour)), "deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				bed := newTestbed(t, tokensource.Options{Logger: jsonLogger(&log)})
				bed.flow.setFetch(tt.fetch)
				_, errs := bed.callAtOnce(t.Context(), 100)
				if len(errs) != 100 {
					t.Fatalf("%d of 100 callers got an error, want all", len(errs))
				}
				var e *tokensource.Error
				if !errors.As(errs[0], &e) || e.NextAttempt.IsZero() {
					t.Fatalf("got error %#v, want an *Error that says when the next attempt is due", errs[0])
				}
				text := e.Error()
				if !strings.Contains(text, tt.text) {
					t.Errorf("got error %q, want it to contain %q", text, tt.text)
				}
				if strings.Count(text, "agw: ") != 1 || !strings.HasPrefix(text, "agw: ") {
					t.Errorf("got error %q, want it to have the prefix once", text)
				}
				synctest.Wait()
				assertHides(t, secret, e, e.Err, log.String(), bed.events.all())

				bed.flow.setFetch(tokenLivingFor(time.Hour))
				time.Sleep(time.Until(e.NextAttempt))
				bed.token(t.Context())
			})
		})
	}
}

func TestPanicOfAFlowIsLoggedWithItsStack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		bed := newTestbed(t, tokensource.Options{Logger: jsonLogger(&log)})
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) { panic(secret) })
		bed.failure(t.Context())
		synctest.Wait()
		if text := log.String(); !strings.Contains(text, "the flow panicked") || !strings.Contains(text, "backoff_test.go") {
			t.Errorf("after a panic of the flow, the log does not have its stack:\n%s", text)
		}
	})
}
