package soak_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/internal/flight"
	"github.com/agwgo/agw/tokensource"
)

// serviceTokenFlow is the flow that events about service tokens name.
const serviceTokenFlow = "lob-service"

// maxPerShortLivedCall is how many requests to a service a call for a short-lived user can
// cause: two tokens, as the first one may be rejected; three attempts for each; and each
// with another service token, as that may be refused, too.
const maxPerShortLivedCall = 12

// unnoticed is the kind of events that have such an error.
const unnoticed = "success unnoticed"

// succeededUnnoticed reports whether an attempt failed that the double takes for a success:
// the response had status 200, came too late, or held a token that had expired by then.
func succeededUnnoticed(err error) bool {
	var e *tokensource.Error
	switch {
	case !errors.As(err, &e):
		return err == flight.ErrTimeout
	case errors.Is(err, tokensource.ErrExpired), e.Err == flight.ErrTimeout && e.Op == "fetch token":
		return true
	}
	return e.URL != "" && (e.StatusCode == 0 || e.StatusCode == http.StatusOK)
}

// checkRecovery checks that everything works again once all faults are gone. Every backoff
// is ended: that of tokens by the purge, that of service tokens by another client.
func (s *stack) checkRecovery(ctx context.Context) {
	s.replaceClient()
	s.purge()
	contexts := newContextSet(ctx)
	for _, tenant := range s.tenants {
		for _, who := range []subject{{tenant: tenant}, s.subjects.user(tenant, userName(0))} {
			if !s.succeeds(contexts, who) {
				s.results.violation("%s: no call succeeds although all faults are gone", who.fingerprint())
			}
		}
	}
}

// succeeds reports whether a call for a subject succeeds, the third one at the latest if
// this machine is slow.
func (s *stack) succeeds(contexts *contextSet, who subject) bool {
	before := s.results.of("calls", "ok")
	for range 3 {
		s.perform(contexts, &call{who: who, target: path, relative: true, timeout: 10 * fetchTimeout})
		if s.results.of("calls", "ok") > before {
			return true
		}
		s.purge()
	}
	return false
}

// check checks everything that was counted.
func (s *stack) check(t *testing.T) {
	s.checkStats()
	s.checkBudgets(t)
	s.checkRejections()
	counts := s.srv.Counts()
	if counts.Leaked != 0 || counts.Foreign != 0 {
		s.results.violation("the foreign host got %d requests, %d of them with a token; want none", counts.Foreign, counts.Leaked)
	}
	s.results.report(t, s.name)
}

// checkStats compares the counters of the library with what was seen from outside.
func (s *stack) checkStats() {
	now := s.checkBounds(tokensource.Stats{})
	if calls, asked := int64(now.Hits+now.Misses), s.tokensAsked.Load(); calls != asked {
		s.results.violation("%d hits and misses, but the source was asked for a token %d times", calls, asked)
	}
	for _, c := range []struct {
		name    string
		counter uint64
		kind    tokensource.EventKind
	}{
		{"fetches", now.Fetches, tokensource.EventFetchStart},
		{"fetches that ended", now.Fetches, tokensource.EventFetchEnd},
		{"retries", now.Retries, tokensource.EventRetry},
		{"shared fetches", now.Shared, tokensource.EventShare},
		{"evictions", now.Evictions, tokensource.EventEvict},
		{"rejections", now.Rejections, tokensource.EventReject},
		{"rotations", now.Rotations, tokensource.EventRotate},
	} {
		if events := s.events(s.flow, string(c.kind)); int(c.counter) != events {
			s.results.violation("%s: the counter says %d, but there were %d events", c.name, c.counter, events)
		}
	}
	switch {
	case s.fetchesStarted() != s.fetchesEnded():
		s.results.violation("%d fetches began, but %d ended", s.fetchesStarted(), s.fetchesEnded())
	case now.Panics != 0:
		s.results.violation("%d panics of the event hook", now.Panics)
	case now.InFlight != 0:
		s.results.violation("%d fetches never end", now.InFlight)
	case int(now.Rotations) > s.clientChanges.count():
		s.results.violation("%d rotations, but the client was replaced only %d times (a renewed certificate or secret is not a rotation)", now.Rotations, s.clientChanges.count())
	case s.bodies.open.Load() != 0:
		s.results.violation("%d bodies were not closed", s.bodies.open.Load())
	}
}

// events returns the number of events of a kind.
func (s *stack) events(flow, kind string) int { return s.results.of("events", flow+" "+kind) }

// checkBudgets checks that there were no more requests to services than there had to be.
// The package documentation has the formula.
func (s *stack) checkBudgets(t *testing.T) {
	for _, sv := range s.services {
		got, allowed := sv.budget.snapshot(), s.mayBeUnexplained(sv.name)
		t.Logf("%s: %s: %v; may be unexplained: %d", s.name, sv.name, got, allowed)
		if got.unexplained > allowed {
			s.results.violation("%d requests to %s are unexplained, want at most %d: %v", got.unexplained, sv.name, allowed, got)
		}
		if most := s.forgets.sum(); got.tooSoon > most {
			s.results.violation("%d requests to %s came before the backoff after a failure was over, want at most %d: %v", got.tooSoon, sv.name, most, got)
		}
		if got.questions > got.unauthorized {
			s.results.violation("%d questions to %s whether the user was refused, want at most one for each status 401, of which there were %d", got.questions, sv.name, got.unauthorized)
		}
		if most := maxPerShortLivedCall * int(s.shortLivedCalls.Load()); got.notJudged > most {
			s.results.violation("%d requests to %s for users whose JWT ends soon, want at most %d", got.notJudged, sv.name, most)
		}
	}
}

// mayBeUnexplained returns how many requests to a service may have no reason of their own:
// so often the library dropped what it had, or did not get what the service had sent.
func (s *stack) mayBeUnexplained(name string) int {
	switch name {
	case agwtest.ServiceAuth:
		return s.events(serviceTokenFlow, string(tokensource.EventReject)) + s.events(serviceTokenFlow, unnoticed) + s.repetitions.of(serviceTokenFlow)
	case agwtest.ServiceFragments:
		return s.events(s.flow, unnoticed)
	}
	stats := s.source.Stats()
	return int(stats.Evictions+stats.Rejections) + s.forgets.sum() + s.events(s.flow, unnoticed) + s.repetitions.of(s.flow)
}

// checkRejections checks that no subject lost more tokens to a gateway that rejects them
// than one in 10 s, except where the library was told to forget the last one.
func (s *stack) checkRejections() {
	most := 1 + int(time.Since(s.began)/(10*time.Second)) + s.purges.count()
	for subject, got := range s.rejections.all() {
		if most := most + s.forgets.of(subject); got > most {
			s.results.violation("%s: %d tokens were lost to the gateway, want at most %d", subject, got, most)
		}
	}
}

// A tally counts by key.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (t *tally) add(key string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]int{}
	}
	t.n[key] += n
}

func (t *tally) of(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[key]
}

// all returns a copy of all counts.
func (t *tally) all() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.n)
}

func (t *tally) sum() (sum int) {
	for _, n := range t.all() {
		sum += n
	}
	return sum
}
