package tokensource_test

import (
	"context"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

// clock is one that is moved by hand.
type clock struct {
	mu   sync.Mutex
	mono time.Duration
	wall time.Time
}

func newClock() *clock { return &clock{mono: time.Hour, wall: time.Unix(1767323045, 0)} }

func (c *clock) now() cache.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cache.At(c.mono, c.wall)
}

// read returns both readings.
func (c *clock) read() (mono time.Duration, wall time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mono, c.wall
}

// run lets time pass.
func (c *clock) run(d time.Duration) { c.move(d, d) }

// step changes the wall clock; a suspended machine looks like a step forward.
func (c *clock) step(d time.Duration) { c.move(0, d) }

func (c *clock) move(mono, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mono += mono
	c.wall = c.wall.Add(wall)
}

// jwt returns a JWT with the given payload, and no signature worth the name.
func jwt(payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"RS256"}`)) + "." + b64([]byte(payload)) + ".c2ln"
}

func timeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}
