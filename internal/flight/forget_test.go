package flight_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/internal/flight"
)

// A forgotten call has its waiters, but no effects.
func TestForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var r recorder
		old, _ := g.Start("key", after(5*time.Second, 1, r.commit))
		time.Sleep(time.Second)
		g.Forget("key")
		g.Forget("another")
		if g.Len() != 0 {
			t.Errorf("%d calls are not forgotten", g.Len())
		}
		fresh, started := g.Start("key", after(time.Second, 2, r.commit))
		if !started {
			t.Error("joined a forgotten call")
		}
		wants(t, fresh, 2)
		again, started := g.Start("key", after(9*time.Second, 3, r.commit))
		wants(t, old, 1)
		if c, joined := g.Start("key", task{}); joined || c != again || !started {
			t.Error("the end of the forgotten call ended its successor")
		}
		r.want(t, "key 2 <nil>")
		wants(t, again, 3)
		r.want(t, "key 2 <nil>", "key 3 <nil>")
	})
}

func TestForgetAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var r recorder
		a, _ := g.Start("a", after(time.Second, 1, r.commit))
		b, _ := g.Start("b", after(time.Second, 2, r.commit))
		g.ForgetAll(nil, "")
		if g.Len() != 0 {
			t.Errorf("%d calls are not forgotten", g.Len())
		}
		wants(t, a, 1)
		wants(t, b, 2)
		r.want(t)
	})
}

// The call that finds out that all others are void goes on, under another key.
func TestForgetAllButOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var r recorder
		run := func(_ context.Context, c *call) (int, error) {
			time.Sleep(time.Second)
			g.ForgetAll(c, "new")
			time.Sleep(time.Second)
			return 1, nil
		}
		other, _ := g.Start("other", after(2*time.Second, 2, r.commit))
		kept, _ := g.Start("old", task{Timeout: timeout, Run: run, Commit: r.commit})
		time.Sleep(time.Second)
		synctest.Wait()
		if c, started := g.Start("new", task{}); started || c != kept {
			t.Error("the call is not under way under its new key")
		}
		old, started := g.Start("old", after(9*time.Second, 3, r.commit))
		if !started {
			t.Error("the call is still under way under its old key")
		}
		wants(t, kept, 1)
		wants(t, other, 2)
		r.want(t, "new 1 <nil>")
		wants(t, old, 3)
		r.want(t, "new 1 <nil>", "old 3 <nil>")
	})
}

// A call that is forgotten, or has ended by its timeout, is not brought back.
func TestForgetAllBringsNothingBack(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before  time.Duration // what passes in Run before it keeps its call
		forget  bool
		commits []string
	}{
		"forgotten": {time.Second, true, []string{"new 2 <nil>"}},
		"ended":     {timeout + time.Second, false, []string{"old 0 " + flight.ErrTimeout.Error(), "new 2 <nil>"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var g group
				var r recorder
				run := func(_ context.Context, c *call) (int, error) {
					time.Sleep(tt.before)
					g.ForgetAll(c, "new")
					return 1, nil
				}
				g.Start("old", task{Timeout: timeout, Run: run, Commit: r.commit})
				if tt.forget {
					g.Forget("old")
				}
				time.Sleep(2 * timeout)
				fresh, started := g.Start("new", after(0, 2, r.commit))
				if !started {
					t.Fatal("the call was brought back")
				}
				wants(t, fresh, 2)
				r.want(t, tt.commits...)
			})
		})
	}
}

// The next Start sees what the last call committed: between the end of one call
// and the start of another there is no gap in which to fetch twice. The results
// are kept in plain variables, for the race detector to watch over.
func TestCommitBeforeNextStart(t *testing.T) {
	t.Parallel()
	const rounds, callers = 200, 8
	var g group
	for range rounds {
		var cached, fetches int
		work := task{
			Timeout: time.Minute,
			Run: func(context.Context, *call) (int, error) {
				if cached == 0 {
					fetches++
					return 42, nil
				}
				return cached, nil
			},
			Commit: func(_ string, val int, err error) error {
				cached = val
				return err
			},
		}
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				c, _ := g.Start("key", work)
				wants(t, c, 42)
			})
		}
		wg.Wait()
		if fetches != 1 {
			t.Fatalf("fetched %d times, want once", fetches)
		}
	}
}

// Any mix of starting, leaving and forgetting ends every call exactly once.
func TestChurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		keys := []string{"a", "b", "c"}
		for n := range 300 {
			go func() {
				time.Sleep(time.Duration(n) * time.Millisecond)
				c, _ := g.Start(keys[n%3], after(time.Duration(n%17)*time.Millisecond, 1, nil))
				switch {
				case n%31 == 0:
					g.ForgetAll(nil, "")
				case n%7 == 0:
					g.Forget(keys[n%3])
				}
				wants(t, c, 1)
			}()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if g.Len() != 0 {
			t.Errorf("%d calls are left", g.Len())
		}
	})
}
