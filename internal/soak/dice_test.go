package soak_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// dice are a source of chance that several goroutines may share. What they show
// depends on the seed and on the order in which they are thrown.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// newDice returns the dice of one of the streams that belong to a seed.
func newDice(seed uint64, stream int) *dice {
	return &dice{rng: rand.New(rand.NewPCG(seed, uint64(stream)))}
}

// n returns a number from 0 to below n.
func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// chance reports true in so many of a hundred cases.
func (d *dice) chance(percent int) bool { return d.n(100) < percent }

// between returns a duration from low to below high.
func (d *dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.n(int(high-low)))
}

// seconds returns a whole number of them, from low to high.
func (d *dice) seconds(low, high int) time.Duration {
	return time.Duration(low+d.n(high-low+1)) * time.Second
}

// rest waits for at most limit, and reports whether there is more to do.
func (d *dice) rest(ctx context.Context, limit time.Duration) bool {
	timer := time.NewTimer(d.between(0, limit))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func pick[T any](d *dice, of []T) T { return of[d.n(len(of))] }
