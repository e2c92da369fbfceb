//go:build unix

package benchmarks_test

import (
	"syscall"
	"testing"
	"time"
)

// processorTime begins to measure for how long processors work for b, garbage
// collection included, and returns what ends and reports it. Other than the time on
// the wall, it hardly depends on what else the machine is doing.
func processorTime(b *testing.B) (report func()) {
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

// used returns the processor time that this process has had.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for bad arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
