package flight_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/internal/flight"
)

const timeout = 10 * time.Second

type (
	group = flight.Group[string, int]
	call  = flight.Call[string, int]
	task  = flight.Task[string, int]
)

// A recorder keeps what calls committed.
type recorder struct {
	mu      sync.Mutex
	commits []string
}

func (r *recorder) commit(key string, val int, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commits = append(r.commits, fmt.Sprint(key, " ", val, " ", err))
	return err
}

func (r *recorder) want(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprint(r.commits) != fmt.Sprint(want) {
		t.Errorf("committed %q, want %q", r.commits, want)
	}
}

// after returns a task that takes d and results in val.
func after(d time.Duration, val int, commit func(string, int, error) error) task {
	run := func(context.Context, *call) (int, error) {
		time.Sleep(d)
		return val, nil
	}
	return task{Timeout: timeout, Run: run, Commit: commit}
}

// wants checks the result of c.
func wants(t *testing.T, c *call, want int) {
	t.Helper()
	if got, err := c.Wait(context.Background()); got != want || err != nil {
		t.Errorf("the result is %d, %v; want %d", got, err, want)
	}
}

func TestManyWaitersOneRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var runs, starts atomic.Int32
		work := after(time.Second, 42, nil)
		run := work.Run
		work.Run = func(ctx context.Context, c *call) (int, error) {
			runs.Add(1)
			return run(ctx, c)
		}
		for range 1000 {
			go func() {
				c, started := g.Start("key", work)
				if started {
					starts.Add(1)
				}
				wants(t, c, 42)
			}()
		}
		synctest.Wait()
		if g.Len() != 1 {
			t.Errorf("%d calls are under way, want 1", g.Len())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if runs.Load() != 1 || starts.Load() != 1 || g.Len() != 0 {
			t.Errorf("%d runs, %d starts, %d calls left; want 1, 1, 0", runs.Load(), starts.Load(), g.Len())
		}
	})
}

func TestKeysAreApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		a, startedA := g.Start("a", after(time.Second, 1, nil))
		b, startedB := g.Start("b", after(time.Second, 2, nil))
		if !startedA || !startedB || g.Len() != 2 {
			t.Errorf("started %v and %v, %d calls; want both", startedA, startedB, g.Len())
		}
		if !g.Has("a") || !g.Has("b") || g.Has("c") {
			t.Errorf("under way are a: %v, b: %v, c: %v", g.Has("a"), g.Has("b"), g.Has("c"))
		}
		wants(t, a, 1)
		wants(t, b, 2)
	})
}

func TestErrorIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var r recorder
		errNo := errors.New("no")
		run := func(context.Context, *call) (int, error) { return 7, errNo }
		c, _ := g.Start("key", task{Timeout: timeout, Run: run, Commit: r.commit})
		for range 3 {
			if got, err := c.Wait(t.Context()); got != 7 || err != errNo {
				t.Errorf("the result is %d, %v", got, err)
			}
		}
		r.want(t, "key 7 no")
	})
}

// The error that Commit returns is the one that everybody gets.
func TestCommitDecidesTheError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		errNo, errWait := errors.New("no"), errors.New("no, and wait")
		var seen error
		c, _ := g.Start("key", task{
			Timeout: timeout,
			Run:     func(context.Context, *call) (int, error) { return 0, errNo },
			Commit:  func(string, int, error) error { return errWait },
			After:   func(_ int, err error) { seen = err },
		})
		if _, err := c.Wait(t.Context()); err != errWait {
			t.Errorf("error is %v, want %v", err, errWait)
		}
		if synctest.Wait(); seen != errWait {
			t.Errorf("After saw %v, want %v", seen, errWait)
		}
	})
}

func TestWaiterLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		c, _ := g.Start("key", after(5*time.Second, 42, nil))
		start := time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			got, err := c.Wait(ctx)
			if got != 0 || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, flight.ErrTimeout) {
				t.Errorf("who left has %d, %v", got, err)
			}
			if left := time.Since(start); left != time.Second {
				t.Errorf("left after %v, want 1s", left)
			}
		}()
		wants(t, c, 42)
		if stayed := time.Since(start); stayed != 5*time.Second {
			t.Errorf("who stayed has the result after %v, want 5s", stayed)
		}
	})
}

// A call completes and commits although nobody waits any longer.
func TestEverybodyLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var r recorder
		ctx, cancel := context.WithCancel(context.Background())
		for range 10 {
			go func() {
				c, _ := g.Start("key", after(5*time.Second, 42, r.commit))
				if _, err := c.Wait(ctx); err != context.Canceled {
					t.Errorf("who left has %v", err)
				}
			}()
		}
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		r.want(t)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		r.want(t, "key 42 <nil>")
	})
}

// A result that is there goes before a context that has ended.
func TestWaitAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		c, _ := g.Start("key", after(0, 42, nil))
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for range 100 {
			if got, err := c.Wait(ctx); got != 42 || err != nil {
				t.Fatalf("the result is %d, %v; want 42", got, err)
			}
		}
	})
}

// Run is told that its time is up a hundredth before the call ends, and knows
// nothing of those who wait.
func TestContextOfRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		start := time.Now()
		run := func(ctx context.Context, _ *call) (int, error) {
			if text := fmt.Sprint(ctx); strings.Contains(text, "WithValue") {
				t.Errorf("the context has values: %s", text)
			}
			if deadline, ok := ctx.Deadline(); !ok || deadline.Sub(start) != timeout-timeout/100 {
				t.Errorf("the context ends after %v", deadline.Sub(start))
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), flight.ErrTimeout) {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			return 0, fmt.Errorf("reading: %w", ctx.Err())
		}
		c, _ := g.Start("key", task{Timeout: timeout, Run: run})
		_, err := c.Wait(context.Background())
		if !errors.Is(err, context.DeadlineExceeded) || err == flight.ErrTimeout {
			t.Errorf("error is %v, want that of Run", err)
		}
		if took := time.Since(start); took != timeout-timeout/100 {
			t.Errorf("took %v", took)
		}
	})
}

// What Run left behind with its context ends with it.
func TestContextEndsWithRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var left context.Context
		run := func(ctx context.Context, _ *call) (int, error) { left = ctx; return 1, ctx.Err() }
		c, _ := g.Start("key", task{Timeout: timeout, Run: run})
		wants(t, c, 1)
		synctest.Wait()
		if left.Err() != context.Canceled {
			t.Errorf("the context has %v after Run returned", left.Err())
		}
	})
}

func TestRunThatNeverReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var r recorder
		var afters atomic.Int32
		release := make(chan struct{})
		run := func(context.Context, *call) (int, error) {
			<-release
			return 42, nil
		}
		hanging := task{Timeout: timeout, Run: run, Commit: r.commit, After: func(int, error) { afters.Add(1) }}
		start := time.Now()
		c, _ := g.Start("key", hanging)
		_, err := c.Wait(context.Background())
		if err != flight.ErrTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want ErrTimeout", err)
		}
		if took := time.Since(start); took != timeout {
			t.Errorf("took %v, want %v", took, timeout)
		}
		next, started := g.Start("key", after(time.Second, 1, r.commit))
		if !started {
			t.Error("the call that timed out is still in the way")
		}
		close(release) // too late to matter to anybody
		wants(t, next, 1)
		r.want(t, "key 0 "+err.Error(), "key 1 <nil>")
		if afters.Load() != 1 {
			t.Errorf("After was called %d times, want once", afters.Load())
		}
	})
}

func TestPanic(t *testing.T) {
	t.Parallel()
	var nobody *call
	var none []int
	tests := map[string]struct {
		run  func()
		text string
	}{
		"a string":      {func() { panic("secret") }, "panic with a string"},
		"an error":      {func() { panic(errors.New("secret")) }, "panic with a *errors.errorString"},
		"nil":           {func() { panic(nil) }, "panic: " + new(runtime.PanicNilError).Error()},
		"nil pointer":   {func() { _, _ = nobody.Wait(context.TODO()) }, "panic: runtime error: invalid memory address or nil pointer dereference"},
		"out of bounds": {func() { _ = none[len(none)] }, "panic: runtime error: index out of range [0] with length 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var g group
				var r recorder
				run := func(context.Context, *call) (int, error) { tt.run(); return 1, nil }
				c, _ := g.Start("key", task{Timeout: timeout, Run: run, Commit: r.commit})
				for range 3 {
					_, err := c.Wait(context.Background())
					var panicked *flight.PanicError
					if !errors.As(err, &panicked) || !strings.Contains(string(panicked.Stack), "flight_test") {
						t.Fatalf("error is %#v, want a *PanicError with a stack", err)
					}
					if got := err.Error(); got != tt.text {
						t.Errorf("error is %q, want %q", got, tt.text)
					}
				}
				r.want(t, "key 0 "+tt.text)
				if g.Len() != 0 {
					t.Error("the call is still under way")
				}
			})
		})
	}
}

func TestGoexit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var r recorder
		run := func(context.Context, *call) (int, error) { runtime.Goexit(); return 1, nil }
		c, _ := g.Start("key", task{Timeout: timeout, Run: run, Commit: r.commit})
		if got, err := c.Wait(context.Background()); got != 0 || err == nil {
			t.Errorf("the result is %d, %v; want an error", got, err)
		}
		r.want(t, "key 0 the call ended its goroutine")
	})
}

// After sees the result once, when the call is no longer under way; it may use the
// group.
func TestAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var got []int
		work := after(time.Second, 42, nil)
		work.After = func(val int, err error) {
			if g.Len() != 0 || err != nil {
				t.Errorf("%d calls are under way, error %v", g.Len(), err)
			}
			got = append(got, val)
		}
		g.Start("key", work)
		time.Sleep(2 * timeout)
		synctest.Wait()
		if len(got) != 1 || got[0] != 42 {
			t.Errorf("After saw %v, want 42 once", got)
		}
	})
}
