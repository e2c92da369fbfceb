package cache

import (
	"math"
	"time"
)

// An Instant is one reading of two clocks: the monotonic one, which no
// administrator can step but which stands still while a machine sleeps, and the
// wall clock, of which the opposite holds. The zero Instant means that
// there is none.
type Instant struct {
	mono int64 // ns since an arbitrary moment
	wall int64 // ns since the Unix epoch
}

// A Clock tells the time. It must be safe for concurrent use.
type Clock func() Instant

// start is the arbitrary moment that monotonic readings count from.
var start = time.Now()

// Now reads the system's clocks. It is the default [Clock].
func Now() Instant {
	t := time.Now()
	return Instant{mono: int64(t.Sub(start)), wall: t.UnixNano()}
}

// At returns the Instant of the given readings, for clocks that a test moves by
// hand.
func At(mono time.Duration, wall time.Time) Instant {
	return Instant{mono: int64(mono), wall: wall.UnixNano()}
}

// Add returns the instant d later (earlier, if d is negative), on both clocks.
// It saturates instead of overflowing.
func (i Instant) Add(d time.Duration) Instant {
	return Instant{mono: addSaturated(i.mono, int64(d)), wall: addSaturated(i.wall, int64(d))}
}

// Before reports whether i precedes deadline by both clocks. For a deadline in
// the past of either, the answer is no.
func (i Instant) Before(deadline Instant) bool {
	return i.mono < deadline.mono && i.wall < deadline.wall
}

// Until returns the time that is left from i to deadline: the shorter one, where
// the clocks disagree.
func (i Instant) Until(deadline Instant) time.Duration {
	return time.Duration(min(subSaturated(deadline.mono, i.mono), subSaturated(deadline.wall, i.wall)))
}

// Since returns the time that has passed from earlier to i: the longer one, where
// the clocks disagree.
func (i Instant) Since(earlier Instant) time.Duration {
	return time.Duration(max(subSaturated(i.mono, earlier.mono), subSaturated(i.wall, earlier.wall)))
}

// Time returns the wall clock's reading, in UTC.
func (i Instant) Time() time.Time { return time.Unix(0, i.wall).UTC() }

// IsZero reports whether i is the zero Instant.
func (i Instant) IsZero() bool { return i == Instant{} }

func addSaturated(a, b int64) int64 {
	switch c := a + b; {
	case b > 0 && c < a:
		return math.MaxInt64
	case b < 0 && c > a:
		return math.MinInt64
	default:
		return c
	}
}

func subSaturated(a, b int64) int64 {
	switch c := a - b; {
	case b < 0 && c < a:
		return math.MaxInt64
	case b > 0 && c > a:
		return math.MinInt64
	default:
		return c
	}
}
