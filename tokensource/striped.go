package tokensource

import (
	"math/rand/v2"
	"sync/atomic"
)

// striped is a counter for what happens on every call. Its cells lie on cache lines
// of their own: with one cell, two processors that count at once spend more time on
// passing its line to and fro than on all the rest of a hit.
type striped [8]struct {
	n atomic.Uint64
	_ [56]byte
}

// add counts one, in a cell that other processors hardly use at the same moment.
func (s *striped) add() { s[rand.Uint32()%uint32(len(s))].n.Add(1) }

// load returns the sum.
func (s *striped) load() (sum uint64) {
	for i := range s {
		sum += s[i].n.Load()
	}
	return sum
}
