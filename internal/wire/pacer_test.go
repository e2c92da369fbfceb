package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// crowd counts requests, each of which takes a while.
type crowd struct {
	takes           time.Duration
	sent, busy, top atomic.Int64
}

func (c *crowd) RoundTrip(req *http.Request) (*http.Response, error) {
	c.sent.Add(1)
	if busy := c.busy.Add(1); busy > c.top.Load() {
		c.top.Store(busy)
	}
	defer c.busy.Add(-1)
	select {
	case <-time.After(c.takes):
		return answer(200, "{}"), nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func TestPacerLimitsOneServiceAndNoOther(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			want := int64(limit)
			if limit == 0 {
				want = wire.DefaultMaxConcurrent
			}
			var a, b crowd
			a.takes, b.takes = time.Second, time.Second
			c := wire.NewClient(wire.Config{Pacer: wire.NewPacer(limit), Base: transportFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Hostname() == "b.example" {
					return b.RoundTrip(req)
				}
				return a.RoundTrip(req)
			})})
			var group sync.WaitGroup
			for i := range 1000 {
				group.Go(func() {
					if err := get(t.Context(), c, fmt.Sprintf("https://%c.example:443/%d", 'a'+i%2, i)); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			if a.top.Load() != want || b.top.Load() != want {
				t.Errorf("limit %d: %d and %d requests at once, want %d each", limit, a.top.Load(), b.top.Load(), want)
			}
		})
	}
}

func TestPacerIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var order []string
		c := wire.NewClient(wire.Config{Pacer: wire.NewPacer(1), Base: transportFunc(func(req *http.Request) (*http.Response, error) {
			order = append(order, req.URL.Path)
			time.Sleep(time.Second)
			return answer(200, "{}"), nil
		})})
		var group sync.WaitGroup
		var want []string
		for i := range 20 {
			path := fmt.Sprintf("/%d", i)
			want = append(want, path)
			group.Go(func() { _ = get(t.Context(), c, "https://a.example"+path) })
			synctest.Wait() // in line
		}
		group.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestPacerLineCanBeLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &crowd{takes: 10 * time.Second}
		pacer := wire.NewPacer(1)
		c := wire.NewClient(wire.Config{Pacer: pacer, Base: base})
		var group sync.WaitGroup
		group.Go(func() { _ = get(t.Context(), c, endpoint) })
		synctest.Wait()

		start := time.Now()
		err := get(within(t, time.Second), c, endpoint)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if e := failureOf(t, err); e.Kind != tokensource.Passing || e.URL != "" || e.Op != "get" {
			t.Errorf("%+v", *e)
		}
		cause := errors.New("told to stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := get(ctx, c, endpoint); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		group.Wait()
		if err := get(t.Context(), c, endpoint); err != nil { // the slot was not lost
			t.Error(err)
		}
		if n := base.sent.Load(); n != 2 {
			t.Errorf("%d requests sent, want 2", n)
		}
		if n := pacer.Services(); n != 0 {
			t.Errorf("%d services remembered, want 0", n)
		}
	})
}

// scripted answers with the answers in turn, then with success, and notes when.
type scripted struct {
	mu      sync.Mutex
	answers []*http.Response
	times   []time.Time
}

func (s *scripted) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = append(s.times, time.Now())
	if len(s.answers) == 0 {
		return answer(200, "{}"), nil
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	return a, nil
}

func TestPacerPauses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer func() *http.Response
		want   time.Duration
	}{
		{"429 with seconds", func() *http.Response { return answer(429, "", "Retry-After", "3") }, 3 * time.Second},
		{"429 with a date", func() *http.Response {
			return answer(429, "", "Retry-After", time.Now().Add(4*time.Second).UTC().Format(http.TimeFormat))
		}, 4 * time.Second},
		{"429 with a date of a clock that is an hour late", func() *http.Response {
			then := time.Now().Add(-time.Hour).UTC()
			return answer(429, "", "Date", then.Format(http.TimeFormat), "Retry-After", then.Add(2*time.Second).Format(http.TimeFormat))
		}, 2 * time.Second},
		{"429 alone", func() *http.Response { return answer(429, "") }, time.Second},
		{"429 with garbage", func() *http.Response { return answer(429, "", "Retry-After", "soon") }, time.Second},
		{"503 with seconds", func() *http.Response { return answer(503, "", "Retry-After", "3") }, 3 * time.Second},
		{"503 alone", func() *http.Response { return answer(503, "") }, 0},
		{"500 with seconds", func() *http.Response { return answer(500, "", "Retry-After", "3") }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				base := &scripted{answers: []*http.Response{test.answer()}}
				c := wire.NewClient(wire.Config{Base: base})
				start := time.Now()
				failureOf(t, get(t.Context(), c, endpoint))
				if err := get(t.Context(), c, "https://other.example/"); err != nil || time.Since(start) != 0 {
					t.Errorf("another service: %v after %v", err, time.Since(start))
				}
				if err := get(t.Context(), c, endpoint); err != nil {
					t.Error(err)
				}
				if got := base.times[2].Sub(start); got != test.want {
					t.Errorf("sent after %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestPauseThatIsTooLongFailsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &scripted{answers: []*http.Response{answer(429, "", "Retry-After", "4")}}
		c := wire.NewClient(wire.Config{Base: base})
		if e := failureOf(t, get(t.Context(), c, endpoint)); e.RetryAfter != 4*time.Second {
			t.Errorf("RetryAfter %v", e.RetryAfter)
		}
		start := time.Now()
		e := failureOf(t, get(within(t, 3*time.Second), c, endpoint))
		if e.RetryAfter != 4*time.Second || e.Kind != tokensource.Passing || e.URL != "" || e.StatusCode != 0 {
			t.Errorf("%+v", *e)
		}
		time.Sleep(time.Second)
		if e := failureOf(t, get(within(t, 3*time.Second), c, endpoint)); e.RetryAfter != 3*time.Second {
			t.Errorf("a second later: RetryAfter %v", e.RetryAfter)
		}
		base.answers = []*http.Response{answer(429, "", "Retry-After", "6")}
		failureOf(t, get(t.Context(), c, endpoint)) // waits for 3 s
		if e := failureOf(t, get(t.Context(), c, endpoint)); e.RetryAfter != 6*time.Second {
			t.Errorf("a long pause: RetryAfter %v", e.RetryAfter)
		}
		if waited := time.Since(start); waited != 4*time.Second {
			t.Errorf("waited for %v", waited)
		}
		if len(base.times) != 2 {
			t.Errorf("%d requests sent, want 2", len(base.times))
		}
	})
}

func TestPauseReachesThoseInLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		c := wire.NewClient(wire.Config{Pacer: wire.NewPacer(2), Base: transportFunc(func(req *http.Request) (*http.Response, error) {
			if sent.Add(1); req.URL.Path == "/slow" {
				time.Sleep(time.Minute)
				return answer(200, "{}"), nil
			}
			time.Sleep(time.Second)
			return answer(429, "", "Retry-After", "60"), nil
		})})
		start := time.Now()
		var group sync.WaitGroup
		for _, path := range []string{"/slow", "/refused"} {
			group.Go(func() { _ = get(t.Context(), c, "https://a.example"+path) })
		}
		synctest.Wait()
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				if e := failureOf(t, get(t.Context(), c, "https://a.example/")); e.RetryAfter != time.Minute {
					t.Errorf("RetryAfter %v", e.RetryAfter)
				}
			})
		}
		waiting.Wait()
		if waited := time.Since(start); waited != time.Second || sent.Load() != 2 {
			t.Errorf("waited for %v, %d requests sent", waited, sent.Load())
		}
		group.Wait()
	})
}

// Those who wait behind one that waits out a pause hear of it too.
func TestPauseReachesThoseBehindAPatientOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		c := wire.NewClient(wire.Config{Pacer: wire.NewPacer(1), Base: transportFunc(func(*http.Request) (*http.Response, error) {
			if sent.Add(1) > 1 {
				return answer(200, "{}"), nil
			}
			time.Sleep(time.Second)
			return answer(429, "", "Retry-After", "4"), nil
		})})
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() { _ = get(t.Context(), c, endpoint) })
		synctest.Wait()
		group.Go(func() {
			if err := get(t.Context(), c, endpoint); err != nil || time.Since(start) != 5*time.Second {
				t.Errorf("the patient one: after %v: %v", time.Since(start), err)
			}
		})
		synctest.Wait()
		e := failureOf(t, get(within(t, 4*time.Second), c, endpoint))
		if e.RetryAfter != 4*time.Second || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), e)
		}
		group.Wait()
	})
}

func TestPauseNeverGetsShorter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		c := wire.NewClient(wire.Config{Base: transportFunc(func(*http.Request) (*http.Response, error) {
			switch n.Add(1) {
			case 1:
				time.Sleep(time.Second)
				return answer(429, "", "Retry-After", "4"), nil
			case 2:
				time.Sleep(2 * time.Second)
				return answer(429, ""), nil
			}
			return answer(200, "{}"), nil
		})})
		var group sync.WaitGroup
		start := time.Now()
		for range 2 {
			group.Go(func() { _ = get(t.Context(), c, endpoint) })
		}
		group.Wait()
		if err := get(t.Context(), c, endpoint); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestPacerForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := wire.NewPacer(0)
		c := wire.NewClient(wire.Config{Pacer: pacer, Base: transportFunc(func(req *http.Request) (*http.Response, error) {
			return answer(429, "", "Retry-After", req.URL.Query().Get("pause")), nil
		})})
		for i := range 3 * wire.MaxServices {
			_ = get(t.Context(), c, fmt.Sprintf("https://%d.example/?pause=%d", i, 10+i%100))
		}
		if n := pacer.Services(); n > wire.MaxServices {
			t.Errorf("%d services remembered, want at most %d", n, wire.MaxServices)
		}
		time.Sleep(time.Hour)
		_ = get(t.Context(), c, "https://last.example/?pause=60")
		if n := pacer.Services(); n != 1 {
			t.Errorf("%d services remembered when all pauses but one are over", n)
		}
	})
}
