package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/tokensource"
)

// TestSoak is the one test of this package. See its documentation, and the flags
// -soak and -soak.seed.
func TestSoak(t *testing.T) {
	start := *seed
	if start == 0 {
		start = rand.Uint64()
	}
	t.Logf("to throw the same dice again: -soak.seed=%d", start)
	goroutines, memory := goleak.IgnoreCurrent(), measure()

	all := stacks(t, start)
	load(t.Context(), all, start)
	finish(t, all)
	report(t, all, start)
	var held []*tokensource.Source
	for _, s := range all {
		held = append(held, s.end())
	}
	memory.check(t, held)
	if err := goleak.Find(goroutines); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
}

// load runs all stacks for as long as the flag says.
func load(ctx context.Context, all []*stack, seed uint64) {
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	var running sync.WaitGroup
	for i, s := range all {
		running.Go(func() { s.run(ctx, seed, i+1) })
	}
	running.Wait()
}

// finish sees that the stacks come to rest and work again, and checks all figures.
func finish(t *testing.T, all []*stack) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	for _, s := range all {
		running.Go(func() {
			s.calm()
			if !s.settle(ctx) {
				s.ledger.violate("no rest: %d fetches under way, %d bodies open", s.source.Stats().InFlight, s.bodies.open.Load())
			}
			s.recovers(ctx)
			s.settle(ctx)
		})
	}
	running.Wait()
	for _, s := range all {
		s.check(t)
	}
}

// topics are what a ledger counts and a report shows.
var topics = [...]string{"calls", "gateway faults", "service faults", "actions", "service tokens"}

// report prints the figures: a line for each topic of a stack, and one for all.
func report(t *testing.T, all []*stack, seed uint64) {
	total, requests, budget := newLedger(), 0, 0
	for _, s := range all {
		for _, topic := range append(topics[:], tokenErrors) {
			n, kinds := s.ledger.sum(topic)
			t.Logf("%s: %d %s: %s", s.name, n, topic, kinds)
		}
		total.merge(s.ledger)
		for _, sv := range s.services {
			got := sv.budget.snapshot()
			requests += got.total
			budget += got.total - got.early + s.excuses(sv.name)
		}
	}
	var line strings.Builder
	fmt.Fprintf(&line, "soak of %v, seed %d: %d violations; %d requests for tokens, budget %d", *duration, seed, total.violations, requests, budget)
	for _, topic := range topics {
		n, kinds := total.sum(topic)
		fmt.Fprintf(&line, "; %d %s (%s)", n, topic, kinds)
	}
	t.Log(line.String())
	_, _ = fmt.Fprintln(os.Stdout, line.String())
}
