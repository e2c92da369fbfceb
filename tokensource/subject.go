package tokensource

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/agwgo/agw/cache"
)

// A Subject is whom a call acts for: a tenant and, in it, a user. The zero Subject
// is the flow's own tenant and the technical token.
//
// It prints and marshals without the user's token.
type Subject struct {
	// Tenant is the subdomain of a subscribed tenant; "" means the flow's own.
	Tenant string
	// UserToken is the user's JWT; "" means the technical token. One that is not
	// empty but blank is an error where it is used, ErrNoUserToken.
	UserToken string
}

// Format prints the tenant and whether there is a user, whatever the verb.
func (s Subject) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.describe()) }

// MarshalText returns what Format prints.
func (s Subject) MarshalText() ([]byte, error) { return []byte(s.describe()), nil }

// LogValue returns what Format prints.
func (s Subject) LogValue() slog.Value { return slog.StringValue(s.describe()) }

func (s Subject) describe() string {
	who := "technical"
	if s.UserToken != "" {
		who = "user"
	}
	return fmt.Sprintf("{tenant:%q %s}", s.Tenant, who)
}

// WithUserToken returns a context whose calls act for the user that jwt was
// issued to. White space around it and a leading "Bearer" are removed, so the
// value of an Authorization header will do. A jwt that is blank makes every call
// with the context fail with [ErrNoUserToken]: it never falls back to the
// technical token.
//
// A user is known by the JWT alone: another JWT of the same user is another subject,
// with a fetch and a place in the cache of its own.
//
// The token is hashed once for a context, not once for a call: make one context
// for an inbound request and use it for all calls on its behalf.
func WithUserToken(ctx context.Context, jwt string) context.Context {
	return with(ctx, func(r *request) { r.user, r.userSet = trimUserToken(jwt), true })
}

// WithTechnicalToken returns a context whose calls act for nobody in particular,
// even if ctx, or the client's default, has a user.
func WithTechnicalToken(ctx context.Context) context.Context {
	return with(ctx, func(r *request) { r.user, r.userSet, r.technical = "", false, true })
}

// WithTenant returns a context whose calls act in the given tenant; "" means the
// flow's own. What is a valid tenant is up to the flow: an invalid one fails the
// call before anything is sent.
func WithTenant(ctx context.Context, tenant string) context.Context {
	return with(ctx, func(r *request) { r.tenant, r.tenantSet = tenant, true })
}

// SubjectFromContext returns the subject that ctx asks for, as far as it does: a
// client's default and the flow's own tenant are not in it. A blank user token stays
// one that is blank but not empty. ok is false if ctx asks for nothing.
func SubjectFromContext(ctx context.Context) (s Subject, ok bool) {
	r := fromContext(ctx)
	if r == nil {
		return Subject{}, false
	}
	if r.blank() {
		return Subject{Tenant: r.tenant, UserToken: " "}, true
	}
	return Subject{Tenant: r.tenant, UserToken: r.user}, true
}

type contextKey struct{}

// request is whom a call asks to act for. Only its atomic fields, which save work
// that the last call has done, change once it is made.
type request struct {
	tenant    string
	user      string // trimmed
	tenantSet bool
	userSet   bool // a user was asked for; blank is an error then
	technical bool // no user was asked for, explicitly

	memo      atomic.Pointer[memo]
	completed atomic.Pointer[completion]
}

// blank reports whether a user was asked for, but none was named.
func (r *request) blank() bool { return r.userSet && r.user == "" }

// memo is the key that was last computed for a request: hashing a JWT costs more
// than all the rest of a cache hit.
type memo struct {
	identity *Identity
	tenant   string
	key      cache.Key
}

// completion is how a request was last completed.
type completion struct{ fallback, request *request }

// with returns ctx with an altered copy of the request in it.
func with(ctx context.Context, alter func(*request)) context.Context {
	r := new(request)
	if old := fromContext(ctx); old != nil {
		r.tenant, r.tenantSet = old.tenant, old.tenantSet
		r.user, r.userSet, r.technical = old.user, old.userSet, old.technical
	}
	if alter(r); r.userSet {
		r.technical = false
	}
	return context.WithValue(ctx, contextKey{}, &carrier{r})
}

// A carrier is the value in a context. Package fmt never looks through its pointer:
// with a verb that does not fit, it prints what a context's value points to.
type carrier struct{ *request }

// fromContext returns whom ctx asks to act for; nil if it does not say.
func fromContext(ctx context.Context) *request {
	if c, ok := ctx.Value(contextKey{}).(*carrier); ok {
		return c.request
	}
	return nil
}

// requestFor returns the request of a subject that is given as a value.
func requestFor(s Subject) *request {
	return &request{
		tenant: s.Tenant, tenantSet: s.Tenant != "",
		user: trimUserToken(s.UserToken), userSet: s.UserToken != "",
	}
}

// requested returns whom ctx asks to act for, completed by fallback.
func requested(ctx context.Context, fallback *request) (*request, error) {
	r := fromContext(ctx)
	switch {
	case r == nil:
		return fallback, nil
	case !fallback.userSet && !fallback.tenantSet:
		return r, nil
	default:
		return r.complete(fallback)
	}
}

// complete takes from fallback what r does not say. A user belongs to a tenant:
// the user of one is never combined with another tenant.
func (r *request) complete(fallback *request) (*request, error) {
	if done := r.completed.Load(); done != nil && done.fallback == fallback {
		return done.request, nil
	}
	inheritsUser := !r.userSet && !r.technical && fallback.userSet
	if inheritsUser && r.tenantSet && r.tenant != fallback.tenant {
		return nil, ErrSubjectConflict
	}
	c := &request{tenant: r.tenant, tenantSet: r.tenantSet, user: r.user, userSet: r.userSet, technical: r.technical}
	if !c.tenantSet {
		c.tenant, c.tenantSet = fallback.tenant, fallback.tenantSet
	}
	if inheritsUser {
		c.user, c.userSet = fallback.user, true
	}
	r.completed.Store(&completion{fallback, c})
	return c, nil
}

// key returns the cache key of the request in tenant.
func (r *request) key(id *Identity, tenant string) cache.Key {
	if m := r.memo.Load(); m != nil && m.identity == id && m.tenant == tenant {
		return m.key
	}
	key := cache.NewKey(id.Flow, id.TokenEndpoint, id.ClientID, id.Resource, tenant, r.user)
	r.memo.Store(&memo{identity: id, tenant: tenant, key: key})
	return key
}

// trimUserToken removes what surrounds a JWT in a header (RFC 6750, section 2.1),
// however often it is there.
func trimUserToken(s string) string {
	const scheme = "Bearer"
	for {
		s = strings.TrimSpace(s)
		if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
			return s
		}
		rest := s[len(scheme):]
		if rest != "" && strings.TrimLeftFunc(rest, unicode.IsSpace) == rest {
			return s // no space: the token itself begins so
		}
		s = rest
	}
}
