package soak_test

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// spec says what a stack is to be like.
type spec struct {
	name     string
	tenants  []string // as calls name them
	users    int      // in each of them
	workers  int
	longest  int // life of tokens, in seconds
	settings cache.Settings
}

// A stack is the library under test, on top of a double of its own.
type stack struct {
	spec
	began  time.Time
	srv    *agwtest.Server
	dice   *dice
	people *people
	briefs bool   // there may be users whose own JWT ends soon
	root   string // of the mounted credentials
	write  func(root string) error
	clock  *clock // nil if it is the true one

	source       *tokensource.Source
	client       *http.Client
	clientFor    func(tokensource.Subject) *http.Client
	fixedGateway bool // the gateway is known before there is a token
	manyTenants  bool
	rules        rules

	ledger        *ledger
	bodies        *bodies
	tap           *wiretap
	gatewayFaults []gatewayFault
	services      []*service

	grants, unsure atomic.Int64 // how often the source was asked; and how often more it may have been
	forgets        atomic.Int64 // how many subjects were forgotten
	briefCalls     atomic.Int64 // how many there were for users whose own JWT ends soon
	sweeps         sweeps
	rejections     rejections
}

// A service is one that the library asks for tokens, or on the way to them.
type service struct {
	name string
	*agwtest.Service
	issuer  *agwtest.Issuer // nil if it issues none
	lives   *lives
	weather *weather
	budget  *budget
}

// newStack brings up a double and all that surrounds the library. What is left is to
// put the library in between: see the functions that call it.
func newStack(t *testing.T, seed uint64, stream int, sp spec) *stack {
	t.Helper()
	const elsewhere = "elsewhere" // a tenant whose gateway nobody is to be sent to
	second := []string{elsewhere}
	for i := 1; i < len(sp.tenants); i += 2 {
		second = append(second, sp.tenants[i])
	}
	srv, err := agwtest.Start(agwtest.Options{KeepRequests: -1, SecondGateway: second})
	if err != nil {
		t.Fatal(err)
	}
	if sp.settings, err = sp.settings.WithDefaults(); err != nil {
		srv.Close()
		t.Fatal(err)
	}
	s := &stack{
		spec: sp, began: time.Now(), srv: srv, dice: newDice(seed, stream), root: t.TempDir(), briefs: true,
		people: newPeople(srv, sp.tenants, sp.users), ledger: newLedger(), bodies: &bodies{},
		gatewayFaults: gatewayFaults(srv.ForeignURL()),
	}
	s.rules = rules{
		origin: func(tenant string) string { return srv.TenantGatewayURL(tenant) },
		tenant: func(tenant string) string { return tenant },
	}
	t.Cleanup(func() { s.end() })
	srv.Gateway.OnRequest(decideByHeader(s.gatewayFaults, s.ledger))
	s.tap = &wiretap{
		base: srv.Transport(), ledger: s.ledger, bodies: s.bodies, seen: newSightings(),
		forgotten: &forgotten{srv: srv, some: map[string]mark{}},
	}
	t.Setenv("SERVICE_BINDING_ROOT", s.root)
	return s
}

// end closes the double and lets go of everything but the source, which it returns:
// its hook leads back here.
func (s *stack) end() *tokensource.Source {
	src := s.source
	if s.srv != nil {
		s.srv.Close()
	}
	*s = stack{}
	return src
}

// strangers are origins that no token of the gateway at own may go to.
func (s *stack) strangers(own string) []string {
	u, _ := url.Parse(own)
	others := []string{s.srv.ForeignURL(), "http://" + u.Host}
	for _, gateway := range []string{s.srv.TenantGatewayURL(""), s.srv.TenantGatewayURL("elsewhere")} {
		if gateway != own {
			others = append(others, gateway)
		}
	}
	return others
}

// watch keeps an eye on a service, and has things go wrong there.
func (s *stack) watch(name string, of *agwtest.Service, issuer *agwtest.Issuer, key func(agwtest.Request) string, least rule) *service {
	sv := &service{name: name, Service: of, issuer: issuer, lives: &lives{}}
	sv.budget = &budget{key: key, least: least, lives: sv.lives, sweeps: &s.sweeps, last: map[string]asked{}}
	sv.weather = &weather{dice: s.dice, ledger: s.ledger}
	of.OnRequest(sv.weather.decide)
	of.OnAnswer(sv.budget.see)
	if issuer != nil {
		sv.lives.set(issuer, s.dice.seconds(2, s.longest))
	}
	s.services = append(s.services, sv)
	return sv
}

// onEvent counts the events of the library, and those attempts that failed without
// the double knowing: an answer of status 200 that was of no use, or came too late.
func (s *stack) onEvent(ev tokensource.Event) {
	s.ledger.count("events", ev.Flow+" "+string(ev.Kind))
	switch ev.Kind {
	case tokensource.EventRotate:
		s.tap.forgotten.before(s.sweeps.happened())
	case tokensource.EventReject:
		s.rejections.add(ev.Flow + " " + ev.Subject)
	}
	if ev.Err == nil {
		return
	}
	if hidden(ev.Err) {
		s.ledger.count("events", ev.Flow+" hidden")
	}
	if s.secretIn(ev.Err.Error()) {
		s.ledger.violate("%s: a secret in the error of an event (%s)", ev.Subject, ev.Kind)
	}
}

// use takes a source that was put together by hand.
func (s *stack) use(src *tokensource.Source) {
	opts := &transport.Options{Base: s.tap}
	s.source, s.client = src, transport.New(src, opts).Client()
	s.clientFor = func(who tokensource.Subject) *http.Client { return transport.New(src.For(who), opts).Client() }
}
