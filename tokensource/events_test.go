package tokensource_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// What a log shows of a fetch that needs a retry, a rejection, a rotation and a renewal.
func TestLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		bed := newTestbed(t, tokensource.Options{Logger: jsonLogger(&log)})
		bed.flow.setFetch(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if bed.flow.requests.Load() == 1 {
				return failingWith(unavailable)(ctx, s)
			}
			return responseLivingFor(expiry), nil
		})
		token := bed.token(asUser(t.Context(), "alice"))
		synctest.Wait()
		bed.source.Invalidate(token)
		bed.flow.setClient("two")
		bed.source.Purge()
		if err := bed.source.Forget(aliceInAcme); err != nil {
			t.Fatal(err)
		}
		bed.token(t.Context())
		time.Sleep(latestRenewal)
		bed.token(t.Context())
		synctest.Wait()

		var got []string
		for text := range strings.Lines(log.String()) {
			var line struct {
				Level, Msg, Event, Flow, Subject, Error string
				Background                              bool
			}
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			if line.Msg != "agw token" || line.Flow != "scripted" {
				t.Errorf("line %s: got message %q and flow %q, want \"agw token\" and \"scripted\"", text, line.Msg, line.Flow)
			}
			summary := line.Level + " " + line.Event
			if line.Background {
				summary += " in the background"
			}
			if line.Error != "" {
				summary += ": " + line.Error
			}
			if line.Subject == "" {
				summary += " (all subjects)"
			}
			got = append(got, summary)
		}
		want := []string{
			"DEBUG fetch_start",
			"WARN retry: agw: obtain token: status 503",
			"DEBUG fetch_end",
			"WARN reject",
			"DEBUG forget (all subjects)",
			"INFO rotate (all subjects)",
			"DEBUG forget",
			"DEBUG fetch_start",
			"DEBUG fetch_end",
			"DEBUG fetch_start in the background",
			"DEBUG fetch_end in the background",
		}
		if got, want := strings.Join(got, "\n"), strings.Join(want, "\n"); got != want {
			t.Errorf("the log is\n%s\nwant\n%s", got, want)
		}
	})
}

// What happens with each call does not fill a log that people read.
func TestServingStaleTokensIsLoggedWithoutAWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		bed := newTestbed(t, tokensource.Options{Logger: jsonLogger(&log)})
		bed.token(t.Context())
		time.Sleep(bufferStart)
		bed.flow.setFetch(failingWith(notFound))
		for range 10 {
			bed.token(t.Context())
		}
		synctest.Wait()
		if n := strings.Count(log.String(), `"event":"serve_stale"`); n != 10 {
			t.Errorf("10 calls were served from the buffer after a failed renewal: %d lines tell so, want 10", n)
		}
		if n := strings.Count(log.String(), `"level":"WARN"`); n != 1 {
			t.Errorf("got %d warnings, want 1, about the failed renewal:\n%s", n, log.String())
		}
	})
}

func TestEventOfAFetchHasItsDuration(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(afterDelay(400*time.Millisecond, tokenLivingFor(expiry)))
		bed.token(t.Context())
		synctest.Wait()
		ends := bed.events.ofKind(tokensource.EventFetchEnd)
		if len(ends) != 1 || ends[0].Duration != 400*time.Millisecond || ends[0].Err != nil {
			t.Errorf("a fetch that took 400 ms: got the events %+v, want one with that duration and no error", ends)
		}
	})
}

// A hook that panics harms nobody, and a log tells of it.
func TestEventHookPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		source, err := tokensource.New(newFlow(), tokensource.Options{
			Logger: jsonLogger(&log), OnEvent: func(tokensource.Event) { panic(secret) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := source.Token(); err != nil {
			t.Errorf("with a hook that panics: got error %v, want a token", err)
		}
		synctest.Wait()
		if text := log.String(); !strings.Contains(text, "the event hook panicked") || strings.Contains(text, secret) {
			t.Errorf("the log does not tell that the hook panicked, or shows the value:\n%s", text)
		}
	})
}

// A hook may use the source that calls it: no lock is held.
func TestEventHookUsesTheSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow := newFlow()
		var source *tokensource.Source
		source, err := tokensource.New(flow, tokensource.Options{OnEvent: func(ev tokensource.Event) {
			source.Stats()
			source.Gateway(context.Background())
			if ev.Kind != tokensource.EventForget {
				if err := source.Forget(aliceInAcme); err != nil {
					t.Error(err)
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			token, err := source.AccessToken(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			source.Invalidate(token)
			flow.setClient(flow.client() + "+")
		}
	})
}

func TestEventOfAnEviction(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		first := bed.token(asNumberedUser(t.Context(), 0)).Fingerprint()
		for i := range 256 {
			bed.token(asNumberedUser(t.Context(), i+1))
		}
		synctest.Wait()
		evictions := bed.events.ofKind(tokensource.EventEvict)
		if len(evictions) != 1 || evictions[0].Subject != first {
			t.Errorf("257 users in a cache for 256: got the events %+v, want one about the first user, %s", evictions, first)
		}
	})
}

// A token that has expired leaves the cache without an event.
func TestExpiredTokensAreNotEvicted(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		for i := range 256 {
			bed.token(asNumberedUser(t.Context(), i))
		}
		time.Sleep(expiry)
		for i := range 256 {
			bed.token(asNumberedUser(t.Context(), 1000+i))
		}
		synctest.Wait()
		if n := bed.source.Stats().Evictions; n != 0 {
			t.Errorf("counters: got %d evictions of expired tokens, want none", n)
		}
	})
}

// Gauges say what there is now, counters what there was.
func TestStats(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		for _, ctx := range fourSubjects(t.Context()) {
			bed.token(ctx)
			bed.token(ctx)
		}
		bed.failureOnce(asUser(t.Context(), "bob"), userDenied)
		bed.source.Invalidate(bed.token(t.Context()))
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(expiry)))
		go bed.token(asUser(t.Context(), "carol"))
		synctest.Wait()
		want := tokensource.Stats{
			Hits: 5, Misses: 5, Fetches: 6, Failures: 1, Rejections: 1,
			SystemTokens: 1, UserTokens: 2, GatewayURLs: 2, InFlight: 1, Histories: 2,
		}
		if got := bed.source.Stats(); got != want {
			t.Errorf("got  %+v,\nwant %+v", got, want)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want.Misses, want.UserTokens, want.GatewayURLs, want.InFlight = 6, 3, 2, 0
		if got := bed.source.Stats(); got != want {
			t.Errorf("after carol's fetch: got  %+v,\nwant %+v", got, want)
		}
	})
}

// Many goroutines that count at once lose nothing.
func TestHitsAreCounted(t *testing.T) {
	t.Parallel()
	source, err := tokensource.New(newFlow(), tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.AccessToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	const callers, calls = 8, 20_000
	var goroutines sync.WaitGroup
	for range callers {
		goroutines.Go(func() {
			for range calls {
				if _, err := source.AccessToken(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	goroutines.Wait()
	if stats := source.Stats(); stats.Hits != callers*calls || stats.Misses != 1 {
		t.Errorf("counters: got %d hits and %d misses, want %d and 1", stats.Hits, stats.Misses, callers*calls)
	}
}
