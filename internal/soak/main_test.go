package soak_test

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	duration = flag.Duration("soak", 2*time.Second, "how long TestSoak keeps the load up")
	seed     = flag.Uint64("soak.seed", 0, "what the dice of TestSoak start from; 0 means something new")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
