package tokensource

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/flight"
)

// engine is what all sources of one flow share. Locks are taken in this order, and
// none is held while a flow fetches or a hook of the user's runs: rotation, the group's,
// notesMu, those of the caches.
type engine struct {
	flow        Flow
	settings    cache.Settings
	requireUser bool
	clock       cache.Clock
	observer

	system, users *cache.LRU[entry, *entry]
	gateways      *cache.LRU[gateway, *gateway]
	flights       flight.Group[cache.Key, *entry]

	notesMu sync.Mutex // makes changing a note one step
	notes   *cache.LRU[note, *note]

	rotation   sync.Mutex
	identity   atomic.Pointer[Identity] // what the caches were filled under
	reloadedAt atomic.Pointer[cache.Instant]
}

func newEngine(flow Flow, opts Options) (*engine, error) {
	if flow == nil {
		return nil, errors.New("agw: the flow is nil")
	}
	settings, err := opts.Settings.WithDefaults()
	if err != nil {
		return nil, err
	}
	e := &engine{
		flow: flow, settings: settings, requireUser: opts.RequireUser, clock: opts.Clock,
		system:   cache.NewLRU[entry](settings.MaxSystemTokens),
		users:    cache.NewLRU[entry](settings.MaxUserTokens),
		gateways: cache.NewLRU[gateway](settings.MaxGatewayURLs),
		notes:    cache.NewLRU[note](max(minNotes, settings.MaxSystemTokens+settings.MaxUserTokens)),
	}
	if e.clock == nil {
		e.clock = cache.Now
	}
	id := flow.Identity()
	e.identity.Store(id)
	e.observer.flow, e.logger, e.hook = id.Flow, opts.Logger, opts.OnEvent
	return e, nil
}

// lookup is one call's view of a subject.
type lookup struct {
	*request
	tenantID string // the tenant that the flow decided on
	key      cache.Key
	entry    *entry // nil if there is none
	now      cache.Instant
}

// tokens returns the cache that the subject of r belongs to.
func (e *engine) tokens(r *request) *cache.LRU[entry, *entry] {
	if r.user != "" {
		return e.users
	}
	return e.system
}

// look finds what is cached for r.
func (e *engine) look(ctx context.Context, r *request) (l lookup, err error) {
	l.request = r
	if r.blank() || r.user == "" && e.requireUser {
		return l, ErrNoUserToken
	}
	if l.tenantID, err = e.flow.Tenant(ctx, r.tenant); err != nil {
		return l, err
	}
	l.key = r.key(e.currentIdentity(), l.tenantID)
	l.now = e.clock()
	l.entry, _ = e.tokens(r).Get(l.key, l.now)
	return l, nil
}

// grant serves a call: at once if the token is fresh, else by the rules of decide.
func (e *engine) grant(ctx context.Context, r *request) (*Grant, error) {
	l, err := e.look(ctx, r)
	if err != nil {
		return nil, e.missed(err)
	}
	if ent := l.entry; ent != nil && l.now.Before(ent.refreshAt) && !ent.rejected.Load() {
		return e.hit(ent)
	}
	return e.decide(ctx, l)
}

// decide does what the state of a subject demands.
func (e *engine) decide(ctx context.Context, l lookup) (*Grant, error) {
	n, _ := e.notes.Get(l.key, l.now)
	switch stateOf(l.entry, n, l.now) {
	case fresh, rejected:
		return e.hit(l.entry)
	case due:
		if !n.rests(l.now) && !e.flights.Has(l.key) {
			e.fetch(l, true)
		}
		return e.hit(l.entry)
	case buffered:
		if n.rests(l.now) {
			e.emit(Event{Kind: EventServeStale, Subject: l.key.String(), Err: n.err})
			return e.hit(l.entry)
		}
		return e.renew(ctx, l)
	case resting:
		if credentialsRefused(n.err) && e.mayReload(l.now) {
			return e.obtain(ctx, l)
		}
		return nil, e.missed(n.err)
	default:
		return e.obtain(ctx, l)
	}
}

// obtain fetches a token and waits for it.
func (e *engine) obtain(ctx context.Context, l lookup) (*Grant, error) {
	if ctx.Err() != nil {
		return nil, e.missed(leftEarly(ctx))
	}
	if e.userExpired(l) { // what it is exchanged for would have, too
		return nil, e.missed(ErrUserTokenExpired)
	}
	if l.entry != nil { // rejected, and may be dropped by now
		e.invalidate(&l.entry.Grant)
	}
	return e.wait(ctx, e.fetch(l, false))
}

// userExpired reports whether the token of l's user ended before now. A life that
// nothing but the user's token bounds tells.
func (e *engine) userExpired(l lookup) bool {
	return e.settings.Lifetime(cache.TokenResponse{}, l.user, l.now).Usable() <= 0
}

// wait returns what c obtains, if that happens before ctx ends.
func (e *engine) wait(ctx context.Context, c *call) (*Grant, error) {
	ent, err := c.Wait(ctx)
	switch {
	case err == nil:
		e.misses.Add(1)
		return &ent.Grant, nil
	case err == ctx.Err():
		return nil, e.missed(leftEarly(ctx))
	default:
		return nil, e.missed(asError(err))
	}
}

// renew waits for the successor of a token that is in its buffer, but not for long:
// as long as the old one has not expired, it is better than an error or a delay.
func (e *engine) renew(ctx context.Context, l lookup) (*Grant, error) {
	if ctx.Err() != nil {
		return nil, e.missed(leftEarly(ctx))
	}
	c := e.fetch(l, false)
	brief, cancel := context.WithTimeout(ctx, min(l.now.Until(l.entry.expiry)/2, maxBufferWait))
	defer cancel()
	ent, err := c.Wait(brief)
	switch {
	case err == nil:
		e.misses.Add(1)
		return &ent.Grant, nil
	case ctx.Err() != nil:
		return nil, e.missed(leftEarly(ctx))
	case kindOf(err) == Refused:
		return nil, e.missed(asError(err))
	case !e.clock().Before(l.entry.expiry): // it was a slow machine, or its clock was stepped
		return e.wait(ctx, c)
	}
	e.emit(Event{Kind: EventServeStale, Subject: l.key.String(), Err: err})
	e.misses.Add(1)
	return &l.entry.Grant, nil
}

func (e *engine) hit(ent *entry) (*Grant, error) {
	e.hits.add()
	return &ent.Grant, nil
}

// missed counts a call that fails.
func (e *engine) missed(err error) error {
	e.misses.Add(1)
	return err
}

// gateway returns what is known of r's gateway without a fetch.
func (e *engine) gateway(ctx context.Context, r *request) (*url.URL, bool) {
	id := e.currentIdentity()
	if id.GatewayURL != nil {
		return id.GatewayURL, true
	}
	tenant, err := e.flow.Tenant(ctx, r.tenant)
	if err != nil {
		return nil, false
	}
	gw, ok := e.gateways.Get(gatewayKey(id, tenant), e.clock())
	if !ok {
		return nil, false
	}
	return gw.url, true
}

// gatewayKey has one part less than the key of a token, so the two never meet.
func gatewayKey(id *Identity, tenant string) cache.Key {
	return cache.NewKey(id.Flow, id.TokenEndpoint, id.ClientID, id.Resource, tenant)
}

// invalidate drops g, if it still is the grant of its subject and may be dropped.
func (e *engine) invalidate(g *Grant) bool {
	if g == nil {
		return false
	}
	dropped := e.reject(g)
	if dropped {
		e.emit(Event{Kind: EventReject, Subject: g.Fingerprint()})
	}
	return dropped
}

func (e *engine) reject(g *Grant) bool {
	tokens := e.system
	if g.user {
		tokens = e.users
	}
	now := e.clock()
	e.notesMu.Lock()
	defer e.notesMu.Unlock()
	ent, ok := tokens.Get(g.key, now)
	if !ok || &ent.Grant != g {
		return false
	}
	n, _ := e.notes.Get(g.key, now)
	if !n.mayReject(now) {
		ent.rejected.Store(true)
		return false
	}
	e.remember(g.key, n, func(n *note) { n.rejectedAt = now }, now)
	return tokens.Delete(ent)
}

// remember replaces the note of key by an altered copy. notesMu is held.
func (e *engine) remember(key cache.Key, old *note, alter func(*note), now cache.Instant) {
	n := new(note)
	if old != nil {
		*n = *old
	}
	alter(n)
	n.kept = kept{key, n.until(now)}
	e.notes.Put(n)
}

// forget drops all that is known of a subject.
func (e *engine) forget(r *request) error {
	if r.blank() {
		return ErrNoUserToken
	}
	tenant, err := e.flow.Tenant(context.Background(), r.tenant)
	if err != nil {
		return err
	}
	key := r.key(e.currentIdentity(), tenant)
	e.flights.Forget(key)
	e.tokens(r).Forget(key)
	e.notesMu.Lock() // nobody who read the note before brings it back
	e.notes.Forget(key)
	e.notesMu.Unlock()
	e.emit(Event{Kind: EventForget, Subject: key.String()})
	return nil
}

// purge empties the caches. The fetch keep, if not nil, goes on as the one for key.
// Fetches are forgotten first, so that none of them fills a cache again.
func (e *engine) purge(keep *call, key cache.Key) {
	e.flights.ForgetAll(keep, key)
	e.system.Purge()
	e.users.Purge()
	e.gateways.Purge()
	e.notesMu.Lock()
	e.notes.Purge()
	e.notesMu.Unlock()
}

// stats returns the counters, and the gauges at this moment.
func (e *engine) stats() Stats {
	s := e.snapshot()
	s.SystemTokens, s.UserTokens, s.GatewayURLs = e.system.Len(), e.users.Len(), e.gateways.Len()
	s.InFlight, s.Noted = e.flights.Len(), e.notes.Len()
	return s
}
