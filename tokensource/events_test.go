package tokensource_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// A fetch that fails once and then succeeds, as a log shows it.
func TestLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		h := newHarness(t, tokensource.Options{Logger: logger(&log)})
		h.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if h.fetches.Load() == 1 {
				return fails(outage)(ctx, s)
			}
			return response(expiry), nil
		})
		g := h.mustGrant(user(t.Context(), "alice"))
		synctest.Wait()
		h.Invalidate(g)
		h.fake.rotate("two")
		h.Purge()
		h.Forget(alice)
		h.token(t.Context())
		time.Sleep(dueFor)
		h.token(t.Context())
		synctest.Wait()

		var got []string
		for line := range strings.Lines(log.String()) {
			var l struct {
				Level, Msg, Event, Flow, Subject, Error string
				Background                              bool
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if l.Msg != "agw token" || l.Flow != "fake" {
				t.Errorf("line is %s", line)
			}
			if l.Background {
				l.Event += " in the background"
			}
			if l.Error != "" {
				l.Event += ": " + l.Error
			}
			got = append(got, l.Level+" "+l.Event)
		}
		want := []string{
			"DEBUG fetch_start", "WARN retry: agw: obtain token: status 503", "DEBUG fetch_end",
			"WARN reject", "DEBUG forget", "INFO rotate", "DEBUG forget",
			"DEBUG fetch_start", "DEBUG fetch_end", "DEBUG fetch_start in the background", "DEBUG fetch_end in the background",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		h.balance()
	})
}

// What happens by each call does not fill a log that is read.
func TestStaleIsNoWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		h := newHarness(t, tokensource.Options{Logger: logger(&log)})
		h.token(t.Context())
		time.Sleep(buffered)
		h.does(fails(permanent))
		for range 10 {
			h.token(t.Context())
		}
		synctest.Wait()
		if n := strings.Count(log.String(), `"event":"serve_stale"`); n != 10 {
			t.Errorf("%d lines tell of stale tokens, want 10", n)
		}
		if n := strings.Count(log.String(), `"level":"WARN"`); n != 1 {
			t.Errorf("%d warnings, want one of the failed renewal", n)
		}
		h.balance()
	})
}

func TestDurations(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(takes(400*time.Millisecond, lives(expiry)))
		h.token(t.Context())
		synctest.Wait()
		if end := h.events.of(tokensource.EventFetchEnd); len(end) != 1 || end[0].Duration != 400*time.Millisecond || end[0].Err != nil {
			t.Errorf("the end is %+v", end)
		}
	})
}

// A hook that panics harms nobody, and is told of.
func TestHookPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		src, err := tokensource.New(newFake(), tokensource.Options{
			Logger: logger(&log), OnEvent: func(tokensource.Event) { panic(secret) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := src.Token(); err != nil {
			t.Errorf("no token: %v", err)
		}
		synctest.Wait()
		if text := log.String(); !strings.Contains(text, "the event hook panicked") || strings.Contains(text, secret) {
			t.Errorf("the log is %s", text)
		}
	})
}

// A hook may use the source that calls it.
func TestHookCallsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var src *tokensource.Source
		f := newFake()
		src, err := tokensource.New(f, tokensource.Options{OnEvent: func(ev tokensource.Event) {
			src.Stats()
			src.Gateway(context.Background())
			if ev.Kind != tokensource.EventForget {
				src.Forget(alice)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			g, err := src.Grant(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			src.Invalidate(g)
			f.rotate("other")
		}
	})
}

func TestCountersOfAnEviction(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		first := h.mustGrant(user(t.Context(), "0")).Fingerprint()
		for _, name := range manyUsers(256) {
			h.token(user(t.Context(), name))
		}
		synctest.Wait()
		if evs := h.events.of(tokensource.EventEvict); len(evs) != 1 || evs[0].Subject != first {
			t.Errorf("evicted: %+v, want subject %s", evs, first)
		}
	})
}
