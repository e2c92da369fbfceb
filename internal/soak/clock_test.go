package soak_test

import (
	"sync"
	"time"

	"github.com/agwgo/agw/cache"
)

// clock is one that can be put wrong: its wall clock can be stepped, and its
// monotonic clock can stand still, as it does while a machine is suspended. Do not do
// both to one clock: with neither of them right, nobody can tell the time.
type clock struct {
	mu     sync.Mutex
	start  time.Time
	step   time.Duration // of the wall clock, off the true time
	lost   time.Duration // by which the monotonic clock is behind
	frozen time.Time     // since when it stands still; zero if it runs
}

func newClock() *clock { return &clock{start: time.Now()} }

// Now is a cache.Clock.
func (c *clock) Now() cache.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	mono := now
	if !c.frozen.IsZero() {
		mono = c.frozen
	}
	return cache.At(mono.Sub(c.start)-c.lost, now.Add(c.step))
}

// stepTo sets the wall clock to that far from the true time.
func (c *clock) stepTo(off time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step = off
}

// suspend stops the monotonic clock, or has it run again.
func (c *clock) suspend(stop bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case stop == !c.frozen.IsZero():
	case stop:
		c.frozen = now
	default:
		c.lost += now.Sub(c.frozen)
		c.frozen = time.Time{}
	}
}
