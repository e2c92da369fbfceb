package tokensource_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

func TestNobodyWaitsForARenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(t.Context())
		time.Sleep(latestRenewal)
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		start := time.Now()
		tokens, errs := bed.callAtOnce(t.Context(), 10_000)
		if len(errs) > 0 || tokens[old.AccessToken()] != 10_000 {
			t.Fatalf("10,000 callers whose token is due: %d failed and %d got the old token, want the old token for all", len(errs), tokens[old.AccessToken()])
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("callers waited %v for a renewal, want no wait", waited)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if bed.token(t.Context()) == old {
			t.Error("the old token is served after its renewal, want the new one")
		}
		bed.assertRequests(2, "10,000 callers set off one renewal")
		if stats := bed.source.Stats(); stats.Refreshes != 1 || stats.Misses != 1 || stats.Shared != 0 {
			t.Errorf("counters: got %d renewals, %d misses and %d shared, want 1, 1 and 0", stats.Refreshes, stats.Misses, stats.Shared)
		}
	})
}

// Programs that started together do not renew together.
func TestRenewalTimesOfDifferentProgramsDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const programs = 20
		var beds []*testbed
		for range programs {
			bed := newTestbed(t, tokensource.Options{})
			bed.token(t.Context())
			beds = append(beds, bed)
		}
		renewals := make(map[time.Duration]int) // by the age of the token
		time.Sleep(earliestRenewal - time.Second)
		for age := earliestRenewal - time.Second; age <= latestRenewal; age += time.Second {
			for _, bed := range beds {
				before := bed.flow.requests.Load()
				bed.token(t.Context())
				synctest.Wait()
				if bed.flow.requests.Load() > before {
					renewals[age]++
				}
			}
			time.Sleep(time.Second)
		}
		renewed := 0
		for age, n := range renewals {
			renewed += n
			if age < earliestRenewal {
				t.Errorf("%d sources renewed a token of age %v, want none before %v", n, age, earliestRenewal)
			}
		}
		if renewed != programs {
			t.Errorf("%d of %d sources renewed their token between %v and %v, want all", renewed, programs, earliestRenewal, latestRenewal)
		}
		if len(renewals) < programs/2 {
			t.Errorf("%d sources renewed in %d different seconds, want %d at least", programs, len(renewals), programs/2)
		}
	})
}

func TestTemporaryFailuresOfRenewalsStayInvisible(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(t.Context())
		arrival := time.Now()
		time.Sleep(latestRenewal)
		bed.flow.setFetch(failingWith(unavailable))
		var gaps []int // between the attempts to renew, in seconds
		attempts, lastAttempt := bed.source.Stats().Fetches, time.Time{}
		for time.Since(arrival) < expiry {
			if got := bed.token(t.Context()); got != old {
				t.Fatalf("%v after its arrival: got another token %v while the service is down", time.Since(arrival), got)
			}
			synctest.Wait()
			if n := bed.source.Stats().Fetches; n != attempts {
				if !lastAttempt.IsZero() {
					gaps = append(gaps, int(time.Since(lastAttempt)/time.Second))
				}
				attempts, lastAttempt = n, time.Now()
			}
			time.Sleep(100 * time.Millisecond)
		}
		if want := []int{1, 2, 4, 8, 16, 30, 30, 30, 30}; !slices.Equal(gaps, want) {
			t.Errorf("renewals of a token while the service is down: got %v s between them, want %v s", gaps, want)
		}
		stats := bed.source.Stats()
		if stats.ServedStale == 0 {
			t.Error("no event tells that the token was served from its buffer because its renewal failed")
		}
		if stats.Misses > stats.Fetches {
			t.Errorf("%d callers waited for %d renewals, want one for each at most", stats.Misses, stats.Fetches)
		}

		if err := bed.failure(t.Context()); err.StatusCode != 503 {
			t.Errorf("after the expiry: got error %v, want the 503", err)
		}
		bed.flow.setFetch(tokenLivingFor(time.Hour))
		time.Sleep(30 * time.Second)
		if bed.token(t.Context()) == old {
			t.Error("the expired token is served")
		}
	})
}

// A service that hangs does no more harm than one that fails.
func TestHangingRenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(t.Context())
		arrival := time.Now()
		time.Sleep(latestRenewal)
		bed.flow.setFetch(afterDelay(time.Hour, tokenLivingFor(time.Hour)))
		for time.Since(arrival) < expiry {
			if got := bed.token(t.Context()); got != old {
				t.Fatalf("%v after its arrival: got another token %v while the service hangs", time.Since(arrival), got)
			}
			time.Sleep(time.Second)
		}
		if n := bed.source.Stats().Fetches; n > 4 {
			t.Errorf("%d fetches in the 3 min in which the service hangs, want 4 at most", n)
		}
		bed.flow.setFetch(tokenLivingFor(time.Hour))
		time.Sleep(2 * time.Minute)
		bed.token(t.Context())
	})
}

// A token that the service denies to renew is no longer served.
func TestDeniedRenewalDropsTheToken(t *testing.T) {
	tests := []struct {
		name   string
		age    time.Duration
		denial tokensource.Error
	}{
		{"user denied, token due", latestRenewal, userDenied},
		{"client denied, token due", latestRenewal, clientDenied},
		{"user denied, token in its buffer", bufferStart, userDenied},
		{"client denied, token in its buffer", bufferStart, clientDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				alice := asUser(t.Context(), "alice")
				old := bed.token(alice)
				time.Sleep(tt.age)
				bed.flow.setFetch(failingWith(tt.denial))
				if tt.age == latestRenewal {
					if got := bed.token(alice); got != old {
						t.Errorf("caller who sets the renewal off: got %v, want the old token", got)
					}
					synctest.Wait()
				}
				if err := bed.failure(alice); err.Code != tt.denial.Code || err.NextAttempt.IsZero() {
					t.Errorf("after the denial: got error %v, want code %s and the next attempt", err, tt.denial.Code)
				}
				if n := bed.source.Stats().UserTokens; n != 0 {
					t.Errorf("after the denial: %d user tokens are cached, want none", n)
				}
				bed.assertRequests(2, "a denial is not retried")
			})
		})
	}
}

// A permanent failure of a renewal is not a reason to give up a token that is good.
func TestPermanentFailureOfARenewal(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration
	}{{"token due", latestRenewal}, {"token in its buffer", bufferStart}} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				old := bed.token(t.Context())
				time.Sleep(tt.age)
				bed.flow.setFetch(failingWith(notFound))
				for range 3 {
					if got := bed.token(t.Context()); got != old {
						t.Errorf("got another token %v, want the old one", got)
					}
					synctest.Wait()
				}
				bed.assertRequests(2, "the subject backs off after the failed renewal")
			})
		})
	}
}

func TestShortLivedTokens(t *testing.T) {
	tests := []struct {
		life        time.Duration
		maxRequests int64 // in 10 s
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
				for range 20 { // renewal times are random
					bed := newTestbed(t, tokensource.Options{})
					bed.flow.setFetch(tokenLivingFor(tt.life))
					for range 100 {
						bed.token(t.Context())
						time.Sleep(100 * time.Millisecond)
					}
					if n := bed.flow.requests.Load(); n > tt.maxRequests {
						t.Errorf("tokens that live for %v: %d requests in 10 s, want %d at most", tt.life, n, tt.maxRequests)
					}
				}
			})
		})
	}
}
