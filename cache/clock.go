package cache

import (
	"math"
	"time"
)

// An Instant is one reading of two clocks. The monotonic clock cannot be stepped, but it
// stands still while a machine is suspended. The wall clock goes on, but it can be
// stepped. The zero Instant means that there is none.
type Instant struct {
	mono int64 // ns since an arbitrary moment
	wall int64 // ns since the Unix epoch
}

// start is the moment that monotonic readings count from.
var start = time.Now()

// Now reads the system's clocks.
func Now() Instant {
	t := time.Now()
	return Instant{mono: int64(t.Sub(start)), wall: t.UnixNano()}
}

// At returns the Instant of the given readings, for clocks that a test moves by
// hand.
func At(mono time.Duration, wall time.Time) Instant {
	return Instant{mono: int64(mono), wall: wall.UnixNano()}
}

// Add returns the instant d later (earlier if d is negative), on both clocks. It
// saturates instead of overflowing.
func (i Instant) Add(d time.Duration) Instant {
	return Instant{mono: addSaturated(i.mono, int64(d)), wall: addSaturated(i.wall, int64(d))}
}

// Before reports whether i precedes deadline by both clocks.
func (i Instant) Before(deadline Instant) bool {
	return i.mono < deadline.mono && i.wall < deadline.wall
}

// Until returns the time from i to deadline: the shorter one if the clocks disagree.
func (i Instant) Until(deadline Instant) time.Duration {
	return time.Duration(min(subSaturated(deadline.mono, i.mono), subSaturated(deadline.wall, i.wall)))
}

// Since returns the time from earlier to i: the longer one if the clocks disagree.
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
