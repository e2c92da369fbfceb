package cache_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is the moment at which the clocks of most tests begin.
var start = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)

// now is the instant of start, and later the deadline of most entries.
var (
	now   = at(0, 0)
	later = at(time.Minute, time.Minute)
)

// at returns the instant at which the two clocks have advanced that far since start.
func at(mono, wall time.Duration) cache.Instant {
	return cache.At(time.Hour+mono, start.Add(wall))
}
