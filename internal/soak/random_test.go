package soak_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// random is a source of random numbers that several goroutines may share. The numbers
// depend on the seed and on the order of the calls.
type random struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// newRandom returns one of the sources that belong to a seed.
func newRandom(seed uint64, number int) *random {
	return &random{rng: rand.New(rand.NewPCG(seed, uint64(number)))}
}

// below returns a number from 0 to below n.
func (r *random) below(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n)
}

// chance returns true in so many of a hundred cases.
func (r *random) chance(percent int) bool { return r.below(100) < percent }

// between returns a duration from low to below high.
func (r *random) between(low, high time.Duration) time.Duration {
	return low + time.Duration(r.below(int(high-low)))
}

// seconds returns a whole number of seconds, from low to high.
func (r *random) seconds(low, high int) time.Duration {
	return time.Duration(low+r.below(high-low+1)) * time.Second
}

// wait waits for a random time below limit, and returns false if ctx ends first.
func (r *random) wait(ctx context.Context, limit time.Duration) bool {
	timer := time.NewTimer(r.between(0, limit))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// oneOf returns an element of a slice.
func oneOf[T any](r *random, of []T) T { return of[r.below(len(of))] }
