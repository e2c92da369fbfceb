package soak_test

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	duration = flag.Duration("soak", 2*time.Second, "how long TestSoak keeps up the load")
	seed     = flag.Uint64("soak.seed", 0, "seed of the random numbers of TestSoak; 0 means another one each time")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
