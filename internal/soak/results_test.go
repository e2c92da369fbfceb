package soak_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// maxMessages is how many violations of a stack are reported in full.
const maxMessages = 20

// results count what happens, and keep the first violations.
type results struct {
	mu         sync.Mutex
	counts     map[string]int // by "topic/kind"
	violations int
	messages   []string
}

func newResults() *results { return &results{counts: map[string]int{}} }

// count adds one to a kind of a topic.
func (r *results) count(topic, kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[topic+"/"+kind]++
}

// violation records that a promise was broken. The message must not hold a secret:
// subjects appear as their fingerprints.
func (r *results) violation(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations++
	if len(r.messages) < maxMessages {
		r.messages = append(r.messages, fmt.Sprintf(format, args...))
	}
}

// of returns the count of a kind of a topic.
func (r *results) of(topic, kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[topic+"/"+kind]
}

// sum returns the count of a topic, and a list of that of each kind.
func (r *results) sum(topic string) (total int, kinds string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(r.counts)) {
		if kind, ok := strings.CutPrefix(key, topic+"/"); ok {
			total += r.counts[key]
			parts = append(parts, fmt.Sprintf("%s %d", kind, r.counts[key]))
		}
	}
	return total, strings.Join(parts, ", ")
}

// report fails the test if there were violations.
func (r *results) report(t *testing.T, stack string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, message := range r.messages {
		t.Errorf("%s: %s", stack, message)
	}
	if more := r.violations - len(r.messages); more > 0 {
		t.Errorf("%s: and %d more violations", stack, more)
	}
}

// add adds the counts of other.
func (r *results) add(other *results) {
	other.mu.Lock()
	defer other.mu.Unlock()
	for key, n := range other.counts {
		r.counts[key] += n
	}
	r.violations += other.violations
}
