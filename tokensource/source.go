package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/flight"
)

// A ContextTokenSource is an [oauth2.TokenSource] that can be told who is asking and how
// long to wait. [*Source] is one.
type ContextTokenSource interface {
	oauth2.TokenSource
	TokenContext(ctx context.Context) (*oauth2.Token, error)
}

// A Source serves the tokens of a [Flow] from its cache, and decides when to fetch. The
// package documentation says what it guarantees. It must be made by [New], and is safe
// for concurrent use.
type Source struct {
	engine   *engine
	fallback *request // for whom to act where a context does not say
}

// engine is what all sources of one flow share. Its locks are taken in this order: that of
// fetches, historyMu, those of the caches. None is held while the flow fetches or a hook
// of the user's runs.
type engine struct {
	flow        Flow
	settings    Settings // complete
	requireUser bool
	now         func() cache.Instant
	events      observer

	generation atomic.Pointer[generation]
	system     *cache.LRU[*Token]
	users      *cache.LRU[*Token]
	gateways   *cache.LRU[*url.URL]
	fetches    flight.Group[cache.Key, *Token]

	historyMu sync.Mutex // makes replacing a history one step
	histories *cache.LRU[*history]

	reloadedAt atomic.Pointer[cache.Instant] // when a backing off subject last caused a look for new credentials
}

// New returns a source of flow's tokens that acts with the system token where a context
// does not say otherwise. It fails with a [*ConfigError] if a setting is out of range.
// Nothing is fetched yet.
func New(flow Flow, opts Options) (*Source, error) {
	if flow == nil {
		return nil, &ConfigError{Field: "flow", Err: errors.New("nil")}
	}
	settings, err := opts.Settings.WithDefaults()
	if err != nil {
		return nil, err
	}
	id := flow.Identity()
	e := &engine{
		flow: flow, settings: settings, requireUser: opts.RequireUser, now: cache.Now,
		events:    observer{flow: id.Flow, logger: opts.Logger, hook: opts.OnEvent},
		system:    cache.NewLRU[*Token](settings.MaxSystemTokens),
		users:     cache.NewLRU[*Token](settings.MaxUserTokens),
		gateways:  cache.NewLRU[*url.URL](settings.MaxGatewayURLs),
		histories: cache.NewLRU[*history](max(minHistories, settings.MaxSystemTokens+settings.MaxUserTokens)),
	}
	// A flow may bring its own clock: tests of this module do, to move its two readings.
	if clock, ok := flow.(interface{ Now() cache.Instant }); ok {
		e.now = clock.Now
	}
	e.generation.Store(newGeneration(id, nil))
	return &Source{engine: e, fallback: newRequest(SystemSubject())}, nil
}

// For returns a source that acts for subject where a context does not say otherwise. It
// shares everything else with s: the cache, the fetches, the counters. A context that
// names another tenant, but no user, is an [ErrSubjectConflict] if subject is a user. So is
// one that leads the flow to another tenant than its own, if subject names none.
func (s *Source) For(subject Subject) *Source {
	return &Source{engine: s.engine, fallback: newRequest(subject)}
}

// AccessToken returns a token for the subject of ctx together with its gateway. It waits no
// longer than ctx allows.
//
// Its errors are [ErrNoUserToken], [ErrBadUserToken], [ErrUserTokenExpired], [ErrForgotten],
// [ErrNoSubject], [ErrSubjectConflict], what the flow says of an invalid tenant, ctx's error,
// and an [*Error] for a fetch that failed.
func (s *Source) AccessToken(ctx context.Context) (*Token, error) {
	e := s.engine
	r, err := requested(ctx, s.fallback)
	if err != nil {
		return nil, e.events.miss(err)
	}
	tenant, err := e.tenant(ctx, r)
	if err != nil {
		return nil, e.events.miss(err)
	}
	if t := e.remembered(r, tenant); t != nil {
		return t, nil
	}
	// Credentials can be rotated while a call waits. It then begins anew, for the new ones.
	for round := range maxRotations {
		c := e.find(r, tenant)
		c.again = round > 0
		t, err := e.serve(ctx, c)
		if err != errRotated {
			return t, err
		}
	}
	return nil, e.events.miss(errUnsettled())
}

// Token returns an [oauth2.Token] for the default subject. It waits no longer than the
// fetch timeout. The token is the caller's own.
func (s *Source) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns an [oauth2.Token] for the subject of ctx, and waits no longer than
// ctx allows. The token is the caller's own.
func (s *Source) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	t, err := s.AccessToken(ctx)
	if err != nil {
		return nil, err
	}
	return t.OAuth2(), nil
}

// Gateway returns the gateway of ctx's subject as far as it is known without a fetch, else
// nil. It is final if it is configured, in the flow's [Identity]: no token of these
// credentials comes with another one. Otherwise it came with a token of the same tenant
// that expired no more than five minutes ago; the next token may come with another one. It
// must not be modified.
func (s *Source) Gateway(ctx context.Context) (gateway *url.URL, final bool) {
	e := s.engine
	g := e.currentGeneration()
	if g.identity.GatewayURL != nil {
		return g.identity.GatewayURL, true
	}
	r, err := requested(ctx, s.fallback)
	if err != nil {
		return nil, false
	}
	tenant, err := e.flow.Tenant(ctx, r.tenant)
	if err != nil {
		return nil, false
	}
	if entry := e.gateways.Get(g.client.gatewayKey(tenant), e.now()); entry != nil {
		return entry.Value, false
	}
	return nil, false
}

// Invalidate tells that the gateway has rejected t. If t still is the token of its
// subject, it is dropped, and the next caller fetches another one. That happens at most
// once in 10 s for a subject. In between the token stays, so that a gateway that rejects
// everything does not set off a fetch for each call. Invalidate reports whether t was
// dropped.
func (s *Source) Invalidate(t *Token) bool {
	if t == nil {
		return false
	}
	e, now := s.engine, s.engine.now()
	tokens := e.tokens(t.user)
	entry := tokens.Get(t.key, now)
	if entry == nil || entry.Value != t {
		return false
	}
	dropped := false
	e.amend(t.key, now, func(h *history) *history {
		if !h.mayDrop(now) {
			return h
		}
		if dropped = tokens.Delete(entry); !dropped {
			return h
		}
		return h.afterRejection(now)
	})
	if dropped {
		e.events.emit(Event{Kind: EventReject, Subject: t.Fingerprint()})
	}
	return dropped
}

// Forget drops all that is known of subject, for a user who logs out. It needs the JWT
// that the calls were made with: tokens for other JWTs of the same user stay. Calls that
// wait for the subject's token fail with [ErrForgotten], and the fetch that they wait for
// leaves nothing behind. A later call with the same JWT is a new exchange.
//
// Forget fails, and drops nothing, if [Subject.Err] is not nil or the tenant is not a valid
// one. Name the tenant if the flow would read it off a context.
func (s *Source) Forget(subject Subject) error {
	e := s.engine
	if err := subject.Err(); err != nil {
		return err
	}
	tenant, err := e.flow.Tenant(context.Background(), subject.tenant)
	if err != nil {
		return err
	}
	var key cache.Key
	for _, client := range e.currentGeneration().clients() { // a call may still wait for the token of an earlier one
		key = client.tokenKey(tenant, subject.user)
		e.fetches.Forget(key, ErrForgotten) // first, so that it does not fill the cache again
		e.tokens(subject.actor == user).Forget(key)
		e.historyMu.Lock() // so that nobody who read the history before writes it back
		e.histories.Forget(key)
		e.historyMu.Unlock()
	}
	e.events.emit(Event{Kind: EventForget, Subject: key.String()})
	return nil
}

// Purge drops everything. Fetches that are under way go on for those who wait for them,
// but leave nothing behind.
func (s *Source) Purge() {
	e := s.engine
	e.fetches.ForgetAll()
	e.system.Purge()
	e.users.Purge()
	e.gateways.Purge()
	e.historyMu.Lock()
	e.histories.Purge()
	e.historyMu.Unlock()
	e.events.emit(Event{Kind: EventForget})
}

// Stats returns a snapshot of the counters.
func (s *Source) Stats() Stats {
	e := s.engine
	stats := e.events.snapshot()
	stats.SystemTokens, stats.UserTokens, stats.GatewayURLs = e.system.Len(), e.users.Len(), e.gateways.Len()
	stats.InFlight, stats.Histories = e.fetches.Len(), e.histories.Len()
	return stats
}

// Format prints the flow and the default subject, whatever the verb.
func (s *Source) Format(f fmt.State, _ rune) {
	if s == nil || s.engine == nil {
		_, _ = fmt.Fprint(f, "source{none}")
		return
	}
	_, _ = fmt.Fprintf(f, "source{flow:%s default:%s}", s.engine.events.flow, s.fallback.subject())
}

// tenant returns the tenant that the flow decides on, if a call may act for r at all.
func (e *engine) tenant(ctx context.Context, r *request) (string, error) {
	if err := r.actor.check(r.fault); err != nil {
		return "", err
	}
	if e.requireUser && r.actor == system {
		return "", errNeedsUser
	}
	tenant, err := e.flow.Tenant(ctx, r.tenant)
	if err != nil || tenant == "" || r.actor != user || r.tenant != "" {
		return tenant, err
	}
	// The flow may have read the tenant off the context. The client's default user, whom the
	// context does not name, is of the tenant that the flow has without it.
	if c := fromContext(ctx); c == nil || c.actor == nobody {
		if own, _ := e.flow.Tenant(context.Background(), ""); own != tenant {
			return "", errWithoutTenant
		}
	}
	return tenant, nil
}

// tokens returns the cache of tokens of users, or that of system tokens.
func (e *engine) tokens(ofUser bool) *cache.LRU[*Token] {
	if ofUser {
		return e.users
	}
	return e.system
}

// remembered counts a hit and returns the token that r's last call was served, if that
// still is in the cache and fresh; else nil. This is what nearly every call comes to. It
// hashes nothing, looks nothing up and takes no lock.
func (e *engine) remembered(r *request, tenant string) *Token {
	p := r.place.Load()
	if p == nil || p.engine != e || p.identity != e.flow.Identity() || p.tenant != tenant {
		return nil
	}
	entry := p.entry.Load()
	if entry == nil {
		return nil
	}
	now := e.now()
	left := now.Until(entry.Value.life.renewAt)
	if left <= 0 || !entry.Use(now) {
		return nil
	}
	e.events.hits.add(left)
	return entry.Value
}

// A call is one caller's request, and what was known of its subject at that moment.
type call struct {
	request    *request
	tenant     string // that the flow decided on
	generation *generation
	key        cache.Key
	now        cache.Instant
	entry      *cache.Entry[*Token] // nil if there is none
	again      bool                 // the call has waited for an earlier client's token
}

// token returns the token that is cached; nil if there is none.
func (c *call) token() *Token {
	if c.entry == nil {
		return nil
	}
	return c.entry.Value
}

// find looks for what is known of r's subject in tenant, and has r remember where it is.
func (e *engine) find(r *request, tenant string) call {
	g := e.currentGeneration()
	c := call{request: r, tenant: tenant, generation: g, now: e.now()}
	p := r.place.Load()
	if p == nil || p.engine != e || p.identity != g.identity || p.tenant != tenant {
		p = &place{engine: e, identity: g.identity, tenant: tenant, key: g.client.tokenKey(tenant, *r.jwt)}
		r.place.Store(p)
	}
	c.key = p.key
	if c.entry = e.tokens(r.actor == user).Get(c.key, c.now); c.entry != nil {
		p.entry.Store(c.entry)
	}
	return c
}

// serve does what the state of c's subject demands.
func (e *engine) serve(ctx context.Context, c call) (*Token, error) {
	h := e.history(c.key, c.now)
	switch stateOf(c.token(), h, c.generation.identity, c.now) {
	case due:
		if !h.backsOff(c.generation.identity, c.now) && !e.fetches.Has(c.key) {
			e.fetch(c, true)
		}
	case buffered:
		if !h.backsOff(c.generation.identity, c.now) {
			return e.renew(ctx, c)
		}
		e.events.emit(Event{Kind: EventServeStale, Subject: c.key.String(), Err: h.failure})
	case failing:
		if !credentialsRefused(h.failure) || !e.mayReload(c.now) {
			return nil, e.events.miss(h.failure)
		}
		return e.obtain(ctx, c)
	case missing:
		return e.obtain(ctx, c)
	}
	e.events.hits.add(c.now.Until(c.entry.Deadline))
	return c.entry.Value, nil
}

// obtain fetches a token and waits for it.
func (e *engine) obtain(ctx context.Context, c call) (*Token, error) {
	if ctx.Err() != nil {
		return nil, e.events.miss(leftEarly(ctx))
	}
	if err := c.request.subject().Err(); err != nil {
		return nil, e.events.miss(err)
	}
	if life, ok := jwtLife(*c.request.jwt, c.now); ok && life <= 0 {
		return nil, e.events.miss(ErrUserTokenExpired)
	}
	return e.wait(ctx, e.fetch(c, false))
}

// renew waits for the successor of a token that is in its buffer, but not for long: until
// it expires, the old token is better than an error or a delay.
func (e *engine) renew(ctx context.Context, c call) (*Token, error) {
	if ctx.Err() != nil {
		return nil, e.events.miss(leftEarly(ctx))
	}
	f := e.fetch(c, false)
	brief, cancel := context.WithTimeout(ctx, min(c.now.Until(c.entry.Deadline)/2, maxBufferWait))
	defer cancel()
	_, err := f.Wait(brief)
	// Meanwhile the old token can have expired, or left the cache for a reason.
	if err == nil || err == errRotated || ctx.Err() != nil || e.currentGeneration().client != c.generation.client || !c.entry.Use(e.now()) {
		return e.wait(ctx, f)
	}
	e.events.emit(Event{Kind: EventServeStale, Subject: c.key.String(), Err: err})
	e.events.misses.Add(1)
	return c.entry.Value, nil
}

// wait returns what f obtains, if that happens before ctx ends.
func (e *engine) wait(ctx context.Context, f *flight.Call[cache.Key, *Token]) (*Token, error) {
	t, err := f.Wait(ctx)
	switch {
	case err == nil:
		e.events.misses.Add(1)
		return t, nil
	case err == errRotated:
		return nil, err
	case err == ErrForgotten:
		return nil, e.events.miss(err)
	case err == ctx.Err():
		return nil, e.events.miss(leftEarly(ctx))
	}
	if typed := (*Error)(nil); !errors.As(err, &typed) { // the fetch was forgotten: this is the flow's own error
		err = asError(err)
	}
	return nil, e.events.miss(err)
}

// history returns what is remembered of a subject; nil if nothing.
func (e *engine) history(key cache.Key, now cache.Instant) *history {
	if entry := e.histories.Get(key, now); entry != nil {
		return entry.Value
	}
	return nil
}

// amend replaces the history of key by what change makes of it; nil means none.
func (e *engine) amend(key cache.Key, now cache.Instant, change func(*history) *history) *history {
	e.historyMu.Lock()
	defer e.historyMu.Unlock()
	old := e.history(key, now)
	next := change(old)
	switch {
	case next == old:
	case next == nil:
		e.histories.Forget(key)
	default:
		e.histories.Put(key, next, next.forgetAt(now), now)
	}
	return next
}

// A client is what tokens are obtained for, as a digest: the first part of every key. Tokens
// of two clients never meet, so that nothing has to be removed when another one comes into
// force.
type client cache.Key

func (c client) tokenKey(tenant, userToken string) cache.Key {
	return cache.NewKey(string(c[:]), "token", tenant, userToken)
}

func (c client) gatewayKey(tenant string) cache.Key {
	return cache.NewKey(string(c[:]), "gateway", tenant)
}

// A generation is an identity with the client that it is.
type generation struct {
	identity *Identity
	client   client
	earlier  []client // that were in force before, the latest first
}

const maxEarlier = 8 // clients that Forget reaches besides that in force

func newGeneration(id *Identity, last *generation) *generation {
	gateway := ""
	if id.GatewayURL != nil {
		gateway = id.GatewayURL.String()
	}
	g := &generation{identity: id, client: client(cache.NewKey(id.Flow, id.TokenEndpoint, id.ClientID, id.Resource, gateway))}
	if last != nil {
		others := slices.DeleteFunc(append([]client{last.client}, last.earlier...), func(c client) bool { return c == g.client })
		g.earlier = others[:min(len(others), maxEarlier)]
	}
	return g
}

// clients returns those that Forget reaches, the one in force last.
func (g *generation) clients() []client { return append(slices.Clone(g.earlier), g.client) }

// currentGeneration returns that of the identity in force.
func (e *engine) currentGeneration() *generation {
	g := e.generation.Load() // before the identity, which is then never older
	id := e.flow.Identity()
	if id == g.identity {
		return g
	}
	next := newGeneration(id, g)
	if e.generation.CompareAndSwap(g, next) && next.client != g.client {
		e.events.emit(Event{Kind: EventRotate})
	}
	return next
}
