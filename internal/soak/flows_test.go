package soak_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// stacks returns both flows as agw.New wires them, and both put together by hand
// around a clock that goes wrong.
func stacks(t *testing.T, seed uint64) []*stack {
	return []*stack{customerStack(t, seed), lobStack(t, seed), wallsStack(t, seed), suspendsStack(t, seed)}
}

// fetchTimeout is short, so that services that hang do not end all traffic.
const fetchTimeout = 4 * time.Second

var (
	large = cache.Settings{ExpiryBuffer: time.Second, FetchTimeout: fetchTimeout} // 32 and 256 tokens
	small = cache.Settings{FetchTimeout: fetchTimeout, MaxSystemTokens: 4, MaxUserTokens: 32, MaxGatewayURLs: 4}
)

// customerStack is the customer flow: one tenant, more users than the cache holds,
// tokens that tell when they expire.
func customerStack(t *testing.T, seed uint64) *stack {
	s := newStack(t, seed, 1, spec{name: "customer", tenants: []string{""}, users: 400, workers: 80, longest: 20, settings: large})
	s.asCustomer(t)
	s.srv.Tokens.SetField("expires_at", func(expiry time.Time) any { return float64(expiry.UnixMicro()) / 1e6 })
	s.wire(t, agw.Config{Flow: agw.Customer, ServiceTransport: s.srv.Transport()})
	return s
}

// lobStack is the LoB flow: fifty tenants of a hundred users each.
func lobStack(t *testing.T, seed uint64) *stack {
	s := newStack(t, seed, 2, spec{name: "lob", tenants: numbered(50), users: 100, workers: 80, longest: 20, settings: large})
	s.asLoB(t)
	s.wire(t, agw.Config{Flow: agw.LoB, ServiceTransport: trackingTransport{s.srv.Transport(), s.bodies, s.ledger}})
	return s
}

// wallsStack is the customer flow on a machine whose wall clock is put forward and
// back by hours. Tokens tell how long they live: with such a clock nobody could tell
// when a moment is.
func wallsStack(t *testing.T, seed uint64) *stack {
	s := newStack(t, seed, 3, spec{name: "customer, clock stepped", tenants: []string{""}, users: 60, workers: 20, longest: 6, settings: small})
	s.asCustomer(t)
	s.clock, s.briefs, s.rules.relative = newClock(), false, true
	creds, err := customer.Load()
	if err != nil {
		t.Fatal(err)
	}
	flow, err := customer.NewFlow(creds, &customer.Options{RootCAs: s.srv.RootCAs(), Base: s.srv.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	s.build(t, flow)
	return s
}

// suspendsStack is the LoB flow on a machine that is suspended now and then: its
// monotonic clock stands still.
func suspendsStack(t *testing.T, seed uint64) *stack {
	s := newStack(t, seed, 4, spec{name: "lob, suspended", tenants: numbered(6), users: 20, workers: 20, longest: 6, settings: small})
	s.asLoB(t)
	s.clock = newClock()
	creds, err := lob.Load()
	if err != nil {
		t.Fatal(err)
	}
	flow, err := lob.NewFlow(creds, &lob.Options{
		RootCAs: s.srv.RootCAs(), Base: trackingTransport{s.srv.Transport(), s.bodies, s.ledger},
		Settings: s.settings, OnEvent: s.onEvent, Clock: s.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.build(t, flow)
	return s
}

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("t%02d", i)
	}
	return names
}

// asCustomer sets the double up for the customer flow.
func (s *stack) asCustomer(t *testing.T) {
	t.Helper()
	s.fixedGateway, s.write = true, s.srv.WriteBinding
	s.rules.tenant = func(string) string { return "provider" }
	s.watch("token", s.srv.Tokens.Service, s.srv.Tokens, byUser, leastUse(s.settings.ExpiryBuffer)).budget.perFetch = 3
	s.mount(t)
}

// asLoB sets the double up for the LoB flow. Its tokens tell their expiry in their
// claims.
func (s *stack) asLoB(t *testing.T) {
	t.Helper()
	t.Setenv("APPFND_CONHOS_LANDSCAPE", s.srv.LoBEnv()["APPFND_CONHOS_LANDSCAPE"])
	s.manyTenants, s.write = true, s.srv.WriteDestinationBinding
	s.srv.Destinations.SetField("expires_in", nil)
	use := leastUse(s.settings.ExpiryBuffer)
	auth := s.watch("auth", s.srv.Auth.Service, s.srv.Auth, byTenant, use).budget
	auth.rotationsOnly, auth.perFetch = true, 3
	fragments := s.watch("fragments", s.srv.Fragments, nil, byLabel, always).budget
	fragments.rotationsOnly = true // and each user of a tenant asks for them
	destination := s.watch("destination", s.srv.Destinations.Service, s.srv.Destinations, byUser, use).budget
	destination.perFetch = 2 * 3 // each with another service token, if that is refused
	s.mount(t)
}

func (s *stack) mount(t *testing.T) {
	t.Helper()
	if err := s.write(s.root); err != nil {
		t.Fatal(err)
	}
}

// wire puts the stack together with agw.New.
func (s *stack) wire(t *testing.T, cfg agw.Config) {
	t.Helper()
	cfg.RootCAs, cfg.Settings, cfg.OnEvent = s.srv.RootCAs(), s.settings, s.onEvent
	cfg.Transport = transport.Options{Base: s.tap}
	gw, err := agw.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.tap.rules = s.rules
	s.source, s.client, s.clientFor = gw.Source(), gw.Client(), gw.ClientFor
}

// build puts the stack together by hand.
func (s *stack) build(t *testing.T, flow tokensource.Flow) {
	t.Helper()
	src, err := tokensource.New(flow, tokensource.Options{Settings: s.settings, OnEvent: s.onEvent, Clock: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	s.tap.rules = s.rules
	s.use(src)
}
