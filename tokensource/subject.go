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
	"github.com/agwgo/agw/internal/header"
)

// A Subject is for whom a call acts: a user or the system, in a tenant. It is made by
// [UserSubject] or [SystemSubject]. A call for the zero Subject fails with
// [ErrNoSubject], so that nobody acts as the system by forgetting something.
//
// Subjects can be compared. They print and marshal without the user's token.
type Subject struct {
	tenant string
	user   string // JWT, trimmed; "" if there is a fault
	actor  actor
	fault  fault
}

type actor uint8

const (
	nobody actor = iota
	system
	user
)

// A fault is why a user's token cannot be one, as far as that is known at once. The text of
// it is not kept: it can be anything that a caller's caller has sent.
type fault uint8

const (
	noFault fault = iota
	blank
	tooLong
)

// maxUserToken is the size of the longest user token, in bytes. Servers and proxies refuse
// headers that are longer.
const maxUserToken = 16 << 10

// SystemSubject returns the subject of calls with the system token: the agent itself, in
// the flow's own tenant.
func SystemSubject() Subject { return Subject{actor: system} }

// UserSubject returns the subject of calls for the user that jwt was issued to, in the
// flow's own tenant. White space around jwt and a leading "Bearer" are removed. If jwt is
// blank, every call for the subject fails with [ErrNoUserToken]. If it cannot be a token
// (it is longer than 16 KiB, has another scheme in front, such as "Basic", or a character
// that is not a visible ASCII one), every call fails with [ErrBadUserToken]. Nothing is
// sent then.
func UserSubject(jwt string) Subject {
	s := Subject{actor: user}
	if len(jwt) > maxUserToken {
		s.fault = tooLong
		return s
	}
	if s.user = trimUserToken(jwt); s.user == "" {
		s.fault = blank
	}
	return s
}

// In returns s in another tenant; "" means the flow's own.
func (s Subject) In(tenant string) Subject {
	s.tenant = tenant
	return s
}

// Tenant returns the tenant; "" means the flow's own.
func (s Subject) Tenant() string { return s.tenant }

// UserToken returns the user's JWT; "" for the system.
func (s Subject) UserToken() string { return s.user }

// Err returns why no call can act for s, or nil: [ErrNoSubject], [ErrNoUserToken] or
// [ErrBadUserToken]. A Source checks it before it calls a flow.
func (s Subject) Err() error {
	err := s.actor.check(s.fault)
	switch {
	case err != nil || s.actor != user || header.IsToken(s.user):
		return err
	case strings.ContainsFunc(s.user, unicode.IsSpace):
		return errOtherScheme
	default:
		return errNotAToken
	}
}

// check is the part of Err that every call needs. The rest takes as long as the token, and
// what fails it is never cached.
func (a actor) check(f fault) error {
	if a == nobody {
		return ErrNoSubject
	}
	return faults[f]
}

// Format prints the tenant and whether there is a user, whatever the verb.
func (s Subject) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.describe()) }

// MarshalText returns what Format prints.
func (s Subject) MarshalText() ([]byte, error) { return []byte(s.describe()), nil }

// LogValue returns what Format prints.
func (s Subject) LogValue() slog.Value { return slog.StringValue(s.describe()) }

func (s Subject) describe() string {
	return fmt.Sprintf("{tenant:%q %s}", s.tenant, [...]string{"nobody", "system", "user"}[s.actor])
}

// WithUserToken returns a context whose calls act for the user that jwt was issued to.
// White space around jwt and a leading "Bearer" are removed, so the value of an
// Authorization header will do. A blank jwt makes every call with the context fail with
// [ErrNoUserToken], and one that cannot be a token with [ErrBadUserToken] (see
// [UserSubject]): such a call never gets the system token.
//
// Users are told apart by the JWT alone: another JWT of the same user is another subject,
// with a fetch and a place in the cache of its own.
//
// Make one context for an inbound request, and use it for all calls on its behalf: what
// the first call looks up, the others remember.
func WithUserToken(ctx context.Context, jwt string) context.Context {
	named, _ := SubjectFromContext(ctx)
	return with(ctx, UserSubject(jwt).In(named.tenant))
}

// WithSystemToken returns a context whose calls act with the system token, even if ctx or
// the client's default names a user.
func WithSystemToken(ctx context.Context) context.Context {
	named, _ := SubjectFromContext(ctx)
	return with(ctx, SystemSubject().In(named.tenant))
}

// WithTenant returns a context whose calls act in the given tenant; "" means the
// client's default tenant, or else the flow's own. Which tenants are valid is up to the
// flow: a call in an invalid one fails before anything is sent.
func WithTenant(ctx context.Context, tenant string) context.Context {
	named, _ := SubjectFromContext(ctx)
	return with(ctx, named.In(tenant))
}

// SubjectFromContext returns the subject that ctx names, as far as it does: it is zero but
// for its tenant if ctx names only that. A client's default and the flow's own tenant are
// not in it. ok is false if ctx names nothing.
func SubjectFromContext(ctx context.Context) (s Subject, ok bool) {
	if r := fromContext(ctx); r != nil {
		s = r.subject()
	}
	return s, s != Subject{}
}

// A request is for whom a context, or a client by default, asks to act. The fields of its
// subject are fixed. The others remember what the last call found, so that the next one
// need not look for it again.
type request struct {
	tenant string
	jwt    *string // behind a pointer, because package fmt prints what is in a context under verbs that do not fit
	actor  actor
	fault  fault

	place     atomic.Pointer[place]
	completed atomic.Pointer[completion]
}

func newRequest(s Subject) *request {
	return &request{tenant: s.tenant, jwt: &s.user, actor: s.actor, fault: s.fault}
}

func (r *request) subject() Subject {
	return Subject{tenant: r.tenant, user: *r.jwt, actor: r.actor, fault: r.fault}
}

// A place is where the token of a request is cached, for one client of one engine.
type place struct {
	entry    atomic.Pointer[cache.Entry[*Token]] // nil if it was not there
	engine   *engine
	identity *Identity
	tenant   string
	key      cache.Key
}

// A completion is a request completed by a client's default.
type completion struct{ fallback, request *request }

type contextKey struct{}

// A subjectContext is a context that says for whom calls act. It is a type of its own, and
// not a context.WithValue, so that there is less to follow on the way to its request.
type subjectContext struct {
	context.Context
	request *request
}

func with(ctx context.Context, s Subject) context.Context {
	return &subjectContext{ctx, newRequest(s)}
}

func (c *subjectContext) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return c.request
	}
	return c.Context.Value(key)
}

// Format prints the subject without the user's token, whatever the verb.
func (c *subjectContext) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

func (c *subjectContext) String() string {
	return fmt.Sprintf("%v.With(%s)", c.Context, c.request.subject().describe())
}

// fromContext returns for whom ctx asks to act; nil if it does not say.
func fromContext(ctx context.Context) *request {
	r, _ := ctx.Value(contextKey{}).(*request)
	return r
}

var errWithoutTenant = fmt.Errorf("%w: name that with UserSubject(jwt).In(tenant)", ErrSubjectConflict)

// requested returns for whom a call with ctx acts: what ctx says, completed by fallback.
func requested(ctx context.Context, fallback *request) (*request, error) {
	r := fromContext(ctx)
	switch {
	case r == nil:
		return fallback, nil
	case r.actor != nobody && (r.tenant != "" || fallback.tenant == ""):
		return r, nil // it says everything
	}
	if done := r.completed.Load(); done != nil && done.fallback == fallback {
		return done.request, nil
	}
	s, by := r.subject(), fallback.subject()
	if s.actor == nobody {
		if by.actor == user && s.tenant != "" && s.tenant != by.tenant {
			return nil, ErrSubjectConflict // the user of one tenant never acts in another
		}
		s = by.In(s.tenant)
	}
	if s.tenant == "" {
		s.tenant = by.tenant
	}
	done := &completion{fallback, newRequest(s)}
	r.completed.Store(done)
	return done.request, nil
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
			return s // no space: the token itself begins like this
		}
		s = rest
	}
}
