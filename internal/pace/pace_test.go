package pace_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/internal/pace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serviceA, serviceB = "https://a.example:443", "https://b.example:443"

// request acquires a slot, holds it for a while, asks for a pause and releases the slot.
func request(ctx context.Context, p *pace.Pacer, service string, duration, pause time.Duration) error {
	slot, err := p.Acquire(ctx, service)
	if err != nil {
		return err
	}
	defer slot.Release()
	time.Sleep(duration)
	slot.Pause(pause)
	return nil
}

// contextLasting returns a context that ends after d.
func contextLasting(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func assertPaused(t *testing.T, what string, err error, service string, left time.Duration) {
	t.Helper()
	paused := (*pace.PausedError)(nil)
	if !errors.As(err, &paused) || paused.Service != service || paused.Left != left {
		t.Errorf("%s: got error %v (%T), want a PausedError of %s with %v left", what, err, err, service, left)
	}
}

func assertServices(t *testing.T, what string, p *pace.Pacer, want int) {
	t.Helper()
	if n := p.Services(); n != want {
		t.Errorf("%s: the pacer remembers %d services, want %d", what, n, want)
	}
}

// counter counts the requests to a service.
type counter struct{ busy, most atomic.Int64 }

func (c *counter) begin() {
	if busy := c.busy.Add(1); busy > c.most.Load() {
		c.most.Store(busy)
	}
}

func (c *counter) end() { c.busy.Add(-1) }

func TestEachServiceHasItsOwnSlots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		limit int
		want  int64
	}{
		{"the default", 0, 32},
		{"the default in place of a negative limit", -1, pace.DefaultMaxConcurrent},
		{"a limit", 3, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pacer := pace.New(test.limit)
				if n := pacer.Limit(); int64(n) != test.want {
					t.Errorf("Limit returns %d, want %d", n, test.want)
				}
				counters := map[string]*counter{serviceA: {}, serviceB: {}}
				var group sync.WaitGroup
				for i := range 1000 {
					service := []string{serviceA, serviceB}[i%2]
					group.Go(func() {
						slot, err := pacer.Acquire(t.Context(), service)
						if err != nil {
							t.Error(err)
							return
						}
						counters[service].begin()
						time.Sleep(time.Second)
						counters[service].end()
						slot.Release()
					})
				}
				group.Wait()
				for service, c := range counters {
					if most := c.most.Load(); most != test.want {
						t.Errorf("%s got up to %d requests at once, want %d", service, most, test.want)
					}
				}
				assertServices(t, "after all requests", pacer, 0)
			})
		})
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(1)
		var order, want []int
		var group sync.WaitGroup
		for i := range 20 {
			want = append(want, i)
			group.Go(func() {
				slot, err := pacer.Acquire(t.Context(), serviceA)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i)
				time.Sleep(time.Second)
				slot.Release()
			})
			synctest.Wait() // until it waits
		}
		group.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("the requests were sent in the order %v, want the order in which they came", order)
		}
	})
}

func TestWhoeverWaitsCanGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(1)
		var group sync.WaitGroup
		group.Go(func() {
			if err := request(t.Context(), pacer, serviceA, 10*time.Second, 0); err != nil {
				t.Errorf("the first request: %v", err)
			}
		})
		synctest.Wait()

		start := time.Now()
		err := request(contextLasting(t, time.Second), pacer, serviceA, 0, 0)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), serviceA) || time.Since(start) != time.Second {
			t.Errorf("a request with a deadline of 1 s ended after %v: got error %v, want a DeadlineExceeded that names the service", time.Since(start), err)
		}

		cause := fmt.Errorf("shutting down: %w", context.Canceled)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if err := request(ctx, pacer, serviceA, 0, 0); !errors.Is(err, cause) {
			t.Errorf("a request that is cancelled while it waits: got error %v, want the cause", err)
		}
		group.Wait()
		if err := request(t.Context(), pacer, serviceA, 0, 0); err != nil {
			t.Errorf("those who gave up have taken the slot with them: %v", err)
		}
		assertServices(t, "after all requests", pacer, 0)
	})
}

func TestNoSlotForAContextThatHasEnded(t *testing.T) {
	t.Parallel()
	pacer := pace.New(1)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("told to stop"))
	slot, err := pacer.Acquire(ctx, serviceA)
	if slot != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got slot %v and error %v, want a Canceled, though there is a free slot", slot, err)
	}
	assertServices(t, "after that", pacer, 0)
}

// Slot and place must not get lost when a context ends at the very moment at which a
// slot becomes free.
func TestNoSlotIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(3)
		var group sync.WaitGroup
		for i := range 3000 {
			ctx := contextLasting(t, time.Duration(1+i%7)*time.Second)
			group.Go(func() { _ = request(ctx, pacer, serviceA, time.Second, time.Duration(i%11/10)*time.Second) })
		}
		group.Wait()
		time.Sleep(10 * time.Second)
		var slots []*pace.Slot
		for range 3 {
			slot, err := pacer.Acquire(contextLasting(t, time.Second), serviceA)
			if err != nil {
				t.Fatalf("only %d of 3 slots are free after all requests: %v", len(slots), err)
			}
			slots = append(slots, slot)
		}
		for _, slot := range slots {
			slot.Release()
		}
		assertServices(t, "after all requests", pacer, 0)
	})
}

func TestPauseHoldsBackOneService(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ pause, want time.Duration }{
		{-time.Second, 0},
		{0, 0},
		{time.Millisecond, time.Millisecond},
		{5 * time.Second, 5 * time.Second}, // the longest that is waited out
	} {
		t.Run(test.pause.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pacer := pace.New(0)
				start := time.Now()
				_ = request(t.Context(), pacer, serviceA, 0, test.pause)
				if err := request(t.Context(), pacer, serviceB, 0, 0); err != nil || time.Since(start) != 0 {
					t.Errorf("a request to another service had to wait for %v, and got error %v", time.Since(start), err)
				}
				if err := request(t.Context(), pacer, serviceA, 0, 0); err != nil || time.Since(start) != test.want {
					t.Errorf("the next request was sent after %v with error %v, want %v", time.Since(start), err, test.want)
				}
				assertServices(t, "after the pause", pacer, 0)
			})
		})
	}
}

func TestPauseThatIsTooLongIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(0)
		_ = request(t.Context(), pacer, serviceA, 0, 4*time.Second)
		start := time.Now()
		assertPaused(t, "4 s of a pause, a deadline in 3 s", request(contextLasting(t, 3*time.Second), pacer, serviceA, 0, 0), serviceA, 4*time.Second)
		assertPaused(t, "4 s of a pause, a deadline in 4 s", request(contextLasting(t, 4*time.Second), pacer, serviceA, 0, 0), serviceA, 4*time.Second)
		time.Sleep(time.Second)
		assertPaused(t, "3 s of a pause, a deadline in 2 s", request(contextLasting(t, 2*time.Second), pacer, serviceA, 0, 0), serviceA, 3*time.Second)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the requests with a deadline waited for %v, want an error at once", waited-time.Second)
		}

		_ = request(t.Context(), pacer, serviceA, 0, 6*time.Second) // is sent when the first pause is over
		start = time.Now()
		err := request(t.Context(), pacer, serviceA, 0, 0)
		assertPaused(t, "6 s of a pause, no deadline", err, serviceA, 6*time.Second)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("a request waited for %v before it failed because of a pause of 6 s", waited)
		}
		if want := serviceA + " has asked for a pause, of which 6s are left"; err == nil || err.Error() != want {
			t.Errorf("got error %q, want %q", err, want)
		}
	})
}

func TestPauseReachesThoseWhoWaitForASlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(2)
		start := time.Now()
		var busy, waiting sync.WaitGroup
		busy.Go(func() { _ = request(t.Context(), pacer, serviceA, time.Minute, 0) })
		busy.Go(func() { _ = request(t.Context(), pacer, serviceA, time.Second, time.Minute) })
		synctest.Wait()
		for range 100 {
			waiting.Go(func() {
				assertPaused(t, "a request that waited for a slot", request(t.Context(), pacer, serviceA, 0, 0), serviceA, time.Minute)
			})
		}
		waiting.Wait()
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("those who waited got their error after %v, want 1 s: when the pause began", waited)
		}
		busy.Wait()
	})
}

func TestPauseReachesThoseBehindOneThatWaitsItOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(1)
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() { _ = request(t.Context(), pacer, serviceA, time.Second, 4*time.Second) })
		synctest.Wait()
		group.Go(func() {
			if err := request(t.Context(), pacer, serviceA, 0, 0); err != nil || time.Since(start) != 5*time.Second {
				t.Errorf("the one without a deadline was sent after %v with error %v, want 5 s", time.Since(start), err)
			}
		})
		synctest.Wait()
		assertPaused(t, "the one with a deadline in 4 s", request(contextLasting(t, 4*time.Second), pacer, serviceA, 0, 0), serviceA, 4*time.Second)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the one with a deadline in 4 s got its error after %v, want 1 s: when the pause began", waited)
		}
		group.Wait()
		assertServices(t, "after all requests", pacer, 0)
	})
}

func TestPauseCanGetLongerWhileItIsWaitedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(0)
		var group sync.WaitGroup
		group.Go(func() { _ = request(t.Context(), pacer, serviceA, 2*time.Second, time.Minute) })
		synctest.Wait()
		_ = request(t.Context(), pacer, serviceA, 0, 4*time.Second)
		start := time.Now()
		assertPaused(t, "a request that waits out a pause of 4 s", request(t.Context(), pacer, serviceA, 0, 0), serviceA, time.Minute)
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("it got its error after %v, want 2 s: when the second pause began", waited)
		}
		group.Wait()
	})
}

func TestPauseNeverGetsShorter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(0)
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() { _ = request(t.Context(), pacer, serviceA, time.Second, 4*time.Second) })
		group.Go(func() { _ = request(t.Context(), pacer, serviceA, 2*time.Second, time.Second) })
		group.Wait()
		if err := request(t.Context(), pacer, serviceA, 0, 0); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("a request was sent after %v with error %v, want 5 s: at the end of the longer pause", time.Since(start), err)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(0)
		for i := range 3 * pace.MaxServices {
			_ = request(t.Context(), pacer, fmt.Sprintf("https://%d.example:443", i), 0, time.Duration(10+i%100)*time.Second)
		}
		assertServices(t, "after pauses of more services than are remembered", pacer, pace.MaxServices)
		time.Sleep(time.Hour)
		_ = request(t.Context(), pacer, "https://last.example:443", 0, time.Minute)
		assertServices(t, "when all pauses but one are over", pacer, 1)
	})
}

// A service that is in use must not be forgotten: its slots would be given away twice.
func TestServicesInUseAreNotForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.New(1)
		slot, err := pacer.Acquire(t.Context(), serviceA)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 * pace.MaxServices {
			_ = request(t.Context(), pacer, fmt.Sprintf("https://%d.example:443", i), 0, time.Minute)
		}
		if err := request(contextLasting(t, time.Second), pacer, serviceA, 0, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request was sent though the only slot is taken: got error %v", err)
		}
		slot.Release()
		if err := request(t.Context(), pacer, serviceA, 0, 0); err != nil {
			t.Errorf("the slot that was released cannot be had: %v", err)
		}
	})
}

func TestCause(t *testing.T) {
	t.Parallel()
	if err := pace.Cause(t.Context()); err != nil {
		t.Errorf("a context that lasts: got %v, want nil", err)
	}
	wrapped := fmt.Errorf("shutting down: %w", context.Canceled)
	for _, test := range []struct {
		name        string
		cause, want error
	}{
		{"no cause of its own", nil, context.Canceled},
		{"a cause that wraps the context's error", wrapped, wrapped},
		{"a cause that hides the context's error", errors.New("enough"), context.Canceled},
		{"a cause that is the other context error", context.DeadlineExceeded, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(test.cause)
			if err := pace.Cause(ctx); err != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}
