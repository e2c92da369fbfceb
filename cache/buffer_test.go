package cache

import (
	"bytes"
	"strings"
	"testing"
)

// takeBuffers takes what is pooled, as far as the pool gives it away: it may drop or
// hide buffers as it likes.
func takeBuffers() (taken []*[]byte) {
	for range 64 {
		b := buffers.Get().(*[]byte)
		if cap(*b) == 0 { // a new one: the pool has no others
			break
		}
		taken = append(taken, b)
	}
	return taken
}

// This test and the next one share the pool, and must not run in parallel.
func TestLargeBuffersAreNotKept(t *testing.T) {
	const kib = 1 << 10
	kept := 0
	for _, test := range []struct {
		name  string
		sizes []int
	}{
		{"a JWT", []int{4 * kib}},
		{"more than fits", []int{maxPooled + 1}},
		{"much more than fits", []int{kib * kib}},
		{"more than fits, in parts that would", []int{8 * kib, 8 * kib, 8 * kib}},
	} {
		for range 20 { // with the race detector, a pool drops some at random
			parts := make([]string, len(test.sizes))
			for i, size := range test.sizes {
				parts[i] = strings.Repeat("x", size)
			}
			NewKey(parts...)
			for _, b := range takeBuffers() {
				kept++
				if cap(*b) > maxPooled {
					t.Fatalf("%s: a buffer of %d bytes is kept, want at most %d", test.name, cap(*b), maxPooled)
				}
			}
		}
	}
	if kept == 0 {
		t.Error("no buffer was kept of any key: the pool is of no use")
	}
}

func TestKeptBuffersHoldNothingOfTheirParts(t *testing.T) {
	kept := 0
	for range 20 {
		NewKey("customer", strings.Repeat("secret", 200), "secret")
		NewKey("short")
		for _, b := range takeBuffers() {
			kept++
			if whole := (*b)[:cap(*b)]; bytes.ContainsAny(whole, "secrthou") {
				t.Fatalf("a kept buffer holds %q", bytes.Trim(whole, "\x00"))
			}
		}
	}
	if kept == 0 {
		t.Error("no buffer was kept: the test has checked nothing")
	}
}
