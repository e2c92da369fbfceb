package soak_test

import (
	"sync"
	"testing"
	"time"
)

// moments are the times at which something happened that concerns all subjects at once,
// such as a purge.
type moments struct {
	mu  sync.Mutex
	all []moment
}

// A moment lasts from when something is done until the library has noticed it.
type moment struct{ from, to time.Time } // to is zero until then

// aftermath is how long after a moment a fetch can go on that was under way before.
const aftermath = fetchTimeout

// maxExplained is how many requests for the same thing a moment explains: one that fetches
// it again, and one of a fetch that was under way.
const maxExplained = 2

// begin notes that a moment begins.
func (m *moments) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, moment{from: time.Now()})
}

// noticed notes that the library has noticed everything that was done.
func (m *moments) noticed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, one := range m.all {
		if one.to.IsZero() {
			m.all[i].to = time.Now()
		}
	}
}

// pending reports whether the library has yet to notice something.
func (m *moments) pending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all) > 0 && m.all[len(m.all)-1].to.IsZero()
}

// during is a moment that lasts as long as do.
func (m *moments) during(do func()) {
	m.begin()
	do()
	m.noticed()
}

func (m *moments) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

// overlapping returns how many moments overlap a period, if each lasts so much longer.
func (m *moments) overlapping(from, to time.Time, longer time.Duration) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		if one.overlaps(from, to, longer) {
			n++
		}
	}
	return n
}

func (m moment) overlaps(from, to time.Time, longer time.Duration) bool {
	over := !m.to.IsZero() && from.After(m.to.Add(longer))
	return !over && !to.Before(m.from)
}

// explain reports whether one of the moments explains a request, although the last one for
// the same thing was a success. Of several moments the oldest one does, since it is the
// first that will not explain anything any more. What it has explained is counted in last.
func (m *moments) explain(last *lastRequest, at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, one := range m.all {
		if one.overlaps(last.at, at, aftermath) && last.explained[i] < maxExplained {
			if last.explained == nil {
				last.explained = map[int]int{}
			}
			last.explained[i]++
			return true
		}
	}
	return false
}

// Moments that follow each other closely explain as many requests as others. The soak
// failed now and then while the newest one alone was taken to explain anything.
func TestMomentsExplainRequests(t *testing.T) {
	start := time.Now()
	after := func(sec float64) time.Time { return start.Add(time.Duration(sec * float64(time.Second))) }
	for _, test := range []struct {
		name     string
		moments  []moment
		requests []float64 // seconds after the start; the first one is explained otherwise
		want     int       // how many of the others are explained
	}{
		{"none", nil, []float64{1, 2}, 0},
		{"one before the first request", []moment{{after(1), after(1)}}, []float64{6, 7}, 0},
		{"one after the last request", []moment{{after(3), after(3)}}, []float64{1, 2}, 0},
		{"one", []moment{{after(2), after(2)}}, []float64{1, 3, 4, 5}, 2},
		{"one, not noticed yet", []moment{{from: after(2)}}, []float64{1, 10, 20, 30}, 2},
		{"two at once", []moment{{after(2), after(2)}, {after(2.1), after(2.1)}}, []float64{1, 3, 3.1, 3.2, 3.3, 3.4}, 4},
		{"two, of which one is over", []moment{{after(2), after(2)}, {after(8), after(8)}}, []float64{1, 7, 9, 9.1, 9.2}, 3},
	} {
		m, last := moments{all: test.moments}, &lastRequest{at: after(test.requests[0])}
		got := 0
		for _, sec := range test.requests[1:] {
			if m.explain(last, after(sec)) {
				got++
			}
			last.at = after(sec)
		}
		if got != test.want {
			t.Errorf("%s: %d requests are explained, want %d", test.name, got, test.want)
		}
	}
}
