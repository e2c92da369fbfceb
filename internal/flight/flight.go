// Package flight shares one slow call among everybody who needs its result.
//
// The call is detached from those who wait for it. A waiter whose context ends leaves at
// once, without harm to the others, and a call that everybody has left still completes.
// A call ends at its timeout whether or not its function has returned. A panic in its
// function is an error to all waiters.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// ErrTimeout is the error of a call that took longer than its timeout. It is a
// [context.DeadlineExceeded].
var ErrTimeout = fmt.Errorf("no result in time: %w", context.DeadlineExceeded)

var errGoexit = errors.New("the call ended its goroutine")

// A PanicError is the error of a call whose function panicked. It keeps the kind of
// the panic, not its value, which could hold anything.
type PanicError struct {
	text  string
	Stack []byte // of the goroutine that panicked
}

func newPanicError(value any) *PanicError {
	e := &PanicError{text: fmt.Sprintf("panic with a %T", value), Stack: make([]byte, 16<<10)}
	if err, ok := value.(runtime.Error); ok {
		e.text = "panic: " + err.Error()
	}
	e.Stack = e.Stack[:runtime.Stack(e.Stack, false)]
	return e
}

// Error gives the text of a runtime error, and the type of any other value.
func (e *PanicError) Error() string { return e.text }

// A Group holds the calls that are under way, at most one for each key. The zero
// Group is ready to use.
type Group[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*Call[K, V]
}

// A Call is one shared call.
type Call[K comparable, V any] struct {
	key     K
	publish sync.Once
	done    chan struct{}
	val     V     // set before done is closed
	err     error // likewise
}

// A Task is what a call does.
type Task[K comparable, V any] struct {
	// Timeout bounds the call. The context given to Run ends a hundredth earlier, so
	// that the error of Run, which knows more, comes first.
	Timeout time.Duration

	// Run does the work, in a goroutine of its own.
	Run func(context.Context) (V, error)

	// Commit, if not nil, is told the result before anybody else, in one step with the
	// end of the call: the next Start of the key sees its effects. The error that it
	// returns replaces the one that it was given. It is not called if the call was
	// forgotten meanwhile. It must be quick and must not use the group.
	Commit func(K, V, error) error

	// After, if not nil, is called once when the call has ended.
	After func(V, error)
}

// Start returns the call that is under way for key; if there is none, it starts
// one.
func (g *Group[K, V]) Start(key K, task Task[K, V]) (c *Call[K, V], started bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.calls[key]; c != nil {
		return c, false
	}
	if g.calls == nil {
		g.calls = make(map[K]*Call[K, V])
	}
	c = &Call[K, V]{key: key, done: make(chan struct{})}
	g.calls[key] = c
	go g.run(c, task)
	return c, true
}

// run does the work of c in the current goroutine. A watchdog ends the call if
// the work outlives its timeout.
func (g *Group[K, V]) run(c *Call[K, V], task Task[K, V]) {
	var once sync.Once
	end := func(val V, err error) { once.Do(func() { g.end(c, task, val, err) }) }

	watchdog := time.AfterFunc(task.Timeout, func() { end(*new(V), ErrTimeout) })
	defer watchdog.Stop()
	ctx, cancel := context.WithTimeoutCause(context.Background(), task.Timeout-task.Timeout/100, ErrTimeout)
	defer cancel()

	val, err := *new(V), errGoexit
	defer func() {
		if r := recover(); r != nil {
			err = newPanicError(r)
		}
		end(val, err)
	}()
	val, err = task.Run(ctx)
}

// end publishes the result.
func (g *Group[K, V]) end(c *Call[K, V], task Task[K, V], val V, err error) {
	g.mu.Lock()
	if g.calls[c.key] == c {
		if task.Commit != nil {
			err = task.Commit(c.key, val, err)
		}
		delete(g.calls, c.key)
	}
	g.mu.Unlock()
	c.end(val, err)
	if task.After != nil {
		task.After(val, err)
	}
}

// end publishes the result to those who wait, unless that has happened before.
func (c *Call[K, V]) end(val V, err error) {
	c.publish.Do(func() {
		c.val, c.err = val, err
		close(c.done)
	})
}

// Forget makes the group forget the call of key: its result is not committed, and the next
// Start makes a new call. Those who wait for it get err at once.
func (g *Group[K, V]) Forget(key K, err error) {
	g.mu.Lock()
	c := g.calls[key]
	delete(g.calls, key)
	g.mu.Unlock()
	if c != nil {
		c.end(*new(V), err)
	}
}

// ForgetAll makes the group forget every call. The calls go on for those who wait.
func (g *Group[K, V]) ForgetAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.calls)
}

// Has reports whether a call is under way for key.
func (g *Group[K, V]) Has(key K) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[key] != nil
}

// Len returns the number of calls under way that are not forgotten.
func (g *Group[K, V]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

// Wait returns the result of the call, or ctx's error as soon as ctx ends.
func (c *Call[K, V]) Wait(ctx context.Context) (V, error) {
	select {
	case <-c.done:
		return c.val, c.err
	default:
	}
	select {
	case <-c.done:
		return c.val, c.err
	case <-ctx.Done():
		return *new(V), ctx.Err()
	}
}
