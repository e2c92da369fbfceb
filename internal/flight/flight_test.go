package flight_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
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

// A commitLog records what calls committed.
type commitLog struct {
	mu      sync.Mutex
	commits []string
}

func (l *commitLog) commit(key string, val int, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits = append(l.commits, fmt.Sprintf("%s: %d, %v", key, val, err))
	return err
}

// assertCommits fails the test unless calls have committed exactly want, in that order.
func (l *commitLog) assertCommits(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.commits, want) {
		t.Errorf("committed %q, want %q", l.commits, want)
	}
}

// slowTask returns a task that takes d and results in val. commit may be nil.
func slowTask(d time.Duration, val int, commit func(string, int, error) error) task {
	run := func(context.Context) (int, error) {
		time.Sleep(d)
		return val, nil
	}
	return task{Timeout: timeout, Run: run, Commit: commit}
}

// assertResult waits for c and fails the test unless it results in want.
func assertResult(t *testing.T, c *call, want int) {
	t.Helper()
	if got, err := c.Wait(context.Background()); got != want || err != nil {
		t.Errorf("the call resulted in %d, %v; want %d", got, err, want)
	}
}

func TestCallersOfOneKeyShareOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var runs, starts atomic.Int32
		work := slowTask(time.Second, 42, nil)
		run := work.Run
		work.Run = func(ctx context.Context) (int, error) {
			runs.Add(1)
			return run(ctx)
		}
		for range 1000 {
			go func() {
				c, started := g.Start("key", work)
				if started {
					starts.Add(1)
				}
				assertResult(t, c, 42)
			}()
		}
		synctest.Wait()
		if g.Len() != 1 {
			t.Errorf("1000 callers: %d calls are under way, want 1", g.Len())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if runs.Load() != 1 || starts.Load() != 1 {
			t.Errorf("1000 callers: the task ran %d times, and %d callers were told that they started it; want 1 and 1", runs.Load(), starts.Load())
		}
		if g.Len() != 0 {
			t.Errorf("after the end of the call: %d calls are under way, want none", g.Len())
		}
	})
}

func TestKeysHaveCallsOfTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		a, startedA := g.Start("a", slowTask(time.Second, 1, nil))
		b, startedB := g.Start("b", slowTask(time.Second, 2, nil))
		if !startedA || !startedB || g.Len() != 2 {
			t.Errorf("two keys: a was started: %v, b was started: %v, %d calls are under way; want both and 2", startedA, startedB, g.Len())
		}
		for key, want := range map[string]bool{"a": true, "b": true, "c": false} {
			if got := g.Has(key); got != want {
				t.Errorf("a call of %s is under way: %v, want %v", key, got, want)
			}
		}
		assertResult(t, a, 1)
		assertResult(t, b, 2)
	})
}

func TestErrorIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var log commitLog
		errRun := errors.New("no")
		run := func(context.Context) (int, error) { return 7, errRun }
		c, _ := g.Start("key", task{Timeout: timeout, Run: run, Commit: log.commit})
		for i := range 3 {
			if got, err := c.Wait(t.Context()); got != 7 || err != errRun {
				t.Errorf("waiter %d got %d, %v; want 7, %v", i, got, err, errRun)
			}
		}
		log.assertCommits(t, "key: 7, no")
	})
}

// The error that Commit returns is the one that everybody gets.
func TestCommitDecidesTheError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		errRun, errCommit := errors.New("no"), errors.New("no, and wait")
		var errAfter error
		c, _ := g.Start("key", task{
			Timeout: timeout,
			Run:     func(context.Context) (int, error) { return 0, errRun },
			Commit:  func(string, int, error) error { return errCommit },
			After:   func(_ int, err error) { errAfter = err },
		})
		if _, err := c.Wait(t.Context()); err != errCommit {
			t.Errorf("a waiter got error %v, want that of Commit, %v", err, errCommit)
		}
		synctest.Wait()
		if errAfter != errCommit {
			t.Errorf("After was given error %v, want that of Commit, %v", errAfter, errCommit)
		}
	})
}

func TestWaiterLeavesWithoutHarmToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		c, _ := g.Start("key", slowTask(5*time.Second, 42, nil))
		start := time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			got, err := c.Wait(ctx)
			if got != 0 || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, flight.ErrTimeout) {
				t.Errorf("the waiter who leaves got %d, %v; want its context's error", got, err)
			}
			if waited := time.Since(start); waited != time.Second {
				t.Errorf("the waiter who allows 1 s left after %v", waited)
			}
		}()
		assertResult(t, c, 42)
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("the waiter who stays got the result after %v, want 5 s", waited)
		}
	})
}

// A call completes and commits although nobody waits any longer.
func TestCallThatEverybodyHasLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var log commitLog
		ctx, cancel := context.WithCancel(context.Background())
		for range 10 {
			go func() {
				c, _ := g.Start("key", slowTask(5*time.Second, 42, log.commit))
				if _, err := c.Wait(ctx); err != context.Canceled {
					t.Errorf("a waiter who leaves got error %v, want %v", err, context.Canceled)
				}
			}()
		}
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		log.assertCommits(t)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		log.assertCommits(t, "key: 42, <nil>")
	})
}

// A result that is there goes before a context that has ended.
func TestWaitAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		c, _ := g.Start("key", slowTask(0, 42, nil))
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for i := range 100 {
			if got, err := c.Wait(ctx); got != 42 || err != nil {
				t.Fatalf("attempt %d: a context that has ended got %d, %v of a call that has ended, want 42", i, got, err)
			}
		}
	})
}

// The context of Run ends a hundredth of the timeout before the call does, and has no
// values of those who wait.
func TestContextOfRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		start := time.Now()
		run := func(ctx context.Context) (int, error) {
			if text := fmt.Sprint(ctx); strings.Contains(text, "WithValue") {
				t.Errorf("the context has values: %s", text)
			}
			if deadline, ok := ctx.Deadline(); !ok || deadline.Sub(start) != timeout-timeout/100 {
				t.Errorf("the context ends after %v (deadline: %v), want %v", deadline.Sub(start), ok, timeout-timeout/100)
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), flight.ErrTimeout) {
				t.Errorf("the context's cause is %v, want %v", context.Cause(ctx), flight.ErrTimeout)
			}
			return 0, fmt.Errorf("reading: %w", ctx.Err())
		}
		c, _ := g.Start("key", task{Timeout: timeout, Run: run})
		_, err := c.Wait(context.Background())
		if !errors.Is(err, context.DeadlineExceeded) || err == flight.ErrTimeout {
			t.Errorf("got error %v, want that of Run, which knows more than the group", err)
		}
		if took := time.Since(start); took != timeout-timeout/100 {
			t.Errorf("the call took %v, want %v", took, timeout-timeout/100)
		}
	})
}

// What Run left behind with its context ends with it.
func TestContextEndsWithRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var contextOfRun context.Context
		run := func(ctx context.Context) (int, error) {
			contextOfRun = ctx
			return 1, ctx.Err()
		}
		c, _ := g.Start("key", task{Timeout: timeout, Run: run})
		assertResult(t, c, 1)
		synctest.Wait()
		if contextOfRun.Err() != context.Canceled {
			t.Errorf("after Run returned, its context has error %v, want %v", contextOfRun.Err(), context.Canceled)
		}
	})
}

// A call whose function never returns ends at its timeout. What the function returns
// after that matters to nobody.
func TestRunThatNeverReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var log commitLog
		var afters atomic.Int32
		release := make(chan struct{})
		run := func(context.Context) (int, error) {
			<-release
			return 42, nil
		}
		start := time.Now()
		c, _ := g.Start("key", task{Timeout: timeout, Run: run, Commit: log.commit, After: func(int, error) { afters.Add(1) }})
		_, err := c.Wait(context.Background())
		if err != flight.ErrTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want ErrTimeout, which is a context.DeadlineExceeded", err)
		}
		if took := time.Since(start); took != timeout {
			t.Errorf("the call took %v, want its timeout, %v", took, timeout)
		}
		next, started := g.Start("key", slowTask(time.Second, 1, log.commit))
		if !started {
			t.Error("a call that has timed out keeps the next one from starting")
		}
		close(release)
		assertResult(t, next, 1)
		log.assertCommits(t, "key: 0, "+flight.ErrTimeout.Error(), "key: 1, <nil>")
		if afters.Load() != 1 {
			t.Errorf("After was called %d times, want once", afters.Load())
		}
	})
}

// A panic is an error to all waiters. Its text has the message of a runtime error, and of
// any other value only the type.
func TestRunPanics(t *testing.T) {
	t.Parallel()
	var noCall *call
	var noInts []int
	tests := []struct {
		name string
		run  func()
		text string
	}{
		{"with a string", func() { panic("secret") }, "panic with a string"},
		{"with an error", func() { panic(errors.New("secret")) }, "panic with a *errors.errorString"},
		{"with nil", func() { panic(nil) }, "panic: " + new(runtime.PanicNilError).Error()},
		{"nil pointer", func() { _, _ = noCall.Wait(context.TODO()) }, "panic: runtime error: invalid memory address or nil pointer dereference"},
		{"index out of range", func() { _ = noInts[len(noInts)] }, "panic: runtime error: index out of range [0] with length 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var g group
				var log commitLog
				run := func(context.Context) (int, error) {
					tt.run()
					return 1, nil
				}
				c, _ := g.Start("key", task{Timeout: timeout, Run: run, Commit: log.commit})
				for i := range 3 {
					_, err := c.Wait(context.Background())
					var panicked *flight.PanicError
					if !errors.As(err, &panicked) || !strings.Contains(string(panicked.Stack), "flight_test") {
						t.Fatalf("waiter %d got error %#v, want a *PanicError with the stack of Run", i, err)
					}
					if got := err.Error(); got != tt.text {
						t.Errorf("waiter %d got error %q, want %q", i, got, tt.text)
					}
				}
				log.assertCommits(t, "key: 0, "+tt.text)
				if g.Len() != 0 {
					t.Errorf("after the panic, %d calls are under way, want none", g.Len())
				}
			})
		})
	}
}

func TestRunEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var log commitLog
		run := func(context.Context) (int, error) {
			runtime.Goexit()
			return 1, nil
		}
		c, _ := g.Start("key", task{Timeout: timeout, Run: run, Commit: log.commit})
		if got, err := c.Wait(context.Background()); got != 0 || err == nil {
			t.Errorf("got %d, %v; want an error", got, err)
		}
		log.assertCommits(t, "key: 0, the call ended its goroutine")
	})
}

// After is told the result once, when the call is no longer under way. It may use the
// group.
func TestAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var results []int
		work := slowTask(time.Second, 42, nil)
		work.After = func(val int, err error) {
			if g.Len() != 0 || err != nil {
				t.Errorf("in After: %d calls are under way, error %v; want none", g.Len(), err)
			}
			results = append(results, val)
		}
		g.Start("key", work)
		time.Sleep(2 * timeout)
		synctest.Wait()
		if !slices.Equal(results, []int{42}) {
			t.Errorf("After was told %v, want 42 once", results)
		}
	})
}

// The next Start sees what the last call committed: between the end of one call and the
// start of another there is no gap in which to do the work twice. The results are kept in
// plain variables, for the race detector to watch.
func TestCommitIsSeenByTheNextStart(t *testing.T) {
	t.Parallel()
	const rounds, callers = 200, 8
	var g group
	for round := range rounds {
		var cached, runs int
		work := task{
			Timeout: time.Minute,
			Run: func(context.Context) (int, error) {
				if cached == 0 {
					runs++
					return 42, nil
				}
				return cached, nil
			},
			Commit: func(_ string, val int, err error) error {
				cached = val
				return err
			},
		}
		var waiters sync.WaitGroup
		for range callers {
			waiters.Go(func() {
				c, _ := g.Start("key", work)
				assertResult(t, c, 42)
			})
		}
		waiters.Wait()
		if runs != 1 {
			t.Fatalf("round %d: the work was done %d times, want once", round, runs)
		}
	}
}
