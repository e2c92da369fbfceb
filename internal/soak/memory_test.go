package soak_test

import (
	"runtime"
	"testing"

	"github.com/agwgo/agw/tokensource"
)

const (
	perEntry = 8 << 10 // what one entry of a cache may weigh: a token, its header, its place
	perNote  = 2 << 10 // what the memory of a failure may weigh
	slack    = 4 << 20 // what the runtime, the flows and the test itself keep
)

// memory is the size of the heap before the load.
type memory struct{ heap uint64 }

func measure() memory {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one leaves the victims of pools
	runtime.ReadMemStats(&m)
	return memory{m.HeapAlloc}
}

// check compares the heap, of which nothing is in use any longer but the sources,
// with what it was before and what the sources may hold.
func (m memory) check(t *testing.T, held []*tokensource.Source) {
	t.Helper()
	now, allowed := measure(), uint64(slack)
	for _, src := range held {
		s := src.Stats()
		allowed += perEntry*uint64(s.SystemTokens+s.UserTokens+s.GatewayURLs) + perNote*uint64(s.Noted)
	}
	t.Logf("heap: %d KiB before, %d KiB after, %d KiB more allowed", m.heap>>10, now.heap>>10, allowed>>10)
	if now.heap > m.heap+allowed {
		t.Errorf("the heap grew from %d to %d bytes, by more than %d", m.heap, now.heap, allowed)
	}
	runtime.KeepAlive(held)
}
