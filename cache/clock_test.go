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
	forever = time.Duration(math.MaxInt64)
	never   = time.Duration(math.MinInt64)
)

// at returns the instant of the given readings, counted from now.
func at(mono, wall time.Duration) cache.Instant {
	return cache.At(time.Hour+mono, time.Unix(epoch, 0).Add(wall))
}

func TestBeforeNeedsBothClocks(t *testing.T) {
	t.Parallel()
	deadline := now.Add(time.Minute)
	tests := []struct {
		name       string
		mono, wall time.Duration
		want       bool
	}{
		{"at once", 0, 0, true},
		{"just before", time.Minute - 1, time.Minute - 1, true},
		{"on the deadline", time.Minute, time.Minute, false},
		{"after it", 2 * time.Minute, 2 * time.Minute, false},
		{"on it by the monotonic clock", time.Minute, 0, false},
		{"on it by the wall clock", 0, time.Minute, false},
		{"machine slept", time.Second, time.Hour, false},
		{"clock stepped forward", time.Second, 2 * time.Hour, false},
		{"clock stepped back, too late", 2 * time.Minute, -2 * time.Hour, false},
		{"clock stepped back, in time", time.Second, -2 * time.Hour, true},
	}
	for _, tt := range tests {
		if got := at(tt.mono, tt.wall).Before(deadline); got != tt.want {
			t.Errorf("%s: before the deadline is %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestUntilAndSince(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mono, wall   time.Duration
		until, since time.Duration
	}{
		{0, 0, time.Minute, 0},
		{10 * time.Second, 10 * time.Second, 50 * time.Second, 10 * time.Second},
		{10 * time.Second, time.Hour, -59 * time.Minute, time.Hour},
		{10 * time.Second, -time.Hour, 50 * time.Second, 10 * time.Second},
		{2 * time.Minute, 10 * time.Second, -time.Minute, 2 * time.Minute},
	}
	for _, tt := range tests {
		i := at(tt.mono, tt.wall)
		if got := i.Until(now.Add(time.Minute)); got != tt.until {
			t.Errorf("after %v and %v, until is %v, want %v", tt.mono, tt.wall, got, tt.until)
		}
		if got := i.Since(now); got != tt.since {
			t.Errorf("after %v and %v, since is %v, want %v", tt.mono, tt.wall, got, tt.since)
		}
	}
}

func TestInstantSaturates(t *testing.T) {
	t.Parallel()
	late, early := now.Add(forever), now.Add(never)
	if !now.Before(late) || late.Before(now) {
		t.Error("now is not before the latest instant")
	}
	if late.Add(forever) != late.Add(forever).Add(1) {
		t.Error("the latest instant can be exceeded")
	}
	if early = early.Add(never); early != early.Add(-1) || !early.Before(now) {
		t.Error("the earliest instant can be preceded, or is not before now")
	}
	if got := early.Until(late); got != forever {
		t.Errorf("from the earliest to the latest instant it is %v, want %v", got, forever)
	}
	if got := late.Until(early); got != never {
		t.Errorf("from the latest to the earliest instant it is %v, want %v", got, never)
	}
	if late.Since(early) != forever || early.Since(late) != never {
		t.Error("since does not saturate")
	}
}

// Unless they saturate, Add, Until, Since and Before agree with each other.
func TestInstantProperty(t *testing.T) {
	t.Parallel()
	agree := func(a, b int32) bool {
		i, j := now.Add(time.Duration(a)), now.Add(time.Duration(b))
		d := time.Duration(b) - time.Duration(a)
		return i.Add(d) == j && i.Until(j) == d && j.Since(i) == d && i.Before(j) == (d > 0)
	}
	if err := quick.Check(agree, nil); err != nil {
		t.Error(err)
	}
}

func TestZeroInstant(t *testing.T) {
	t.Parallel()
	var zero cache.Instant
	if !zero.IsZero() || now.IsZero() {
		t.Error("IsZero is wrong")
	}
	if !zero.Before(now) || now.Before(zero) {
		t.Error("the zero instant does not precede now, or now precedes it")
	}
}

func TestNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := cache.Now()
		if got := i.Time(); !got.Equal(time.Now()) || got.Location() != time.UTC {
			t.Errorf("the wall clock says %v, want %v in UTC", got, time.Now())
		}
		time.Sleep(time.Minute)
		j := cache.Now()
		if i.Until(j) != time.Minute || j.Since(i) != time.Minute {
			t.Errorf("after a minute, until is %v and since is %v", i.Until(j), j.Since(i))
		}
	})
}

func TestTime(t *testing.T) {
	t.Parallel()
	if got, want := now.Time(), time.Unix(epoch, 0); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
