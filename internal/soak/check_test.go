package soak_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
)

// hidden reports whether an attempt failed that the double takes for a success: the
// answer had the status 200, came too late, or held a token that had expired by then.
func hidden(err error) bool {
	var e *tokensource.Error
	if !errors.As(err, &e) || errors.Is(err, tokensource.ErrExpired) {
		return true
	}
	return e.URL != "" && (e.StatusCode == 0 || e.StatusCode == http.StatusOK)
}

// recovers checks that everything works again once all faults are gone. Rests are
// ended: of the tokens by the purge, of the service tokens by new credentials.
func (s *stack) recovers(ctx context.Context) {
	s.rotate()
	s.purge()
	for _, tenant := range s.tenants {
		for _, user := range []string{"", "u000"} {
			who := subject{tenant: tenant, user: user}
			if user != "" {
				who.jwt = s.people.token(who)
			}
			if !s.serves(ctx, who) {
				s.ledger.violate("%s: no success although all faults are gone", who.fingerprint())
			}
		}
	}
}

// serves reports whether a call for who succeeds, at the third attempt if this machine
// is slow.
func (s *stack) serves(ctx context.Context, who subject) bool {
	before := s.ledger.of("calls", "ok")
	for range 3 {
		s.do(ctx, &call{who: who, target: path, patient: 10 * fetchTimeout})
		if s.ledger.of("calls", "ok") > before {
			return true
		}
		s.purge()
	}
	return false
}

// check compares all that was counted.
func (s *stack) check(t *testing.T) {
	s.checkStats()
	s.checkBudgets(t)
	s.checkRejections()
	counts := s.srv.Counts()
	if counts.Leaked != 0 || counts.Foreign != 0 {
		s.ledger.violate("the foreign host got %d requests, %d with a token", counts.Foreign, counts.Leaked)
	}
	s.ledger.fail(t, s.name)
}

// checkStats compares the counters of the library with what was seen from outside.
func (s *stack) checkStats() {
	now := s.checkBounds(tokensource.Stats{})
	asked, low := int64(now.Hits+now.Misses), s.grants.Load()
	if high := low + s.unsure.Load(); asked < low || asked > high {
		s.ledger.violate("%d hits and misses, but the source was asked %d to %d times", asked, low, high)
	}
	main := s.flowEvent
	for _, c := range []struct {
		name   string
		counts uint64
		events int
	}{
		{"fetches", now.Fetches, main(tokensource.EventFetchStart)},
		{"fetches that ended", now.Fetches, main(tokensource.EventFetchEnd)},
		{"retries", now.Retries, main(tokensource.EventRetry)},
		{"shared", now.Shared, main(tokensource.EventShare)},
		{"evictions", now.Evictions, main(tokensource.EventEvict)},
		{"rejections", now.Rejections, main(tokensource.EventReject)},
		{"rotations", now.Rotations, main(tokensource.EventRotate)},
	} {
		if int(c.counts) != c.events {
			s.ledger.violate("%s: %d counted, %d events", c.name, c.counts, c.events)
		}
	}
	switch {
	case s.started() != s.ended():
		s.ledger.violate("%d fetches began, %d ended", s.started(), s.ended())
	case now.InFlight != 0:
		s.ledger.violate("%d fetches are under way for ever", now.InFlight)
	case int(now.Rotations) > s.sweeps.rotations():
		s.ledger.violate("%d changes of credentials seen, but there were %d", now.Rotations, s.sweeps.rotations())
	case s.bodies.open.Load() != 0:
		s.ledger.violate("%d bodies were not closed", s.bodies.open.Load())
	}
}

// flowEvent returns how many events of a kind the main flow had.
func (s *stack) flowEvent(kind tokensource.EventKind) int {
	return s.ledger.of("events", "customer "+string(kind)) + s.ledger.of("events", "lob "+string(kind))
}

// checkBudgets checks that there were no more requests for tokens than there had to
// be. The package documentation has the formula.
func (s *stack) checkBudgets(t *testing.T) {
	for _, sv := range s.services {
		got, excuses := sv.budget.snapshot(), s.excuses(sv.name)
		t.Logf("%s: %s: %d requests: first %d, after a failure %d, aged %d, swept %d, not counted %d, early %d of %d, hasty %d",
			s.name, sv.name, got.total, got.first, got.failed, got.aged, got.swept, got.other, got.early, excuses, got.hasty)
		if got.early > excuses {
			s.ledger.violate("%d requests to %s came early, but only %d could: %+v", got.early, sv.name, excuses, got)
		}
		if most := int(s.forgets.Load()); got.hasty > most {
			s.ledger.violate("%d requests to %s came before the rest after a failure was over, but only %d could", got.hasty, sv.name, most)
		}
		if most := maxForBrief * int(s.briefCalls.Load()); got.other > most {
			s.ledger.violate("%d requests to %s for users whose JWT ends soon, but %d could be", got.other, sv.name, most)
		}
	}
}

// checkRejections checks that no subject lost more tokens to the gateway than one in
// 10 s, but for those times when that was forgotten.
func (s *stack) checkRejections() {
	most := 1 + int(time.Since(s.began)/(10*time.Second)) + s.sweeps.n() + int(s.forgets.Load())
	if got := s.rejections.most(); got > most {
		s.ledger.violate("a subject lost %d tokens to the gateway, but only %d could be", got, most)
	}
}

// rejections count how often a subject lost a token to the gateway.
type rejections struct {
	mu sync.Mutex
	of map[string]int
}

func (r *rejections) add(subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]int{}
	}
	r.of[subject]++
}

// most returns how often the one who lost most did.
func (r *rejections) most() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.of {
		n = max(n, m)
	}
	return n
}

// maxForBrief is how many requests a call for such a user can cause: two tokens, as the
// first one may be refused; three attempts for each; and each with another service
// token, as that may be refused, too.
const maxForBrief = 12

// excuses returns how many requests to a service may come early, beyond those that
// followed a sweep: so often a token was taken away, or did not come through.
func (s *stack) excuses(name string) int {
	switch name {
	case agwtest.ServiceAuth:
		return s.ledger.of("events", serviceFlow+" "+string(tokensource.EventReject)) + s.ledger.of("events", serviceFlow+" hidden")
	case agwtest.ServiceFragments:
		return s.ledger.of("events", "lob hidden")
	}
	stats := s.source.Stats()
	return int(stats.Evictions+stats.Rejections) + int(s.forgets.Load()) +
		s.ledger.of("events", "customer hidden") + s.ledger.of("events", "lob hidden")
}
