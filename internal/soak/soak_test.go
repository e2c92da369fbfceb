package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/tokensource"
)

// The package documentation describes TestSoak and its flags.
func TestSoak(t *testing.T) {
	from := *seed
	if from == 0 {
		from = rand.Uint64()
	}
	t.Logf("to get the same random numbers again: -soak.seed=%d", from)
	goroutines, heap := goleak.IgnoreCurrent(), heapSize()

	stacks := newStacks(t, from)
	load(t.Context(), stacks, from)
	finish(t, stacks)
	report(t, stacks, from)
	var sources []*tokensource.Source
	for _, s := range stacks {
		sources = append(sources, s.end())
	}
	checkHeap(t, heap, sources)
	if err := goleak.Find(goroutines); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
}

// load runs all stacks for as long as the flag says.
func load(ctx context.Context, stacks []*stack, seed uint64) {
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	var running sync.WaitGroup
	for i, s := range stacks {
		running.Go(func() { s.run(ctx, seed, i+1) })
	}
	running.Wait()
}

// finish checks that the stacks come to rest and work again, and all that was counted.
func finish(t *testing.T, stacks []*stack) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	for _, s := range stacks {
		running.Go(func() {
			s.calm()
			if !s.settle(ctx) {
				s.results.violation("after the load, %d fetches stay under way and %d bodies open", s.source.Stats().InFlight, s.bodies.open.Load())
			}
			s.checkRecovery(ctx)
			s.settle(ctx)
		})
	}
	running.Wait()
	for _, s := range stacks {
		s.check(t)
	}
}

// topics are what is counted and reported.
var topics = [...]string{"calls", "gateway faults", "service faults", "actions", "service tokens"}

// report prints the figures: a line for each topic of a stack, and one for all.
func report(t *testing.T, stacks []*stack, seed uint64) {
	total, requests, budget := newResults(), 0, 0
	for _, s := range stacks {
		for _, topic := range append(topics[:], tokenErrors) {
			n, kinds := s.results.sum(topic)
			t.Logf("%s: %d %s: %s", s.name, n, topic, kinds)
		}
		total.add(s.results)
		for _, sv := range s.services {
			got := sv.budget.snapshot()
			requests += got.total
			budget += got.total - got.unexplained + s.mayBeUnexplained(sv.name)
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

// What may be left on the heap, in bytes.
const (
	perEntry   = 8 << 10 // for each entry of a cache: a token and its place
	perHistory = 2 << 10 // for each subject of which a failure is remembered
	besides    = 4 << 20 // for the runtime, the flows and the test itself
)

// heapSize returns how many bytes of the heap are in use.
func heapSize() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one leaves what pools hold
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// checkHeap compares the heap, on which nothing is in use any longer but the sources, with
// its size before and with what the sources may hold.
func checkHeap(t *testing.T, before uint64, sources []*tokensource.Source) {
	t.Helper()
	now, allowed := heapSize(), uint64(besides)
	for _, source := range sources {
		s := source.Stats()
		allowed += perEntry*uint64(s.SystemTokens+s.UserTokens+s.GatewayURLs) + perHistory*uint64(s.Histories)
	}
	t.Logf("heap: %d KiB before, %d KiB after, %d KiB more allowed", before>>10, now>>10, allowed>>10)
	if now > before+allowed {
		t.Errorf("the heap grew from %d to %d bytes, want at most %d more", before, now, allowed)
	}
	runtime.KeepAlive(sources)
}
