package tokensource

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

// inForce and replaced are two clients. Their fields are equal, as when a secret is
// renewed: only the pointers tell them apart.
var (
	inForce  = &Identity{Flow: "test", ClientID: "client"}
	replaced = &Identity{Flow: "test", ClientID: "client"}
)

// Failures of each kind.
var (
	errTemporary    = &Error{Op: "obtain token", StatusCode: 503, Kind: Temporary}
	errPermanent    = &Error{Op: "obtain token", StatusCode: 404, Kind: Permanent}
	errDeniedUser   = &Error{Op: "exchange user token", StatusCode: 400, Code: "invalid_grant", Kind: Denied}
	errDeniedClient = &Error{Op: "obtain token", StatusCode: 401, Code: "invalid_client", Kind: Denied}
)

// skewed returns the instant at which the monotonic and the wall clock have advanced that
// far since arrival.
func skewed(mono, wall time.Duration) cache.Instant {
	return cache.At(time.Hour+mono, time.Unix(arrivalEpoch, 0).Add(wall))
}

// backingOff returns the history of a subject whose last fetch failed with err, for the
// client id, and that backs off from now on for d.
func backingOff(err *Error, id *Identity, now cache.Instant, d time.Duration) *history {
	return &history{failure: err, identity: id, failures: 1, backoffUntil: now.Add(d)}
}

func (s state) String() string {
	return [...]string{"missing", "fresh", "due", "buffered", "failing"}[s]
}

func TestStateOf(t *testing.T) {
	t.Parallel()
	const renewAt, bufferAt, expiry = 40 * time.Minute, 50 * time.Minute, time.Hour
	token := &Token{life: lifetime{renewAt: arrival.Add(renewAt), bufferAt: arrival.Add(bufferAt), expiry: arrival.Add(expiry)}}

	// The token and the time decide whether there is something to serve.
	moments := []struct {
		name       string
		token      *Token
		mono, wall time.Duration
		want       state // missing: there is nothing to serve, and the history decides
	}{
		{"no token", nil, 0, 0, missing},
		{"on arrival", token, 0, 0, fresh},
		{"a nanosecond before its renewal", token, renewAt - 1, renewAt - 1, fresh},
		{"at its renewal", token, renewAt, renewAt, due},
		{"at its renewal by the monotonic clock", token, renewAt, 0, due},
		{"at its renewal by the wall clock", token, 0, renewAt, due},
		{"a nanosecond before its buffer", token, bufferAt - 1, bufferAt - 1, due},
		{"at its buffer", token, bufferAt, bufferAt, buffered},
		{"at its buffer by the monotonic clock", token, bufferAt, 0, buffered},
		{"at its buffer by the wall clock", token, renewAt, bufferAt, buffered},
		{"a nanosecond before its expiry", token, expiry - 1, expiry - 1, buffered},
		{"at its expiry", token, expiry, expiry, missing},
		{"at its expiry by the monotonic clock", token, expiry, 0, missing},
		{"at its expiry by the wall clock", token, 0, expiry, missing},
		{"long after its expiry", token, 10 * expiry, 10 * expiry, missing},
		{"the wall clock was set back", token, time.Minute, -expiry, fresh},
	}
	// The history decides what to do if there is nothing to serve.
	histories := []struct {
		name string
		make func(now cache.Instant) *history
		want state
	}{
		{"no history", func(cache.Instant) *history { return nil }, missing},
		{"a rejection", func(now cache.Instant) *history { return &history{rejectedAt: now} }, missing},
		{"a temporary failure, backing off", func(now cache.Instant) *history { return backingOff(errTemporary, inForce, now, 1) }, failing},
		{"a permanent failure, backing off", func(now cache.Instant) *history { return backingOff(errPermanent, inForce, now, 1) }, failing},
		{"the user was denied, backing off", func(now cache.Instant) *history { return backingOff(errDeniedUser, inForce, now, 1) }, failing},
		{"the client was denied, backing off", func(now cache.Instant) *history { return backingOff(errDeniedClient, inForce, now, 1) }, failing},
		{"another client was denied, backing off", func(now cache.Instant) *history { return backingOff(errDeniedClient, replaced, now, 1) }, missing},
		{"a temporary failure of another client, backing off", func(now cache.Instant) *history { return backingOff(errTemporary, replaced, now, 1) }, failing},
		{"a temporary failure, the backoff is over", func(now cache.Instant) *history { return backingOff(errTemporary, inForce, now, 0) }, missing},
		{"the client was denied, the backoff is over", func(now cache.Instant) *history { return backingOff(errDeniedClient, inForce, now, -time.Hour) }, missing},
	}
	for _, moment := range moments {
		for _, past := range histories {
			now := skewed(moment.mono, moment.wall)
			want := moment.want
			if want == missing {
				want = past.want
			}
			if got := stateOf(moment.token, past.make(now), inForce, now); got != want {
				t.Errorf("%s; %s: the state is %v, want %v", moment.name, past.name, got, want)
			}
		}
	}
}

func TestBacksOff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		history *history
		now     cache.Instant
		want    bool
	}{
		{"no history", nil, arrival, false},
		{"no failure", &history{rejectedAt: arrival, backoffUntil: arrival.Add(time.Hour)}, arrival, false},
		{"in the backoff", backingOff(errTemporary, inForce, arrival, time.Minute), skewed(time.Minute-1, time.Minute-1), true},
		{"at the end of the backoff", backingOff(errTemporary, inForce, arrival, time.Minute), skewed(time.Minute, time.Minute), false},
		{"at its end by the monotonic clock", backingOff(errTemporary, inForce, arrival, time.Minute), skewed(time.Minute, 0), false},
		{"at its end by the wall clock", backingOff(errTemporary, inForce, arrival, time.Minute), skewed(0, time.Minute), false},
		{"temporary failure, other credentials since then", backingOff(errTemporary, replaced, arrival, time.Minute), arrival, true},
		{"permanent failure, other credentials since then", backingOff(errPermanent, replaced, arrival, time.Minute), arrival, true},
		{"the user was denied, other credentials since then", backingOff(errDeniedUser, replaced, arrival, time.Minute), arrival, true},
		{"the client was denied", backingOff(errDeniedClient, inForce, arrival, time.Minute), arrival, true},
		{"the client was denied, other credentials since then", backingOff(errDeniedClient, replaced, arrival, time.Minute), arrival, false},
		{"the client was denied by another code, other credentials since then",
			backingOff(&Error{Kind: Denied, StatusCode: 403}, replaced, arrival, time.Minute), arrival, false},
	} {
		if got := test.history.backsOff(inForce, test.now); got != test.want {
			t.Errorf("%s: the subject backs off: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestMayDrop(t *testing.T) {
	t.Parallel()
	rejected := &history{rejectedAt: arrival}
	for _, test := range []struct {
		name    string
		history *history
		now     cache.Instant
		want    bool
	}{
		{"no history", nil, arrival, true},
		{"no rejection so far", backingOff(errTemporary, inForce, arrival, time.Minute), arrival, true},
		{"at the same moment", rejected, arrival, false},
		{"less than 10 s later", rejected, skewed(10*time.Second-1, 10*time.Second-1), false},
		{"10 s later", rejected, skewed(10*time.Second, 10*time.Second), true},
		{"10 s later by the monotonic clock", rejected, skewed(10*time.Second, -time.Hour), true},
		{"10 s later by the wall clock", rejected, skewed(time.Second, 10*time.Second), true},
		{"the wall clock was set back", rejected, skewed(time.Second, -time.Hour), false},
	} {
		if got := test.history.mayDrop(test.now); got != test.want {
			t.Errorf("%s: a rejected token may be dropped: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAfterFailure(t *testing.T) {
	t.Parallel()
	plain := errors.New("connection refused")
	wrapped := fmt.Errorf("service token: %w", &Error{
		Op: "inner", Kind: Denied, StatusCode: 401, Code: "invalid_client", RetryAfter: 20 * time.Second,
	})
	busy := &Error{Op: "obtain token", Kind: Temporary, StatusCode: 429, RetryAfter: time.Minute, Err: plain}
	rejectedAt := arrival.Add(-5 * time.Second)
	for _, test := range []struct {
		name     string
		before   *history
		err      error
		failure  Error // without its NextAttempt
		failures int
		backoff  time.Duration
		rejected cache.Instant
	}{
		{"the first failure", nil, errTemporary, *errTemporary, 1, time.Second, cache.Instant{}},
		{"the first failure after a rejection", &history{rejectedAt: rejectedAt}, errPermanent, *errPermanent, 1, time.Second, rejectedAt},
		{"the fourth failure", &history{failure: errPermanent, identity: replaced, failures: 3}, errTemporary, *errTemporary, 4, 8 * time.Second, cache.Instant{}},
		{"the fourth failure, and a rejection", &history{failure: errPermanent, failures: 3, rejectedAt: rejectedAt}, errDeniedUser, *errDeniedUser, 4, 8 * time.Second, rejectedAt},
		{"the service asks for a minute", nil, busy, *busy, 1, time.Minute, cache.Instant{}},
		{"an error of another type", nil, plain, Error{Op: "fetch token", Kind: Temporary, Err: plain}, 1, time.Second, cache.Instant{}},
		{"the time is over", nil, context.DeadlineExceeded, Error{Op: "fetch token", Kind: Temporary, Err: context.DeadlineExceeded}, 1, time.Second, cache.Instant{}},
		{"a wrapped error", nil, wrapped,
			Error{Op: "fetch token", Kind: Denied, StatusCode: 401, Code: "invalid_client", RetryAfter: 20 * time.Second, Err: wrapped}, 1, 20 * time.Second, cache.Instant{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var copied history
			if test.before != nil {
				copied = *test.before
			}
			got := test.before.afterFailure(test.err, inForce, arrival)
			if got.failures != test.failures || got.identity != inForce || got.rejectedAt != test.rejected {
				t.Errorf("the history is %+v, want %d failures, the last one for the client in force, and a rejection at %v", got, test.failures, test.rejected)
			}
			if want := arrival.Add(test.backoff); got.backoffUntil != want {
				t.Errorf("the subject backs off for %v, want %v", arrival.Until(got.backoffUntil), test.backoff)
			}
			if want := arrival.Time().Add(test.backoff); !got.failure.NextAttempt.Equal(want) {
				t.Errorf("the error says that the next attempt is at %v, want %v", got.failure.NextAttempt, want)
			}
			failure := *got.failure
			failure.NextAttempt = time.Time{}
			if failure != test.failure {
				t.Errorf("the failure is\n%#v, want\n%#v", failure, test.failure)
			}
			if test.before != nil && *test.before != copied {
				t.Errorf("the former history was modified to %+v, want %+v", test.before, copied)
			}
		})
	}
	t.Run("the flow's own error stays as it is", func(t *testing.T) {
		t.Parallel()
		own := *errTemporary
		if h := (*history)(nil).afterFailure(&own, inForce, arrival); h.failure == &own || own != *errTemporary {
			t.Errorf("the flow's error became %#v, want a copy to be altered", own)
		}
	})
}

func TestAfterSuccess(t *testing.T) {
	t.Parallel()
	if got := (*history)(nil).afterSuccess(); got != nil {
		t.Errorf("without a history there is %+v after a success, want nil", got)
	}
	if got := backingOff(errTemporary, inForce, arrival, time.Hour).afterSuccess(); got != nil {
		t.Errorf("of a failure there is %+v left after a success, want nil", got)
	}
	before := backingOff(errTemporary, inForce, arrival, time.Hour)
	before.rejectedAt = arrival
	copied := *before
	got := before.afterSuccess()
	if want := (history{rejectedAt: arrival}); got == nil || *got != want {
		t.Errorf("of a failure and a rejection there is %+v left after a success, want the rejection", got)
	}
	if *before != copied {
		t.Errorf("the former history was modified to %+v", before)
	}
}

func TestAfterRejection(t *testing.T) {
	t.Parallel()
	later := arrival.Add(time.Minute)
	if got, want := *(*history)(nil).afterRejection(later), (history{rejectedAt: later}); got != want {
		t.Errorf("without a history there is %+v after a rejection, want %+v", got, want)
	}
	before := &history{failure: errTemporary, identity: inForce, failures: 3, backoffUntil: later, rejectedAt: arrival}
	copied, want := *before, *before
	want.rejectedAt = later
	if got := *before.afterRejection(later); got != want {
		t.Errorf("after a rejection there is %+v, want the failures as before: %+v", got, want)
	}
	if *before != copied {
		t.Errorf("the former history was modified to %+v", before)
	}
}

// A row of failures ends with a success, and not with a rejection.
func TestRowOfFailures(t *testing.T) {
	t.Parallel()
	var h *history
	for range 3 {
		h = h.afterFailure(errTemporary, inForce, arrival)
	}
	h = h.afterRejection(arrival).afterFailure(errTemporary, inForce, arrival)
	if h.failures != 4 || arrival.Until(h.backoffUntil) != 8*time.Second {
		t.Errorf("after four failures there are %d, and the backoff is %v, want 8s", h.failures, arrival.Until(h.backoffUntil))
	}
	h = h.afterSuccess().afterFailure(errTemporary, inForce, arrival)
	if h.failures != 1 || arrival.Until(h.backoffUntil) != time.Second {
		t.Errorf("after a success and a failure there are %d failures, and the backoff is %v, want 1s", h.failures, arrival.Until(h.backoffUntil))
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	asked := func(d time.Duration) *Error { return &Error{Kind: Temporary, RetryAfter: d} }
	inner := func(d time.Duration) *Error { return &Error{Kind: Temporary, NextAttempt: arrival.Time().Add(d)} }
	both := inner(7 * time.Second)
	both.RetryAfter = 20 * time.Second
	for _, test := range []struct {
		name     string
		err      *Error
		failures int
		want     time.Duration
	}{
		{"1 failure", errTemporary, 1, 1 * time.Second},
		{"2 failures", errPermanent, 2, 2 * time.Second},
		{"3 failures", errDeniedUser, 3, 4 * time.Second},
		{"4 failures", errDeniedClient, 4, 8 * time.Second},
		{"5 failures", errTemporary, 5, 16 * time.Second},
		{"6 failures", errTemporary, 6, 30 * time.Second},
		{"7 failures", errTemporary, 7, 30 * time.Second},
		{"100 failures", errTemporary, 100, 30 * time.Second},
		{"more failures than anybody counts", errTemporary, math.MaxInt, 30 * time.Second},

		{"the service asks for next to nothing", asked(1), 1, time.Second},
		{"the service asks for 1 s", asked(time.Second), 1, time.Second},
		{"the service asks for 3 s", asked(3 * time.Second), 1, 3 * time.Second},
		{"the service asks for 3 s, after many failures", asked(3 * time.Second), 9, 3 * time.Second},
		{"the service asks for more than the longest backoff", asked(2 * time.Minute), 1, 2 * time.Minute},
		{"the service asks for 10 min", asked(10 * time.Minute), 1, 10 * time.Minute},
		{"the service asks for more than 10 min", asked(10*time.Minute + 1), 1, 10 * time.Minute},
		{"the service asks for 290 years", asked(math.MaxInt64), 1, 10 * time.Minute},
		{"the service asks for less than nothing", asked(-time.Hour), 3, 4 * time.Second},

		{"an inner source tries again in 7 s", inner(7 * time.Second), 5, 7 * time.Second},
		{"an inner source tries again at once", inner(0), 5, time.Second},
		{"an inner source could have tried again", inner(-time.Hour), 5, time.Second},
		{"an inner source tries again in an hour", inner(time.Hour), 5, 10 * time.Minute},
		{"an inner source knows better than the service", both, 5, 7 * time.Second},
	} {
		if got := backoff(test.err, test.failures, arrival); got != test.want {
			t.Errorf("%s: the backoff is %v, want %v", test.name, got, test.want)
		}
	}
}

func TestForgetAt(t *testing.T) {
	t.Parallel()
	failedAndRejected := backingOff(errTemporary, inForce, arrival, 30*time.Second)
	failedAndRejected.rejectedAt = arrival
	for _, test := range []struct {
		name    string
		history *history
		want    time.Duration
	}{
		{"a rejection", &history{rejectedAt: arrival}, 10 * time.Second},
		{"the first failure", backingOff(errTemporary, inForce, arrival, time.Second), 61 * time.Second},
		{"a failure with the longest backoff", backingOff(errTemporary, inForce, arrival, 30*time.Second), 90 * time.Second},
		{"a failure with the longest backoff that was asked for", backingOff(errTemporary, inForce, arrival, 10*time.Minute), 11 * time.Minute},
		{"a failure and a rejection", failedAndRejected, 90 * time.Second},
		{"a backoff that ended some time ago", backingOff(errTemporary, inForce, arrival, -40*time.Second), 20 * time.Second},
		{"a backoff that ended long ago", backingOff(errTemporary, inForce, arrival, -time.Hour), 10 * time.Second},
	} {
		if got := test.history.forgetAt(arrival); got != arrival.Add(test.want) {
			t.Errorf("%s: it is remembered for %v, want %v", test.name, arrival.Until(got), test.want)
		}
	}
}

func TestRetryWait(t *testing.T) {
	t.Parallel()
	asked := func(d time.Duration) error { return &Error{Kind: Temporary, RetryAfter: d} }
	const ms = time.Millisecond
	for _, test := range []struct {
		name          string
		err           error
		attempt       int
		retried       bool
		atLeast, most time.Duration // the wait, if it is retried
	}{
		{"temporary", errTemporary, 0, true, 100 * ms, 150*ms - 1},
		{"temporary, once more", errTemporary, 1, true, 200 * ms, 300*ms - 1},
		{"temporary, for the third time", errTemporary, 2, false, 0, 0},
		{"temporary, for the hundredth time", errTemporary, 99, false, 0, 0},
		{"permanent", errPermanent, 0, false, 0, 0},
		{"the user was denied", errDeniedUser, 0, false, 0, 0},
		{"the client was denied", errDeniedClient, 0, false, 0, 0},
		{"an error of another type", errors.New("connection refused"), 0, true, 100 * ms, 150*ms - 1},
		{"an error of another type, for the third time", errors.New("connection refused"), 2, false, 0, 0},
		{"the time is over", context.DeadlineExceeded, 1, true, 200 * ms, 300*ms - 1}, // the caller knows the deadline
		{"a wrapped temporary error", fmt.Errorf("service token: %w", errTemporary), 0, true, 100 * ms, 150*ms - 1},
		{"a wrapped permanent error", fmt.Errorf("service token: %w", errPermanent), 0, false, 0, 0},

		{"the service asks for less", asked(10 * ms), 0, true, 100 * ms, 150*ms - 1},
		{"the service asks for about as much", asked(120 * ms), 0, true, 120 * ms, 150*ms - 1},
		{"the service asks for more", asked(3 * time.Second), 0, true, 3 * time.Second, 3 * time.Second},
		{"the service asks for 5 s", asked(5 * time.Second), 1, true, 5 * time.Second, 5 * time.Second},
		{"the service asks for too much", asked(5*time.Second + 1), 0, false, 0, 0},
		{"the service asks for more, for the third time", asked(3 * time.Second), 2, false, 0, 0},
		{"a wrapped error says what the service asks for", fmt.Errorf("service token: %w", asked(3*time.Second)), 0, true, 3 * time.Second, 3 * time.Second},

		{"an inner source has retried already", &Error{Kind: Temporary, NextAttempt: arrival.Time()}, 0, false, 0, 0},
		{"an inner source has retried already, and is wrapped", fmt.Errorf("service token: %w", &Error{Kind: Temporary, NextAttempt: arrival.Time()}), 0, false, 0, 0},
	} {
		for range 200 { // the wait is random
			wait, retried := retryWait(test.err, test.attempt)
			if retried != test.retried {
				t.Errorf("%s: it is retried: %v, want %v", test.name, retried, test.retried)
				break
			}
			if retried && (wait < test.atLeast || wait > test.most) {
				t.Errorf("%s: the wait is %v, want %v to %v", test.name, wait, test.atLeast, test.most)
				break
			}
		}
	}
}

// Programs that failed together do not retry together.
func TestRetryWaitsDiffer(t *testing.T) {
	t.Parallel()
	for attempt := range maxRetries {
		assertSpread(t, fmt.Sprintf("the waits before retry %d", attempt+1), func() float64 {
			shortest := 100 * time.Millisecond << attempt
			wait, _ := retryWait(errTemporary, attempt)
			return float64(wait-shortest) / float64(shortest/2)
		})
	}
}

// assertSpread checks that samples, from 0 to below 1, come from each tenth of that
// range. For a correct sampler this fails less often than once in 10^40 runs.
func assertSpread(t *testing.T, what string, sample func() float64) {
	t.Helper()
	var tenths [10]int
	for range 1000 {
		x := sample()
		if x < 0 || x >= 1 {
			t.Fatalf("%s: one is at %v of the range, want 0 to below 1", what, x)
		}
		tenths[int(x*10)]++
	}
	for i, n := range tenths {
		if n == 0 {
			t.Errorf("%s: none of 1000 is in tenth %d of the range: %v", what, i, tenths)
		}
	}
}

func TestRenewalTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		usable           time.Duration
		earliest, latest time.Duration
	}{
		{"10 s", 10 * time.Second, 4500 * time.Millisecond, 9 * time.Second},
		{"an hour without a buffer of 30 s", 3570 * time.Second, 1606500 * time.Millisecond, 3213 * time.Second},
		{"a day", day, day * 45 / 100, day * 90 / 100},
		{"a millisecond", time.Millisecond, 450 * time.Microsecond, 900 * time.Microsecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assertSpread(t, "the times of renewal", func() float64 {
				at := renewalTime(arrival, test.usable)
				if at != arrival.Add(arrival.Until(at)) {
					t.Fatal("the clocks disagree about the renewal")
				}
				return float64(arrival.Until(at)-test.earliest) / float64(test.latest-test.earliest)
			})
		})
	}
	for usable := range time.Duration(25) {
		for range 20 {
			if got := arrival.Until(renewalTime(arrival, usable)); got < 0 || got > usable {
				t.Errorf("a token with %d ns of usable life is renewed after %d ns, want it within its life", usable, got)
			}
		}
	}
}

// The renewal comes before the buffer, so that there is time for it.
func TestRenewalOfALifetime(t *testing.T) {
	t.Parallel()
	s := completed(t, Settings{})
	assertSpread(t, "the times of renewal of a token that lives for an hour", func() float64 {
		l, _ := s.newLifetime(responseLivingFor(time.Hour), "", arrival)
		return float64(arrival.Until(l.renewAt)-1606500*time.Millisecond) / float64(1606500*time.Millisecond)
	})
}
