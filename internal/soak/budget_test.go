package soak_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/agwgo/agw/agwtest"
)

// A requestBudget finds a reason for each request to a service. The package documentation
// lists the reasons.
type requestBudget struct {
	key       func(agwtest.Request) string               // of what is asked for; "" if the request is not judged
	usefulFor func(lifetime time.Duration) time.Duration // how long, at least, a response makes others superfluous
	lifetimes *lifetimes                                 // of the tokens in the responses
	resets    *moments                                   // at which all responses were lost; nil for none

	perFetch    int        // most requests of a fetch for the same thing; 0: backoff is not judged
	endsBackoff []*moments // after which nobody has to back off

	mu     sync.Mutex
	last   map[string]*lastRequest
	counts requestCounts
}

// A lastRequest is the last one with its key.
type lastRequest struct {
	at          time.Time
	succeeded   bool
	usefulUntil time.Time   // before then, nobody had to ask again
	explained   map[int]int // how many requests each reset has explained

	failures     int       // in a row
	failingSince time.Time // when the first of them was sent
}

// requestCounts are the numbers of requests, by reason.
type requestCounts struct {
	total        int
	first        int // nothing was known
	afterFailure int // the last response was of no use
	renewal      int // the last response was getting old
	afterReset   int // all responses were lost
	unexplained  int // none of these: something else must have lost the response
	notJudged    int
	questions    int // after a 401, whether it was the user whom the Destination Service refused
	unauthorized int // of all of them: those with status 401
	tooSoon      int // of all of them: before the backoff after a failure was over
}

// add is for agwtest.Service.OnResponse.
func (b *requestBudget) add(r agwtest.Request) {
	key := b.key(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.total++
	if r.Status == http.StatusUnauthorized {
		b.counts.unauthorized++
	}
	if strings.Contains(r.RawQuery, "skipTokenRetrieval") {
		b.counts.questions++
		return
	}
	if key == "" {
		b.counts.notJudged++
		return
	}
	last := b.last[key]
	switch {
	case last == nil:
		b.counts.first++
		last = &lastRequest{}
		b.last[key] = last
	case !last.succeeded:
		b.counts.afterFailure++
	case !r.Time.Before(last.usefulUntil):
		b.counts.renewal++
	case b.resets != nil && b.resets.explain(last, r.Time):
		b.counts.afterReset++
	default:
		b.counts.unexplained++
	}
	if b.tooSoon(last, r.Time) {
		b.counts.tooSoon++
	}

	last.at, last.usefulUntil = r.Time, r.Time.Add(b.usefulFor(b.lifetimes.shortestSince(r.Time)))
	last.succeeded = r.Status == http.StatusOK && !r.Faulty
	switch {
	case r.Status == http.StatusOK: // perhaps a success in spite of the fault
		last.failures = 0
	case last.failures == 0:
		last.failures, last.failingSince = 1, r.Time
	default:
		last.failures++
	}
}

// tooSoon reports whether a request comes before the backoff after a failure is over: each
// fetch asks a few times, and then the subject backs off for 1 s, doubled with each further
// failed fetch up to 30 s.
func (b *requestBudget) tooSoon(last *lastRequest, at time.Time) bool {
	if b.perFetch == 0 || last.failures == 0 {
		return false
	}
	for _, moments := range b.endsBackoff {
		if moments.overlapping(last.failingSince, at, aftermath) > 0 {
			return false
		}
	}
	var backoff time.Duration
	for i := range last.failures / b.perFetch {
		backoff += min(time.Second<<min(i, 8), 30*time.Second)
	}
	return at.Sub(last.failingSince) < backoff
}

func (b *requestBudget) snapshot() requestCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

// String lists the counts.
func (c requestCounts) String() string {
	return fmt.Sprintf("%d requests: first %d, after a failure %d, renewal %d, after a reset %d, unexplained %d, not judged %d, questions %d; too soon %d, unauthorized %d",
		c.total, c.first, c.afterFailure, c.renewal, c.afterReset, c.unexplained, c.notJudged, c.questions, c.tooSoon, c.unauthorized)
}

// lifetimes are how long the tokens of an issuer live, in the order of the changes.
type lifetimes struct {
	mu      sync.Mutex
	changes []lifetimeChange
}

type lifetimeChange struct {
	since    time.Time
	lifetime time.Duration
}

// set changes the lifetime of the tokens to come.
func (l *lifetimes) set(issuer *agwtest.Issuer, lifetime time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, lifetimeChange{time.Now(), lifetime})
	issuer.SetLifetime(lifetime)
}

// shortestSince returns the shortest lifetime of the tokens that were issued since a moment.
func (l *lifetimes) shortestSince(since time.Time) (shortest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.changes) - 1; i >= 0; i-- {
		if c := l.changes[i]; shortest == 0 || c.lifetime < shortest {
			shortest = c.lifetime
		}
		if l.changes[i].since.Before(since) {
			break
		}
	}
	return shortest
}

// untilRenewal returns how long a token is used, at least, before it is renewed: 45 % of its
// usable life, which is its life without the expiry buffer, or half of the smaller of the
// two if that is more. A second of the life may be lost to rounding.
func untilRenewal(buffer time.Duration) func(time.Duration) time.Duration {
	return func(lifetime time.Duration) time.Duration {
		lifetime -= time.Second
		usable := max(lifetime-buffer, min(lifetime, buffer)/2)
		return usable*45/100 - time.Millisecond
	}
}

// fiveMinutes is how long the names of fragments are used.
func fiveMinutes(time.Duration) time.Duration { return 5 * time.Minute }

// Keys of requests. The host tells clients apart.

func userKey(r agwtest.Request) string {
	if isShortLived(r.User) {
		return ""
	}
	return fmt.Sprintf("host %s tenant %s user %s", r.Host, r.Tenant, r.User)
}

func tenantKey(r agwtest.Request) string { return "tenant " + r.Tenant }

func fragmentKey(r agwtest.Request) string {
	return fmt.Sprintf("host %s tenant %s query %s", r.Host, r.Tenant, r.RawQuery)
}
