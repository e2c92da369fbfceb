package tokensource

import (
	"context"
	"fmt"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
)

// A Source serves the tokens of a [Flow] from its cache and decides when to fetch.
// It is an [oauth2.TokenSource], a [ContextTokenSource] and a [GrantSource]; the
// package documentation says what it guarantees. It must be made by [New] and is
// safe for concurrent use.
type Source struct {
	*engine
	fallback *request // whom to act for where a context does not say
}

// New returns a source of flow's tokens. It fails if a setting is out of range, with
// a [*cache.SettingError]. Nothing is fetched yet.
func New(flow Flow, opts Options) (*Source, error) {
	e, err := newEngine(flow, opts)
	if err != nil {
		return nil, err
	}
	return &Source{engine: e, fallback: requestFor(Subject{})}, nil
}

// For returns a source that acts for subject where a context does not say
// otherwise. It shares everything else with s: the cache, the fetches, the
// counters. A tenant in the context that is not the one of a default user is an
// error, [ErrSubjectConflict].
func (s *Source) For(subject Subject) *Source {
	return &Source{engine: s.engine, fallback: requestFor(subject)}
}

// Token returns a token for the default subject. It waits no longer than the fetch
// timeout. The token is shared and must not be modified.
func (s *Source) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns a token for the subject of ctx, and waits no longer than ctx
// allows. The token is shared and must not be modified.
func (s *Source) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	g, err := s.Grant(ctx)
	if err != nil {
		return nil, err
	}
	return g.Token(), nil
}

// Grant is TokenContext for a token together with its gateway.
//
// Its errors are [ErrNoUserToken], [ErrSubjectConflict], what the flow says of an
// invalid tenant, ctx's error, and an [*Error] for a fetch that failed.
func (s *Source) Grant(ctx context.Context) (*Grant, error) {
	r, err := requested(ctx, s.fallback)
	if err != nil {
		return nil, s.missed(err)
	}
	return s.grant(ctx, r)
}

// Gateway returns the gateway of ctx's subject, if it is known without a fetch: it
// is configured, or it came with a token that expired no more than five minutes
// ago. It must not be modified.
func (s *Source) Gateway(ctx context.Context) (gateway *url.URL, known bool) {
	r, err := requested(ctx, s.fallback)
	if err != nil {
		return nil, false
	}
	return s.gateway(ctx, r)
}

// Invalidate tells that the gateway refused g. If g is still the grant of its
// subject, it is dropped, and the next caller fetches another one. That happens at
// most once in 10 s for a subject: in between, the grant stays, so that a gateway
// that refuses everything does not set off a fetch for each call. Invalidate reports
// whether g was dropped.
func (s *Source) Invalidate(g *Grant) bool { return s.invalidate(g) }

// Forget drops all that is known of subject, for a user who logs out. It needs the
// JWT that the calls were made with: tokens for other ones of the same user stay. A
// fetch that is under way goes on for those who wait for it, but leaves nothing
// behind. It fails, and drops nothing, if the user's token is blank, or the tenant is
// not a valid one; name the tenant if the flow would read it off a context.
func (s *Source) Forget(subject Subject) error { return s.forget(requestFor(subject)) }

// Purge drops everything. Fetches that are under way go on for those who wait for
// them, but leave nothing behind.
func (s *Source) Purge() {
	s.purge(nil, cache.Key{})
	s.emit(Event{Kind: EventForget})
}

// Stats returns a snapshot of the counters.
func (s *Source) Stats() Stats { return s.stats() }

// Format prints the flow and the default subject, whatever the verb.
func (s Source) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "source{flow:%s default:%s}", s.observer.flow, Subject{s.fallback.tenant, s.fallback.user})
}

var (
	_ ContextTokenSource = (*Source)(nil)
	_ GrantSource        = (*Source)(nil)
	_ cache.Clock        = cache.Now
)
