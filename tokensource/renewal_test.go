package tokensource_test

import (
	"encoding/base64"
	"errors"
	"fmt"
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
		if want := []int{1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30}; !slices.Equal(gaps, want) {
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
		if n := bed.source.Stats().Fetches; n > 9 { // the first one, and one of a minute each with backoff between them
			t.Errorf("%d fetches in the 6 min in which the service hangs, want 9 at most", n)
		}
		bed.flow.setFetch(tokenLivingFor(time.Hour))
		time.Sleep(2 * time.Minute)
		bed.token(t.Context())
	})
}

// The token of a user whom the service denies is no longer served. A token that refused
// credentials have obtained is as good as before, and is served to its end.
func TestDeniedRenewal(t *testing.T) {
	accessDenied := userDenied
	accessDenied.Code = "access_denied"
	tests := []struct {
		name   string
		age    time.Duration
		denial tokensource.Error
		served bool
	}{
		{"user denied, token due", latestRenewal, userDenied, false},
		{"user denied access, token due", latestRenewal, accessDenied, false},
		{"client denied, token due", latestRenewal, clientDenied, true},
		{"user denied, token in its buffer", bufferStart, userDenied, false},
		{"client denied, token in its buffer", bufferStart, clientDenied, true},
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
				if tt.served {
					for range 3 {
						if got := bed.token(alice); got != old {
							t.Errorf("after the refusal of the credentials: got %v, want the old token", got)
						}
						synctest.Wait()
					}
					time.Sleep(expiry - tt.age - time.Second)
					if got := bed.token(alice); got != old {
						t.Errorf("a second before its expiry: got %v, want the old token", got)
					}
					synctest.Wait()
					time.Sleep(time.Second)
				}
				if err := bed.failure(alice); err.Code != tt.denial.Code || err.NextAttempt.IsZero() {
					t.Errorf("without a token: got error %v, want code %s and the next attempt", err, tt.denial.Code)
				}
				if n := bed.source.Stats().UserTokens; n != 0 {
					t.Errorf("without a token: %d user tokens are cached, want none", n)
				}
			})
		})
	}
}

// A token whose end is that of the user's own JWT is exchanged once: another one would end
// there, too.
func TestTokenThatEndsWithTheUserTokenIsNotRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		start := time.Now()
		end := start.Add(10 * time.Minute)
		claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, end.Unix()))
		alice := asUser(t.Context(), "e30."+claims+".signature")
		for time.Since(start) < 10*time.Minute {
			if token := bed.token(alice); token.Expiry().After(end) {
				t.Fatalf("got a token until %v for a user token until %v", token.Expiry(), end)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		bed.assertRequests(1, "one user token, a call a second until its end")
		if _, err := bed.call(alice); !errors.Is(err, tokensource.ErrUserTokenExpired) {
			t.Errorf("after the end of the user token: got error %v, want ErrUserTokenExpired", err)
		}
		bed.assertRequests(1, "no exchange is tried with an expired user token")
	})
}

// Many programs that start together must not ask the token service together when their
// tokens are to be renewed. In bins of a minute, the busiest minute of the first renewals
// has at most twice the mean, and in the time of ten usable lives there are at most 1.55
// times the fetches that there would be if each token were used to the end of its own.
func TestRenewalsOfAFleetAreSpread(t *testing.T) {
	t.Parallel()
	const tokens = 10_100 // 100 pods with 100 users and a system token each
	const lives = 10
	first := make(map[time.Duration]int)
	fetches := 0
	for n := range tokens {
		at := time.Minute * time.Duration(n) / tokens // all start within a minute
		for renewed := 0; at < lives*bufferStart; renewed++ {
			fetches++
			if renewed == 1 {
				first[at.Truncate(time.Minute)]++
			}
			at += tokensource.RenewalAfter(bufferStart)
		}
	}
	busiest := 0
	for _, n := range first {
		busiest = max(busiest, n)
	}
	mean := float64(tokens) / (bufferStart * 45 / 100).Minutes()
	cost := float64(fetches) / (tokens * lives)
	t.Logf("%d tokens: the busiest minute has %.2f times the mean, fetches are %.2f times the least", tokens, float64(busiest)/mean, cost)
	if float64(busiest) > 2*mean {
		t.Errorf("the busiest minute has %d first renewals, want at most twice the mean of %.0f", busiest, mean)
	}
	if cost > 1.55 {
		t.Errorf("fetches are %.2f times the least, want at most 1.55 times", cost)
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

// While the renewal of a token backs off, calls are served without another look at the
// credentials.
func TestCallsAreHitsWhileTheRenewalBacksOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration
	}{{"token due", latestRenewal}, {"token in its buffer", bufferStart}} {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
				bed.token(t.Context())
				time.Sleep(tt.age)
				flow.setFetch(failingWith(notFound))
				bed.token(t.Context()) // sets the renewal off
				synctest.Wait()
				for range 100 {
					bed.token(t.Context())
					synctest.Wait()
				}
				if n := flow.reloads.Load(); n != 2 {
					t.Errorf("the credentials were read %d times for a token and one renewal of it, want 2", n)
				}
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
		{30 * time.Second, 2},
		{10 * time.Second, 5},
		{time.Second, 45},
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
