package soak_test

import (
	"sync"
	"time"

	"github.com/agwgo/agw/cache"
)

// A clock can be put wrong: its wall clock can be stepped, and its monotonic clock can
// stand still, as it does while a machine is suspended. Do not do both to one clock: if
// neither of them is right, nobody can tell the time.
type clock struct {
	mu           sync.Mutex
	start        time.Time
	step         time.Duration // of the wall clock, from the true time
	lost         time.Duration // by which the monotonic clock is behind
	stoppedSince time.Time     // when the monotonic clock stopped; zero if it runs
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) now() cache.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	mono := now
	if !c.stoppedSince.IsZero() {
		mono = c.stoppedSince
	}
	return cache.At(mono.Sub(c.start)-c.lost, now.Add(c.step))
}

// stepTo sets the wall clock to that far from the true time.
func (c *clock) stepTo(step time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step = step
}

// suspend stops the monotonic clock, or lets it run again.
func (c *clock) suspend(stop bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case stop == !c.stoppedSince.IsZero():
	case stop:
		c.stoppedSince = now
	default:
		c.lost += now.Sub(c.stoppedSince)
		c.stoppedSince = time.Time{}
	}
}
