package soak_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// A stack is the library under test, with a double of its own.
type stack struct {
	stackConfig
	began    time.Time
	srv      *agwtest.Server
	random   *random
	subjects *subjects
	root     string                 // of the mounted credentials
	mount    func(client int) error // mounts those of a client
	clients  *clients

	source    *tokensource.Source
	client    *http.Client
	clientFor func(tokensource.Subject) *http.Client

	rules         rules
	checker       *checkingTransport
	bodies        *bodies
	results       *results
	gatewayFaults []gatewayFault
	services      []*service

	purges, clientChanges, renewals moments // purges include steps of the clock

	tokensAsked         atomic.Int64 // how often the source was asked for a token
	shortLivedCalls     atomic.Int64 // calls for users whose own JWT ends soon
	forgets, rejections tally        // calls of Forget, and tokens lost to the gateway, by subject
	repetitions         tally        // at most so often a fetch had to ask again because other credentials came into force, by flow
}

// A stackConfig says what a stack is like.
type stackConfig struct {
	name     string
	flow     string   // "customer" or "lob"
	tenants  []string // as calls name them
	users    int      // in each tenant
	workers  int
	longest  int    // lifetime of tokens, in seconds
	clock    *clock // of the main source; nil means the true one
	settings tokensource.Settings
}

// A service is one that the library asks for tokens, or on the way to them.
type service struct {
	name   string
	handle *agwtest.Service
	issuer *agwtest.Issuer // nil if it issues no tokens
	outage *outage
	budget *requestBudget
}

// fetchTimeout is short, so that services that hang do not end all traffic.
const fetchTimeout = 4 * time.Second

// newStacks starts all stacks. The package documentation describes them.
func newStacks(t *testing.T, seed uint64) []*stack {
	large := tokensource.Settings{ExpiryBuffer: time.Second, FetchTimeout: fetchTimeout} // 32 and 256 tokens
	small := tokensource.Settings{FetchTimeout: fetchTimeout, MaxSystemTokens: 4, MaxUserTokens: 32, MaxGatewayURLs: 4}
	var all []*stack
	for i, cfg := range []stackConfig{
		{name: "customer", flow: "customer", tenants: []string{""}, users: 400, workers: 80, longest: 20, settings: large},
		{name: "lob", flow: "lob", tenants: tenantNames(50), users: 100, workers: 80, longest: 20, settings: large},
		{name: "customer, clock stepped", flow: "customer", tenants: []string{""}, users: 60, workers: 20, longest: 6, settings: small, clock: newClock()},
		{name: "lob, suspended", flow: "lob", tenants: tenantNames(6), users: 20, workers: 20, longest: 6, settings: small, clock: newClock()},
	} {
		all = append(all, newStack(t, newRandom(seed, i+1), cfg))
	}
	return all
}

func tenantNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("t%02d", i)
	}
	return names
}

// elsewhere is a tenant whose gateway nobody is to be sent to.
const elsewhere = "elsewhere"

func newStack(t *testing.T, r *random, cfg stackConfig) *stack {
	t.Helper()
	second := []string{elsewhere}
	for i := 1; i < len(cfg.tenants); i += 2 {
		second = append(second, cfg.tenants[i])
	}
	srv, err := agwtest.Start(agwtest.Options{KeepRequests: -1, SecondGateway: second})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.settings, err = cfg.settings.WithDefaults(); err != nil {
		srv.Close()
		t.Fatal(err)
	}
	s := &stack{
		stackConfig: cfg, began: time.Now(), srv: srv, random: r, root: t.TempDir(),
		subjects: &subjects{srv: srv, tenants: cfg.tenants, users: cfg.users, jwts: map[subject]string{}},
		clients:  &clients{}, bodies: &bodies{}, results: newResults(), gatewayFaults: gatewayFaults(srv.ForeignURL()),
		rules: rules{origin: srv.TenantGatewayURL, tenant: func(tenant string) string { return tenant }},
	}
	t.Cleanup(func() { s.end() })
	srv.Gateway.OnRequest(faultByHeader(s.gatewayFaults, s.results))
	t.Setenv("SERVICE_BINDING_ROOT", s.root)
	var load func() (flows.Credentials, error)
	if cfg.flow == "customer" {
		load = s.setUpCustomer()
	} else {
		t.Setenv("APPFND_CONHOS_LANDSCAPE", srv.LoBEnv()["APPFND_CONHOS_LANDSCAPE"])
		load = s.setUpLoB()
	}
	if err := s.mount(s.clients.add(0)); err != nil {
		t.Fatal(err)
	}
	credentials, err := load()
	if err != nil {
		t.Fatal(err)
	}
	s.checker = &checkingTransport{base: srv.Transport(), results: s.results, bodies: s.bodies, rules: s.rules, clients: s.clients}
	gw, err := agw.New(agw.Config{
		Credentials: observedCredentials{credentials, s}, Settings: s.settings, OnEvent: s.onEvent,
		Transport: s.checker, ServiceTransport: s.serviceTransport(), RootCAs: srv.RootCAs(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.source, s.client, s.clientFor = gw.Source(), gw.Client(), gw.ClientFor
	return s
}

// setUpCustomer sets the stack up for the customer flow. A token response says when the
// token expires; but for the stepped clock, by which nobody can tell when a time is, it
// says how long the token lives.
func (s *stack) setUpCustomer() (load func() (flows.Credentials, error)) {
	s.mount = s.mountCustomer
	s.rules.tenant = func(string) string { return "provider" }
	s.rules.clientPaths = true
	if s.rules.relative = s.clock != nil; !s.rules.relative {
		s.srv.Tokens.SetField("expires_at", func(expiry time.Time) any { return float64(expiry.UnixMicro()) / 1e6 })
	}
	s.addService("token", s.srv.Tokens.Service, s.srv.Tokens, &requestBudget{
		key: userKey, usefulFor: untilRenewal(s.settings.ExpiryBuffer), resets: &s.purges,
		perFetch: 3, endsBackoff: []*moments{&s.renewals, &s.purges},
	})
	return func() (flows.Credentials, error) { return customer.Load() }
}

// setUpLoB sets the stack up for the LoB flow. Access tokens tell their expiry in their
// claims.
func (s *stack) setUpLoB() (load func() (flows.Credentials, error)) {
	s.mount = s.mountLoB
	s.srv.Destinations.SetField("expires_in", nil)
	use := untilRenewal(s.settings.ExpiryBuffer)
	s.addService(agwtest.ServiceAuth, s.srv.Auth.Service, s.srv.Auth, &requestBudget{
		key: tenantKey, usefulFor: use, resets: &s.clientChanges,
		perFetch: 3, endsBackoff: []*moments{&s.renewals, &s.clientChanges},
	})
	s.addService(agwtest.ServiceFragments, s.srv.Fragments, nil, &requestBudget{
		key: fragmentKey, usefulFor: fiveMinutes, // each user of a tenant needs them, so backoff is not judged
	})
	s.addService(agwtest.ServiceDestination, s.srv.Destinations.Service, s.srv.Destinations, &requestBudget{
		key: userKey, usefulFor: use, resets: &s.purges,
		perFetch: 2 * 3, endsBackoff: []*moments{&s.renewals, &s.purges}, // a fetch may ask with two service tokens
	})
	return func() (flows.Credentials, error) { return lob.Load() }
}

// addService adds a service, in which things can go wrong and whose requests are judged.
func (s *stack) addService(name string, handle *agwtest.Service, issuer *agwtest.Issuer, budget *requestBudget) {
	budget.lifetimes, budget.last = &lifetimes{}, map[string]*lastRequest{}
	sv := &service{name: name, handle: handle, issuer: issuer, budget: budget, outage: &outage{random: s.random, results: s.results}}
	handle.OnRequest(sv.outage.decide)
	handle.OnResponse(sv.budget.add)
	if issuer != nil {
		budget.lifetimes.set(issuer, s.random.seconds(2, s.longest))
	}
	s.services = append(s.services, sv)
}

// serviceTransport returns the transport for the token services. That of the customer flow
// must be an http.Transport, which can be given a client certificate.
func (s *stack) serviceTransport() http.RoundTripper {
	if s.flow == "customer" {
		return s.srv.Transport()
	}
	return trackingTransport{s.srv.Transport(), s.bodies, s.results}
}

// foreignOrigins returns origins that no token of the gateway at own may go to.
func (s *stack) foreignOrigins(own string) []string {
	u, _ := url.Parse(own)
	foreign := []string{s.srv.ForeignURL(), "http://" + u.Host}
	for _, gateway := range []string{s.srv.TenantGatewayURL(""), s.srv.TenantGatewayURL(elsewhere)} {
		if gateway != own {
			foreign = append(foreign, gateway)
		}
	}
	return foreign
}

// nextTokenNumber returns a number that is greater than that of any token so far.
func (s *stack) nextTokenNumber() uint64 {
	newest, _ := parseToken(s.srv.UserToken(agwtest.User{}))
	return newest.number()
}

// onEvent counts the events of the library.
func (s *stack) onEvent(ev tokensource.Event) {
	s.results.count("events", ev.Flow+" "+string(ev.Kind))
	switch ev.Kind {
	case tokensource.EventForget:
		if ev.Subject != "" { // else it is a Purge
			s.forgets.add(ev.Flow+" "+ev.Subject, 1)
		}
	case tokensource.EventReject:
		s.rejections.add(ev.Flow+" "+ev.Subject, 1)
	case tokensource.EventFetchEnd:
		now := time.Now()
		began := now.Add(-ev.Duration)
		s.repetitions.add(ev.Flow, s.renewals.overlapping(began, now, 0)+s.clientChanges.overlapping(began, now, 0))
	}
	if ev.Err == nil {
		return
	}
	if succeededUnnoticed(ev.Err) {
		s.results.count("events", ev.Flow+" "+unnoticed)
	}
	if s.showsSecret(ev.Err.Error()) {
		s.results.violation("%s: the error of an event (%s) shows a secret", ev.Subject, ev.Kind)
	}
}

// end closes the double and lets go of everything but the source, which it returns: its
// hook leads back here.
func (s *stack) end() *tokensource.Source {
	source := s.source
	for _, sv := range s.services { // the source's transports lead to the double, and from there to what was counted
		sv.handle.OnRequest(nil)
		sv.handle.OnResponse(nil)
	}
	if s.srv != nil {
		s.srv.Close()
	}
	*s = stack{}
	return source
}
