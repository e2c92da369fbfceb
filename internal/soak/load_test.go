package soak_test

import (
	"context"
	"sync"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// pace is the longest that a worker rests between two calls.
const pace = 80 * time.Millisecond

// run keeps the stack under load until ctx ends, and returns when all that it
// started has ended.
func (s *stack) run(ctx context.Context, seed uint64, stream int) {
	var all sync.WaitGroup
	for w := range s.workers {
		d := newDice(seed, stream<<16+w)
		all.Go(func() {
			for d.rest(ctx, pace) {
				s.do(ctx, s.plan(d))
			}
		})
	}
	all.Go(func() { s.chaos(ctx) })
	all.Go(func() { s.sample(ctx) })
	all.Wait()
}

// sample looks at the counters now and then.
func (s *stack) sample(ctx context.Context) {
	var before tokensource.Stats
	for s.dice.rest(ctx, 100*time.Millisecond) {
		before = s.checkBounds(before)
	}
}

// checkBounds compares the counters with their bounds, and with what they were.
func (s *stack) checkBounds(before tokensource.Stats) tokensource.Stats {
	now := s.source.Stats()
	switch {
	case now.SystemTokens > s.settings.MaxSystemTokens, now.UserTokens > s.settings.MaxUserTokens,
		now.GatewayURLs > s.settings.MaxGatewayURLs, now.Noted > max(1024, s.settings.MaxSystemTokens+s.settings.MaxUserTokens):
		s.ledger.violate("a cache is beyond its bound: %+v", now)
	case now.Hits < before.Hits, now.Misses < before.Misses, now.Fetches < before.Fetches, now.Failures < before.Failures:
		s.ledger.violate("a counter went back: %+v, then %+v", before, now)
	}
	return now
}

// settle waits until no fetch is under way.
func (s *stack) settle(ctx context.Context) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !s.settled() {
		select {
		case <-tick.C:
			s.release()
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (s *stack) settled() bool {
	return s.source.Stats().InFlight == 0 && s.started() == s.ended() && s.bodies.open.Load() == 0
}

func (s *stack) started() int { return s.eventsOf(string(tokensource.EventFetchStart)) }
func (s *stack) ended() int   { return s.eventsOf(string(tokensource.EventFetchEnd)) }

// eventsOf returns how many events of a kind there were, those of the service tokens
// included.
func (s *stack) eventsOf(kind string) int {
	return s.ledger.of("events", "customer "+kind) + s.ledger.of("events", "lob "+kind) + s.ledger.of("events", serviceFlow+" "+kind)
}
