package flight_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errForgotten = errors.New("forgotten")

// A forgotten call fails for its waiters at once, has no effects, and its end is not that
// of its successor.
func TestForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var log commitLog
		forgotten, _ := g.Start("key", slowTask(5*time.Second, 1, log.commit))
		time.Sleep(time.Second)
		g.Forget("key", errForgotten)
		g.Forget("another", errForgotten)
		if g.Len() != 0 || g.Has("key") {
			t.Errorf("after Forget: %d calls count as under way, want none", g.Len())
		}
		second, started := g.Start("key", slowTask(time.Second, 2, log.commit))
		if !started {
			t.Error("a caller joined a call that was forgotten before")
		}
		assertResult(t, second, 2)
		third, started := g.Start("key", slowTask(9*time.Second, 3, log.commit))
		if !started {
			t.Error("a caller joined a call that had ended")
		}
		if _, err := forgotten.Wait(t.Context()); err != errForgotten {
			t.Errorf("waiter of a forgotten call: got error %v, want %v", err, errForgotten)
		}
		time.Sleep(5 * time.Second) // by which the forgotten call has ended
		if c, started := g.Start("key", task{}); started || c != third {
			t.Error("the end of the forgotten call ended its successor")
		}
		log.assertCommits(t, "key: 2, <nil>")
		assertResult(t, third, 3)
		log.assertCommits(t, "key: 2, <nil>", "key: 3, <nil>")
	})
}

func TestForgetAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var log commitLog
		a, _ := g.Start("a", slowTask(time.Second, 1, log.commit))
		b, _ := g.Start("b", slowTask(time.Second, 2, log.commit))
		g.ForgetAll()
		if g.Len() != 0 || g.Has("a") || g.Has("b") {
			t.Errorf("after ForgetAll: %d calls count as under way, want none", g.Len())
		}
		assertResult(t, a, 1)
		assertResult(t, b, 2)
		log.assertCommits(t)
		c, started := g.Start("a", slowTask(time.Second, 3, log.commit))
		if !started {
			t.Error("a caller joined a call that was forgotten before")
		}
		assertResult(t, c, 3)
		log.assertCommits(t, "a: 3, <nil>")
	})
}

// After is called for a forgotten call, too.
func TestAfterOfAForgottenCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		afters := 0
		work := slowTask(time.Second, 42, func(string, int, error) error {
			t.Error("a forgotten call was committed")
			return nil
		})
		work.After = func(int, error) { afters++ }
		g.Start("key", work)
		g.Forget("key", errForgotten)
		time.Sleep(time.Second)
		synctest.Wait()
		if afters != 1 {
			t.Errorf("After was called %d times, want once", afters)
		}
	})
}

// Any mix of starting and forgetting ends every call exactly once.
func TestCallsUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		keys := []string{"a", "b", "c"}
		for n := range 300 {
			go func() {
				time.Sleep(time.Duration(n) * time.Millisecond)
				c, _ := g.Start(keys[n%3], slowTask(time.Duration(n%17)*time.Millisecond, 1, nil))
				switch {
				case n%31 == 0:
					g.ForgetAll()
				case n%7 == 0:
					g.Forget(keys[n%3], errForgotten)
				}
				if got, err := c.Wait(t.Context()); got != 1 && err != errForgotten {
					t.Errorf("call %d: got %d and error %v, want 1, or the error of a forgotten call", n, got, err)
				}
			}()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if g.Len() != 0 {
			t.Errorf("after the end of all calls: %d are under way, want none", g.Len())
		}
	})
}
