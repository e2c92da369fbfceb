package soak_test

import (
	"sync"
	"time"
)

// sweeps are the moments at which all tokens of a stack went at once.
type sweeps struct {
	mu  sync.Mutex
	all []sweep
}

// A sweep happened at some moment from one time to another. What was under way then
// may have been orphaned: its request can come for some time yet.
type sweep struct {
	from, to time.Time
	rotation bool   // one of new credentials, which takes more than tokens away
	pending  bool   // the library has yet to notice
	number   uint64 // no token issued before it belongs to the new credentials
}

// during notes that do sweeps.
func (s *sweeps) during(do func()) {
	from := time.Now()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, sweep{from: from, to: time.Now()})
}

// expect notes that there will be a rotation from now on.
func (s *sweeps) expect(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, sweep{from: time.Now(), rotation: true, pending: true, number: number})
}

// happened notes that the rotations so far have been noticed, or at least the first
// of them, whose number it returns.
func (s *sweeps) happened() (number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.all {
		if !s.all[i].pending {
			continue
		}
		if number == 0 {
			number = s.all[i].number
		}
		s.all[i].to, s.all[i].pending = time.Now(), false
	}
	return number
}

// rotations returns how many there were.
func (s *sweeps) rotations() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sw := range s.all {
		if sw.rotation {
			n++
		}
	}
	return n
}

// n returns how many sweeps there were.
func (s *sweeps) n() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// between reports whether there was a sweep, or its consequences, between two moments.
func (s *sweeps) between(from, to time.Time, rotationsOnly bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sw := range s.all {
		if sw.matters(from, to, rotationsOnly) {
			return true
		}
	}
	return false
}

func (sw sweep) matters(from, to time.Time, rotationsOnly bool) bool {
	over := !sw.pending && from.After(sw.to.Add(fetchTimeout))
	return (sw.rotation || !rotationsOnly) && !to.Before(sw.from) && !over
}

// maxSwept is how many requests for one thing a sweep can bring about: one to have it
// again, and that of a fetch that was under way.
const maxSwept = 2

// excuse looks for a sweep between two requests for the same thing, the first of
// which was a success. What has been excused by it before is in b, which is updated.
func (s *sweeps) excuse(b *asked, at time.Time, rotationsOnly bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.all); i > 0; i-- {
		sw := s.all[i-1]
		switch {
		case i < b.sweep, i == b.sweep && b.swept == maxSwept:
			return false
		case !sw.matters(b.at, at, rotationsOnly):
			continue
		case i > b.sweep:
			b.sweep, b.swept = i, 0
		}
		b.swept++
		return true
	}
	return false
}
