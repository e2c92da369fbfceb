package tokensource

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/agwgo/agw/cache"
)

// This file has the rules by which the engine decides. They are functions of what is
// known and of the time (two of them draw a random number), without side effects.

const (
	earliestRenewal = 0.45                   // a token is renewed between this part of its usable life
	latestRenewal   = 0.90                   // and this one
	maxBufferWait   = time.Second            // how long a caller waits for the successor of a token in its buffer
	maxRetries      = 2                      // further attempts within one fetch
	firstRetryWait  = 100 * time.Millisecond // before the first of them, doubled for the next
	maxRetryWait    = 5 * time.Second        // a service that asks for more is not waited for within a fetch
	firstBackoff    = time.Second            // after a failed fetch, doubled with each further failure
	maxBackoff      = 30 * time.Second
	maxAskedBackoff = 10 * time.Minute // the longest backoff that a service may ask for
	rejectEvery     = 10 * time.Second // the rejected token of a subject is dropped at most this often
	reloadEvery     = time.Second      // refused credentials are read again at most this often during a backoff
	gatewayOutlives = 5 * time.Minute  // how long a gateway is known after its token has expired
	minHistories    = 1024             // subjects whose failures are remembered, at least
)

// A state is what is to be done for a subject. The package documentation draws how one
// leads to another.
type state uint8

const (
	missing  state = iota // there is no token: fetch one, and wait
	fresh                 // serve the token
	due                   // serve it, and renew it in the background
	buffered              // it is in its expiry buffer: wait a little for its successor, else serve it
	failing               // there is no token, and the last fetch failed a moment ago: return its error
)

// stateOf returns the state of a subject with the given token and history, each of which
// may be nil.
func stateOf(t *Token, h *history, id *Identity, now cache.Instant) state {
	switch {
	case t != nil && now.Before(t.life.renewAt):
		return fresh
	case t != nil && now.Before(t.life.bufferAt):
		return due
	case t != nil && now.Before(t.life.expiry):
		return buffered
	case h.backsOff(id, now):
		return failing
	default:
		return missing
	}
}

// A history is what is remembered of a subject besides its token. It is immutable.
type history struct {
	failure      *Error    // of the last fetch; nil if that succeeded
	identity     *Identity // for which it failed
	failures     int       // in a row
	backoffUntil cache.Instant
	rejectedAt   cache.Instant // when a rejected token was last dropped
}

// backsOff reports whether it is too early for another fetch. The refusal of credentials
// says nothing about those that have taken their place.
func (h *history) backsOff(id *Identity, now cache.Instant) bool {
	if h == nil || h.failure == nil || !now.Before(h.backoffUntil) {
		return false
	}
	return h.identity == id || !credentialsRefused(h.failure)
}

// mayDrop reports whether a token that the gateway has rejected may be dropped now.
func (h *history) mayDrop(now cache.Instant) bool {
	return h == nil || h.rejectedAt.IsZero() || now.Since(h.rejectedAt) >= rejectEvery
}

// afterFailure returns the history after another fetch that failed, with an error that
// says when the next attempt is due.
func (h *history) afterFailure(err error, id *Identity, now cache.Instant) *history {
	next := history{failures: 1}
	if h != nil {
		next.failures += h.failures
		next.rejectedAt = h.rejectedAt
	}
	next.failure, next.identity = asError(err), id
	next.backoffUntil = now.Add(backoff(next.failure, next.failures, now))
	next.failure.NextAttempt = next.backoffUntil.Time()
	return &next
}

// afterSuccess returns the history after a fetch that succeeded; nil if nothing is left
// to remember.
func (h *history) afterSuccess() *history {
	if h == nil || h.rejectedAt.IsZero() {
		return nil
	}
	return &history{rejectedAt: h.rejectedAt}
}

// afterRejection returns the history after a rejected token was dropped.
func (h *history) afterRejection(now cache.Instant) *history {
	next := history{rejectedAt: now}
	if h != nil {
		next = *h
		next.rejectedAt = now
	}
	return &next
}

// forgetAt returns until when h is worth remembering: as long as a rejection counts, or
// as the backoff lasts and then twice the longest backoff, so that the next failure
// continues the row.
func (h *history) forgetAt(now cache.Instant) cache.Instant {
	keep := rejectEvery
	if h.failure != nil {
		keep = max(keep, now.Until(h.backoffUntil)+2*maxBackoff)
	}
	return now.Add(keep)
}

// backoff returns how long a subject backs off after so many failures in a row, the last
// one being err.
func backoff(err *Error, failures int, now cache.Instant) time.Duration {
	asked := err.RetryAfter
	if !err.NextAttempt.IsZero() { // a Source that the flow uses backs off itself
		asked = max(err.NextAttempt.Sub(now.Time()), firstBackoff)
	}
	if asked > 0 {
		return min(max(asked, firstBackoff), maxAskedBackoff)
	}
	return min(firstBackoff<<min(failures-1, 8), maxBackoff)
}

// retryWait returns how long a fetch waits before attempt number attempt+1 after err, and
// false if it is not to be tried again.
func retryWait(err error, attempt int) (time.Duration, bool) {
	e := &Error{Kind: Temporary}
	errors.As(err, &e)
	wait := firstRetryWait << attempt
	wait = max(e.RetryAfter, wait+jitter(wait/2))
	retried := !e.NextAttempt.IsZero() // by a Source that the flow uses
	return wait, attempt < maxRetries && e.Kind == Temporary && !retried && wait <= maxRetryWait
}

// renewalTime returns when a token that arrived now is renewed in the background: at a
// random moment of a window so wide that programs that started together, or that lost
// their tokens together, are out of step after one life.
func renewalTime(now cache.Instant, usable time.Duration) cache.Instant {
	earliest, latest := time.Duration(earliestRenewal*float64(usable)), time.Duration(latestRenewal*float64(usable))
	return now.Add(earliest + jitter(latest-earliest))
}

// jitter returns a random duration from 0 to below d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
