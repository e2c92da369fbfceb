package soak_test

import (
	"context"
	"sync"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// maxPause is the longest that a worker waits between two calls.
const maxPause = 80 * time.Millisecond

// run keeps the stack under load until ctx ends. It returns when everything that it started
// has ended.
func (s *stack) run(ctx context.Context, seed uint64, number int) {
	contexts := newContextSet(ctx)
	var running sync.WaitGroup
	for worker := range s.workers {
		r := newRandom(seed, number<<16+worker)
		running.Go(func() {
			for r.wait(ctx, maxPause) {
				s.perform(contexts, s.newCall(r))
			}
		})
	}
	running.Go(func() { s.disturb(ctx) })
	running.Go(func() {
		var before tokensource.Stats
		for s.random.wait(ctx, 100*time.Millisecond) {
			before = s.checkBounds(before)
		}
	})
	running.Wait()
}

// checkBounds compares the counters with their bounds, and with what they were.
func (s *stack) checkBounds(before tokensource.Stats) tokensource.Stats {
	now := s.source.Stats()
	switch {
	case now.SystemTokens > s.settings.MaxSystemTokens, now.UserTokens > s.settings.MaxUserTokens,
		now.GatewayURLs > s.settings.MaxGatewayURLs, now.Histories > max(1024, s.settings.MaxSystemTokens+s.settings.MaxUserTokens):
		s.results.violation("a cache exceeds its bound: %+v", now)
	case now.Hits < before.Hits, now.Misses < before.Misses, now.Fetches < before.Fetches, now.Failures < before.Failures:
		s.results.violation("a counter went back: %+v, then %+v", before, now)
	}
	return now
}

// settle waits until no fetch is under way and all bodies are closed.
func (s *stack) settle(ctx context.Context) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.source.Stats().InFlight != 0 || s.fetchesStarted() != s.fetchesEnded() || s.bodies.open.Load() != 0 {
		select {
		case <-tick.C:
			s.release()
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// fetchesStarted and fetchesEnded count all fetches, those of service tokens included.
func (s *stack) fetchesStarted() int {
	return s.events(s.flow, string(tokensource.EventFetchStart)) + s.events(serviceTokenFlow, string(tokensource.EventFetchStart))
}

func (s *stack) fetchesEnded() int {
	return s.events(s.flow, string(tokensource.EventFetchEnd)) + s.events(serviceTokenFlow, string(tokensource.EventFetchEnd))
}
