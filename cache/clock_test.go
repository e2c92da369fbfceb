package cache_test

import (
	"math"
	"testing"
	"testing/quick"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
)

const (
	longest  = time.Duration(math.MaxInt64)
	shortest = time.Duration(math.MinInt64)
)

func TestBeforeNeedsBothClocks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		mono, wall time.Duration
		want       bool
	}{
		{"at once", 0, 0, true},
		{"a nanosecond before the deadline", time.Minute - 1, time.Minute - 1, true},
		{"on the deadline", time.Minute, time.Minute, false},
		{"after the deadline", 2 * time.Minute, 2 * time.Minute, false},
		{"on the deadline by the monotonic clock", time.Minute, 0, false},
		{"on the deadline by the wall clock", 0, time.Minute, false},
		{"the machine was suspended", time.Second, time.Hour, false},
		{"the wall clock was stepped forward", time.Second, 2 * time.Hour, false},
		{"the wall clock was stepped back, after the deadline", 2 * time.Minute, -2 * time.Hour, false},
		{"the wall clock was stepped back, before the deadline", time.Second, -2 * time.Hour, true},
	} {
		if got := at(test.mono, test.wall).Before(later); got != test.want {
			t.Errorf("%s: Before(deadline) is %v, want %v", test.name, got, test.want)
		}
	}
}

func TestUntilIsTheShorterAndSinceTheLongerTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		mono, wall   time.Duration
		until, since time.Duration
	}{
		{"no time has passed", 0, 0, time.Minute, 0},
		{"the clocks agree", 10 * time.Second, 10 * time.Second, 50 * time.Second, 10 * time.Second},
		{"the wall clock is ahead", 10 * time.Second, time.Hour, -59 * time.Minute, time.Hour},
		{"the wall clock was stepped back", 10 * time.Second, -time.Hour, 50 * time.Second, 10 * time.Second},
		{"the monotonic clock is ahead", 2 * time.Minute, 10 * time.Second, -time.Minute, 2 * time.Minute},
	} {
		i := at(test.mono, test.wall)
		if got := i.Until(later); got != test.until {
			t.Errorf("%s: Until is %v, want %v", test.name, got, test.until)
		}
		if got := i.Since(now); got != test.since {
			t.Errorf("%s: Since is %v, want %v", test.name, got, test.since)
		}
	}
}

func TestInstantSaturates(t *testing.T) {
	t.Parallel()
	latest, earliest := now.Add(longest).Add(longest), now.Add(shortest).Add(shortest)
	if !now.Before(latest) || latest.Before(now) {
		t.Error("the latest instant is not after now: Add has overflowed")
	}
	if !earliest.Before(now) || now.Before(earliest) {
		t.Error("the earliest instant is not before now: Add has overflowed")
	}
	if got := latest.Add(1); got != latest {
		t.Errorf("a nanosecond after the latest instant is %v, want the latest instant %v", got, latest)
	}
	if got := earliest.Add(-1); got != earliest {
		t.Errorf("a nanosecond before the earliest instant is %v, want the earliest instant %v", got, earliest)
	}
	if got := earliest.Until(latest); got != longest {
		t.Errorf("the time from the earliest until the latest instant is %v, want %v", got, longest)
	}
	if got := latest.Until(earliest); got != shortest {
		t.Errorf("the time from the latest until the earliest instant is %v, want %v", got, shortest)
	}
	if got := latest.Since(earliest); got != longest {
		t.Errorf("the time at the latest since the earliest instant is %v, want %v", got, longest)
	}
	if got := earliest.Since(latest); got != shortest {
		t.Errorf("the time at the earliest since the latest instant is %v, want %v", got, shortest)
	}
}

// Unless they saturate, Add, Until, Since and Before agree with each other.
func TestInstantArithmeticAgrees(t *testing.T) {
	t.Parallel()
	agree := func(a, b int32) bool {
		i, j := now.Add(time.Duration(a)), now.Add(time.Duration(b))
		d := time.Duration(b) - time.Duration(a)
		return i.Add(d) == j && i.Until(j) == d && j.Since(i) == d && i.Before(j) == (d > 0)
	}
	if err := quick.Check(agree, nil); err != nil {
		t.Errorf("Add, Until, Since and Before disagree: %v", err)
	}
}

func TestZeroInstant(t *testing.T) {
	t.Parallel()
	var zero cache.Instant
	if !zero.IsZero() {
		t.Error("the zero Instant is not IsZero")
	}
	if now.IsZero() {
		t.Error("now is IsZero")
	}
	if !zero.Before(now) || now.Before(zero) {
		t.Error("the zero Instant is not before now")
	}
}

func TestNowReadsTheSystemClocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := cache.Now()
		if got := i.Time(); !got.Equal(time.Now()) || got.Location() != time.UTC {
			t.Errorf("the wall clock says %v, want %v in UTC", got, time.Now())
		}
		time.Sleep(time.Minute)
		j := cache.Now()
		if until, since := i.Until(j), j.Since(i); until != time.Minute || since != time.Minute {
			t.Errorf("a minute later, Until is %v and Since is %v, want 1m0s for both", until, since)
		}
	})
}

func TestTimeIsTheWallClock(t *testing.T) {
	t.Parallel()
	if got, want := at(time.Hour, time.Minute).Time(), start.Add(time.Minute); !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("Time is %v, want %v", got, want)
	}
}
