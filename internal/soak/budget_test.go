package soak_test

import (
	"net/http"
	"sync"
	"time"

	"github.com/agwgo/agw/agwtest"
)

// serviceFlow is the flow that events about service tokens name.
const serviceFlow = "lob-service"

// A rule says for how long an answer is at least of use if tokens live that long.
type rule func(life time.Duration) time.Duration

// A budget watches the requests to one service and says of each why it had to be.
type budget struct {
	key           func(agwtest.Request) string // what is asked for; "" if it does not matter here
	least         rule
	lives         *lives
	sweeps        *sweeps
	rotationsOnly bool // only they matter
	perFetch      int  // how often a fetch may ask for the same; 0 if there is no telling

	mu    sync.Mutex
	last  map[string]asked
	tally tally
}

// asked is the last request of its kind.
type asked struct {
	at    time.Time
	until time.Time // before which nobody had to ask again
	ok    bool
	sweep int // the number of the newest sweep that was an excuse, from 1
	swept int // of how many requests

	failures int       // in a row
	since    time.Time // when the first of them was asked for
}

// tally is how many requests there were, for each reason.
type tally struct {
	total  int // all
	first  int // nothing was known
	failed int // the answer before was of no use
	aged   int // the answer before was getting old
	swept  int // all tokens had gone
	early  int // none of these: something else must have taken the answer away
	hasty  int // of all those: before the rest after a failure was over
	other  int // what does not count here
}

// see is for agwtest.Service.OnAnswer.
func (b *budget) see(r agwtest.Request) {
	key := b.key(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tally.total++
	if key == "" {
		b.tally.other++
		return
	}
	last, known := b.last[key]
	*b.reason(&last, known, r.Time)++
	if b.hasty(last, r.Time) {
		b.tally.hasty++
	}
	b.last[key] = last.next(r, b.least(b.lives.shortest(r.Time)))
}

// reason returns what a request after the last one counts as.
func (b *budget) reason(last *asked, known bool, at time.Time) *int {
	switch {
	case !known:
		return &b.tally.first
	case !last.ok:
		return &b.tally.failed
	case !at.Before(last.until):
		return &b.tally.aged
	case b.sweeps.excuse(last, at, b.rotationsOnly):
		return &b.tally.swept
	default:
		return &b.tally.early
	}
}

// next returns what is remembered of r, whose answer is of use for that long.
func (a asked) next(r agwtest.Request, use time.Duration) asked {
	a.at, a.until = r.Time, r.Time.Add(use)
	a.ok = r.Status == http.StatusOK && !r.Faulty
	switch {
	case r.Status == http.StatusOK: // perhaps a success after all
		a.failures = 0
	case a.failures == 0:
		a.failures, a.since = 1, r.Time
	default:
		a.failures++
	}
	return a
}

// hasty reports whether a request comes before it may, after so many failures. Each
// fetch asks a few times, and then there is a rest of 1 s, doubled with each further
// one up to 30 s.
func (b *budget) hasty(last asked, at time.Time) bool {
	if b.perFetch == 0 || last.failures == 0 || b.sweeps.between(last.since, at, b.rotationsOnly) {
		return false
	}
	var rests time.Duration
	for i := range last.failures / b.perFetch {
		rests += min(time.Second<<min(i, 8), 30*time.Second)
	}
	return at.Sub(last.since) < rests
}

func (b *budget) snapshot() tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tally
}

// lives is how long the tokens of an issuer live, as it changes.
type lives struct {
	mu      sync.Mutex
	history []life
}

type life struct {
	since time.Time
	d     time.Duration
}

// set changes the life of the tokens to come.
func (l *lives) set(issuer *agwtest.Issuer, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, life{time.Now(), d})
	issuer.SetLifetime(d)
}

// shortest returns the shortest life of a token that was issued since a moment.
func (l *lives) shortest(since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var least time.Duration
	for i := len(l.history) - 1; i >= 0; i-- {
		if d := l.history[i].d; least == 0 || d < least {
			least = d
		}
		if l.history[i].since.Before(since) {
			break
		}
	}
	return least
}

// leastUse returns the rule by which a token is not renewed before four fifths of its
// usable life: that is its life without the expiry buffer, or half of either if that
// leaves too little. Of the life, a second may be lost to rounding.
func leastUse(buffer time.Duration) rule {
	return func(life time.Duration) time.Duration {
		life -= time.Second
		usable := max(life-buffer, min(life, buffer)/2)
		return usable*4/5 - time.Millisecond
	}
}

// always is the rule for what is kept for five minutes.
func always(time.Duration) time.Duration { return 5 * time.Minute }

// Kinds of requests.

func byUser(r agwtest.Request) string {
	switch {
	case r.Path != "/oauth2/token" && r.RawQuery != "", isBrief(r.User):
		return ""
	case r.Service == agwtest.ServiceToken:
		return "user " + r.User
	default:
		return "tenant " + r.Tenant + " user " + r.User
	}
}

func byTenant(r agwtest.Request) string { return "tenant " + r.Tenant }

func byLabel(r agwtest.Request) string { return r.Tenant + " " + r.RawQuery }
