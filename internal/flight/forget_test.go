package flight_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// A forgotten call goes on for its waiters, but has no effects, and its end is not that of
// its successor.
func TestForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		var log commitLog
		forgotten, _ := g.Start("key", slowTask(5*time.Second, 1, log.commit))
		time.Sleep(time.Second)
		g.Forget("key")
		g.Forget("another")
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
		assertResult(t, forgotten, 1)
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
		g.Forget("key")
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
					g.Forget(keys[n%3])
				}
				assertResult(t, c, 1)
			}()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if g.Len() != 0 {
			t.Errorf("after the end of all calls: %d are under way, want none", g.Len())
		}
	})
}
