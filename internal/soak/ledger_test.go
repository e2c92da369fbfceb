package soak_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// maxShown is how many violations are shown in full.
const maxShown = 20

// A ledger counts what happens, and keeps the first violations.
type ledger struct {
	mu         sync.Mutex
	counts     map[string]int // by "topic/kind"
	violations int
	shown      []string
}

func newLedger() *ledger { return &ledger{counts: map[string]int{}} }

// count adds to a kind of a topic.
func (l *ledger) count(topic, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[topic+"/"+kind]++
}

// violate notes that a promise was broken. What it is told must hold no secret:
// subjects appear as their fingerprints.
func (l *ledger) violate(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations++
	if len(l.shown) < maxShown {
		l.shown = append(l.shown, fmt.Sprintf(format, args...))
	}
}

// of returns how often a kind of a topic happened.
func (l *ledger) of(topic, kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[topic+"/"+kind]
}

// sum returns how much of a topic happened, and each kind of it.
func (l *ledger) sum(topic string) (total int, kinds string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(l.counts)) {
		if kind, ok := strings.CutPrefix(key, topic+"/"); ok {
			total += l.counts[key]
			parts = append(parts, fmt.Sprintf("%s %d", kind, l.counts[key]))
		}
	}
	return total, strings.Join(parts, ", ")
}

// fail reports the violations.
func (l *ledger) fail(t *testing.T, stack string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.shown {
		t.Errorf("%s: %s", stack, v)
	}
	if more := l.violations - len(l.shown); more > 0 {
		t.Errorf("%s: and %d more violations", stack, more)
	}
}

// merge adds what another ledger counted.
func (l *ledger) merge(other *ledger) {
	other.mu.Lock()
	defer other.mu.Unlock()
	for key, n := range other.counts {
		l.counts[key] += n
	}
	l.violations += other.violations
}
