package tokensource_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

func TestEndpointDown(t *testing.T) {
	tests := []struct {
		name  string
		err   tokensource.Error
		tries int64
	}{
		{"503", outage, 3},
		{"4xx", permanent, 1},
		{"invalid_grant", invalidGrant, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				h.does(fails(tt.err))
				var first *tokensource.Error
				for i := range 10 {
					e := h.mustFail(t.Context())
					if i == 0 {
						first = e
					}
					if e != first {
						t.Fatalf("call %d got another error: %v", i, e)
					}
				}
				h.fetched(tt.tries)

				time.Sleep(time.Until(first.NextAttempt))
				h.mustFail(t.Context())
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						for range 100 {
							h.mustFail(t.Context())
						}
					})
				}
				wg.Wait()
				h.fetched(2 * tt.tries)
			})
		})
	}
}

func TestRestsGrowAndEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(fails(permanent))
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			e := h.mustFail(t.Context())
			if rest := time.Until(e.NextAttempt); rest != want*time.Second {
				t.Errorf("rests for %v, want %v s", rest, want)
			}
			time.Sleep(time.Until(e.NextAttempt) - 1)
			if again := h.mustFail(t.Context()); again != e {
				t.Errorf("just before the next attempt, the error is %v", again)
			}
			time.Sleep(time.Nanosecond)
		}
		h.fetched(7)
		h.does(lives(2 * time.Second))
		h.token(t.Context())
		h.fetched(8)

		// A success starts the row anew, and so does a long time without a failure.
		h.does(fails(permanent))
		time.Sleep(2 * time.Second)
		for range 2 {
			if rest := time.Until(h.mustFail(t.Context()).NextAttempt); rest != time.Second {
				t.Errorf("rests for %v, want 1 s", rest)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		asked, rest time.Duration
		tries       int64
	}{
		{time.Millisecond, time.Second, 3}, // never less than without
		{3 * time.Second, 3 * time.Second, 3},
		{5 * time.Second, 5 * time.Second, 3},
		{6 * time.Second, 6 * time.Second, 1}, // too long to wait for within the fetch
		{2 * time.Minute, 2 * time.Minute, 1},
		{time.Hour, 10 * time.Minute, 1},
	}
	for _, tt := range tests {
		t.Run(tt.asked.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				busy := outage
				busy.RetryAfter = tt.asked
				h.does(fails(busy))
				start := time.Now()
				e := h.mustFail(t.Context())
				h.fetched(tt.tries)
				if took := time.Since(start); took < time.Duration(tt.tries-1)*tt.asked {
					t.Errorf("tried %d times in %v", tt.tries, took)
				}
				if rest := time.Until(e.NextAttempt); rest != tt.rest {
					t.Errorf("rests for %v, want %v", rest, tt.rest)
				}
				h.does(lives(time.Hour))
				time.Sleep(tt.rest - 1)
				h.mustFail(t.Context())
				time.Sleep(time.Nanosecond)
				h.token(t.Context())
			})
		})
	}
}

// The retries of a fetch end with its time.
func TestRetryAfterBeyondTheTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		busy := outage
		busy.RetryAfter = 5 * time.Second
		h.does(takes(58*time.Second, fails(busy)))
		start := time.Now()
		h.mustFail(t.Context())
		h.fetched(1)
		if waited := time.Since(start); waited != 58*time.Second {
			t.Errorf("the error came after %v, want it at once", waited)
		}
	})
}

// What a source beneath says of its own next attempt is believed, not tried.
func TestErrorOfASourceBeneath(t *testing.T) {
	for _, wrap := range []func(error) error{
		func(err error) error { return err },
		func(err error) error { return fmt.Errorf("service token: %w", err) },
	} {
		inBubbleNow(t, func(t *testing.T, h *harness) {
			next := time.Now().Add(7 * time.Second)
			h.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
				e := outage
				e.NextAttempt = next
				return nil, wrap(&e)
			})
			e := h.mustFail(t.Context())
			h.fetched(1)
			if !e.NextAttempt.Equal(next) || e.StatusCode != 503 || !e.Temporary() {
				t.Errorf("error is %v, want the next attempt at %v", e, next)
			}
		})
	}
}

// A subject's rest is its own.
func TestRestOfOneSubject(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if s.UserToken == "bob" {
				return fails(invalidGrant)(ctx, s)
			}
			return response(time.Hour), nil
		})
		h.mustFail(user(t.Context(), "bob"))
		h.token(user(t.Context(), "alice"))
		h.token(t.Context())
		h.mustFail(user(t.Context(), "bob"))
		h.fetched(3)
	})
}

func TestRefusedUsersAreBounded(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.does(fails(invalidGrant))
	src, err := tokensource.New(f, tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		if _, err := src.Grant(user(t.Context(), strconv.Itoa(i))); err == nil {
			t.Fatal("a refused user got a token")
		}
	}
	if s := src.Stats(); s.Noted > 1024 || s.UserTokens != 0 || s.InFlight != 0 {
		t.Errorf("after 100,000 refused users: %d notes, %d tokens, %d fetches", s.Noted, s.UserTokens, s.InFlight)
	}
}

func TestUserTokensAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		technical := h.token(t.Context())
		for i := range 1000 {
			h.token(user(t.Context(), strconv.Itoa(i)))
		}
		synctest.Wait()
		if s := h.Stats(); s.UserTokens != 256 || s.Evictions != 1000-256 || s.Noted != 0 {
			t.Errorf("after 1,000 users: %d tokens, %d evictions, %d notes", s.UserTokens, s.Evictions, s.Noted)
		}
		if got := h.token(t.Context()); got != technical {
			t.Error("users pushed the technical token out")
		}
		h.fetched(1001)
		h.token(user(t.Context(), "999"))
		h.fetched(1001)
		h.token(user(t.Context(), "0"))
		h.fetched(1002)
	})
}

// The failures of a thousand users are remembered, however few tokens are kept.
func TestRestsOfManyUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, tokensource.Options{Settings: cache.Settings{MaxUserTokens: 1, MaxSystemTokens: 1}})
		h.does(fails(tokensource.Error{Op: "exchange", Kind: tokensource.Refused, Code: "invalid_grant"}))
		for range 2 {
			for i := range 1000 {
				h.mustFail(user(t.Context(), fmt.Sprint("user", i)))
			}
		}
		h.fetched(1000)
	})
}
