package tokensource

import (
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/agwgo/agw/cache"
)

// The rules of the engine, in figures.
const (
	refreshShare   = 5                      // the refresh window is this part of the usable life, the last one
	maxRefresh     = 5 * time.Minute        // and at most this long
	maxBufferWait  = time.Second            // a caller whose token is in its buffer waits at most this long for the next one
	maxRetries     = 2                      // further attempts within one fetch
	firstBackoff   = 100 * time.Millisecond // before the first of them
	maxRetryWait   = 5 * time.Second        // a service that asks for more is not waited for within a fetch
	firstRest      = time.Second            // of a key after a failed fetch, doubled with each further failure
	maxRest        = 30 * time.Second
	maxAskedRest   = 10 * time.Minute // the longest rest that a service may ask for
	rejectEvery    = 10 * time.Second // a rejected grant of a subject is dropped at most this often
	reloadEvery    = time.Second      // refused credentials are looked at again at most this often during a rest
	gatewayOutlive = 5 * time.Minute  // how long a gateway is known after its token has expired
	minNotes       = 1024             // subjects whose failures are remembered, at least
)

// state is where the token of a subject stands. The package documentation draws
// how one leads to the next.
type state uint8

const (
	missing  state = iota // there is nothing to serve: fetch, and wait
	fresh                 // serve
	due                   // serve, and renew in the background
	buffered              // close to its expiry: renew and wait for it, but not for long; else serve
	resting               // nothing to serve, and the last fetch failed: return its error
	rejected              // the gateway refused it, and it is too early to drop it: serve
)

// entry is a cached grant. All but rejected is immutable.
type entry struct {
	Grant
	refreshAt cache.Instant // where the background renewal becomes due
	deadline  cache.Instant // where the expiry buffer begins
	expiry    cache.Instant // the end
	rejected  atomic.Bool   // refused by the gateway, but kept
}

// Kept makes an entry the value of a [cache.LRU].
func (e *entry) Kept() (under *cache.Key, until cache.Instant) { return &e.Grant.key, e.expiry }

// kept makes what embeds it the value of a [cache.LRU].
type kept struct {
	key      cache.Key
	deadline cache.Instant
}

func (k *kept) Kept() (under *cache.Key, until cache.Instant) { return &k.key, k.deadline }

// gateway is that of a tenant. It is immutable.
type gateway struct {
	kept
	url *url.URL
}

// note is what is remembered of a subject besides its token: how its fetches
// failed, and when its token was rejected. It is immutable.
type note struct {
	kept
	err        error // of the last fetch; nil if it succeeded
	failures   int   // in a row
	restsUntil cache.Instant
	rejectedAt cache.Instant // when a rejected grant was last dropped
}

// stateOf is the state machine: what to do for a subject with this entry and this
// note (each may be nil).
func stateOf(e *entry, n *note, now cache.Instant) state {
	switch {
	case e == nil && n.rests(now):
		return resting
	case e == nil, !now.Before(e.expiry):
		return missing
	case e.rejected.Load() && !n.mayReject(now):
		return rejected
	case e.rejected.Load():
		return missing
	case now.Before(e.refreshAt):
		return fresh
	case now.Before(e.deadline):
		return due
	default:
		return buffered
	}
}

// rests reports whether it is too early for another fetch.
func (n *note) rests(now cache.Instant) bool {
	return n != nil && n.err != nil && now.Before(n.restsUntil)
}

// mayReject reports whether a rejected grant may be dropped now.
func (n *note) mayReject(now cache.Instant) bool {
	return n == nil || n.rejectedAt.IsZero() || now.Since(n.rejectedAt) >= rejectEvery
}

// until says how long n is worth remembering: as long as it rests or a rejection
// counts, and then as long again as the longest rest, so that the next failure
// continues the row.
func (n *note) until(now cache.Instant) cache.Instant {
	keep := rejectEvery
	if n.err != nil {
		keep = max(keep, now.Until(n.restsUntil)+2*maxRest)
	}
	return now.Add(keep)
}

// restAfter returns how long a subject rests after so many failures in a row, the
// last one being err.
func restAfter(err *Error, failures int, now cache.Instant) time.Duration {
	if !err.NextAttempt.IsZero() { // it comes from a Source beneath
		return clamp(err.NextAttempt.Sub(now.Time()), firstRest, maxAskedRest)
	}
	if err.RetryAfter > 0 {
		return clamp(err.RetryAfter, firstRest, maxAskedRest)
	}
	return min(firstRest<<min(failures-1, 8), maxRest)
}

// retryAfter returns how long to wait before attempt number attempt+1 of a fetch.
func retryAfter(err *Error, attempt int) time.Duration {
	backoff := firstBackoff << attempt
	return max(err.RetryAfter, backoff+jitter(backoff/2))
}

// refreshAt returns where in l the background renewal becomes due: at a random
// point in the first half of the refresh window, so that a fleet of programs that
// started together does not renew together.
func refreshAt(l cache.Lifetime) cache.Instant {
	usable := l.Usable()
	window := min(usable/refreshShare, maxRefresh)
	return l.Arrival.Add(usable - window + jitter(window/2))
}

// jitter returns a random duration from 0 to below d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

func clamp(d, lowest, highest time.Duration) time.Duration { return min(max(d, lowest), highest) }
