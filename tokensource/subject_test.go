package tokensource_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/agwgo/agw/tokensource"
)

// For whom a call acts, given the source's default and what was done to the context.
func TestSubjectOfACall(t *testing.T) {
	t.Parallel()
	type step = func(context.Context) context.Context
	user := func(jwt string) step {
		return func(ctx context.Context) context.Context { return tokensource.WithUserToken(ctx, jwt) }
	}
	tenant := func(tenant string) step {
		return func(ctx context.Context) context.Context { return tokensource.WithTenant(ctx, tenant) }
	}
	asSystem := step(tokensource.WithSystemToken)
	var (
		system    = tokensource.SystemSubject()
		acme      = tokensource.SystemSubject().In("acme")
		bob       = tokensource.UserSubject("bob")
		bobInAcme = tokensource.UserSubject("bob").In("acme")
		blank     = tokensource.UserSubject("Bearer ")
		nobody    tokensource.Subject
	)
	tests := []struct {
		name       string
		fallback   tokensource.Subject
		context    []step
		wantTenant string
		wantUser   string
		wantErr    error
	}{
		{"no default, nothing", system, nil, "provider", "", nil},
		{"no default, user", system, []step{user("eve")}, "provider", "eve", nil},
		{"no default, tenant", system, []step{tenant("t")}, "t", "", nil},
		{"no default, user and tenant", system, []step{user("eve"), tenant("t")}, "t", "eve", nil},
		{"no default, tenant and user", system, []step{tenant("t"), user("eve")}, "t", "eve", nil},
		{"no default, system after user", system, []step{user("eve"), asSystem}, "provider", "", nil},
		{"no default, user after system", system, []step{asSystem, user("eve")}, "provider", "eve", nil},
		{"no default, system after blank user", system, []step{user(""), asSystem}, "provider", "", nil},
		{"no default, tenant, user, system", system, []step{tenant("t"), user("eve"), asSystem}, "t", "", nil},
		{"no default, system, tenant", system, []step{asSystem, tenant("t")}, "t", "", nil},
		{"no default, two users", system, []step{user("eve"), user("sue")}, "provider", "sue", nil},
		{"no default, two tenants", system, []step{tenant("t"), tenant("u")}, "u", "", nil},
		{"no default, no tenant after tenant", system, []step{tenant("t"), tenant("")}, "provider", "", nil},
		{"no default, user, no tenant after tenant", system, []step{user("eve"), tenant("t"), tenant("")}, "provider", "eve", nil},
		{"no default, invalid tenant", system, []step{tenant("invalid")}, "", "", errTenant},
		{"no default, blank after user", system, []step{user("eve"), user(" ")}, "", "", tokensource.ErrNoUserToken},
		{"no default, blank after system", system, []step{asSystem, user("")}, "", "", tokensource.ErrNoUserToken},
		{"no default, blank user in tenant", system, []step{user(""), tenant("t")}, "", "", tokensource.ErrNoUserToken},

		{"default user, nothing", bob, nil, "provider", "bob", nil},
		{"default user, another user", bob, []step{user("eve")}, "provider", "eve", nil},
		{"default user, system", bob, []step{asSystem}, "provider", "", nil},
		{"default user, tenant", bob, []step{tenant("t")}, "", "", tokensource.ErrSubjectConflict},
		{"default user, another user in a tenant", bob, []step{user("eve"), tenant("t")}, "t", "eve", nil},
		{"default user, system in a tenant", bob, []step{asSystem, tenant("t")}, "t", "", nil},
		{"default user, blank user", bob, []step{user("")}, "", "", tokensource.ErrNoUserToken},
		{"default user, blank user in a tenant", bob, []step{user(""), tenant("t")}, "", "", tokensource.ErrNoUserToken},
		{"default user, no tenant", bob, []step{tenant("")}, "provider", "bob", nil},

		{"default tenant, nothing", acme, nil, "acme", "", nil},
		{"default tenant, user", acme, []step{user("eve")}, "acme", "eve", nil},
		{"default tenant, system", acme, []step{asSystem}, "acme", "", nil},
		{"default tenant, another tenant", acme, []step{tenant("t")}, "t", "", nil},
		{"default tenant, no tenant", acme, []step{tenant("")}, "acme", "", nil},
		{"default tenant, no tenant after another tenant", acme, []step{tenant("t"), tenant("")}, "acme", "", nil},
		{"default tenant, flow's own tenant by name", acme, []step{tenant("provider")}, "provider", "", nil},

		{"default user in tenant, nothing", bobInAcme, nil, "acme", "bob", nil},
		{"default user in tenant, same tenant", bobInAcme, []step{tenant("acme")}, "acme", "bob", nil},
		{"default user in tenant, another tenant", bobInAcme, []step{tenant("t")}, "", "", tokensource.ErrSubjectConflict},
		{"default user in tenant, no tenant", bobInAcme, []step{tenant("")}, "acme", "bob", nil},
		{"default user in tenant, another user", bobInAcme, []step{user("eve")}, "acme", "eve", nil},
		{"default user in tenant, another user in another tenant", bobInAcme, []step{user("eve"), tenant("t")}, "t", "eve", nil},
		{"default user in tenant, system", bobInAcme, []step{asSystem}, "acme", "", nil},

		{"blank default user, nothing", blank, nil, "", "", tokensource.ErrNoUserToken},
		{"blank default user, another user", blank, []step{user("eve")}, "provider", "eve", nil},
		{"blank default user, system", blank, []step{asSystem}, "provider", "", nil},
		{"invalid default tenant", system.In("invalid"), nil, "", "", errTenant},
		{"invalid default tenant, another tenant", system.In("invalid"), []step{tenant("t")}, "t", "", nil},

		{"zero default, nothing", nobody, nil, "", "", tokensource.ErrNoSubject},
		{"zero default, tenant", nobody, []step{tenant("t")}, "", "", tokensource.ErrNoSubject},
		{"zero default, no tenant", nobody, []step{tenant("")}, "", "", tokensource.ErrNoSubject},
		{"zero default, user", nobody, []step{user("eve")}, "provider", "eve", nil},
		{"zero default, system", nobody, []step{asSystem}, "provider", "", nil},
		{"zero default in tenant, nothing", nobody.In("acme"), nil, "", "", tokensource.ErrNoSubject},
		{"zero default in tenant, user", nobody.In("acme"), []step{user("eve")}, "acme", "eve", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				bed.token(t.Context()) // a system token is at hand for a mistake
				bed.source = bed.source.For(tt.fallback)
				ctx := t.Context()
				for _, step := range tt.context {
					ctx = step(ctx)
				}
				for range 2 { // the second call remembers what the first one found
					token, err := bed.call(ctx)
					if !errors.Is(err, tt.wantErr) {
						t.Fatalf("got token %v and error %v, want error %v", token, err, tt.wantErr)
					}
					if err != nil {
						if !strings.HasPrefix(err.Error(), "agw: ") && err != errTenant {
							t.Errorf("error %q does not say that it is this module's", err)
						}
						bed.assertRequests(1, "a call that can act for nobody sends nothing")
					} else if got := token.AccessToken(); !isTokenOf(got, tt.wantTenant, tt.wantUser) {
						t.Errorf("acted with token %s, want that of user %q in tenant %q", got, tt.wantUser, tt.wantTenant)
					}
				}
			})
		})
	}
}

// blankUserTokens are blank once white space and the scheme are removed.
var blankUserTokens = []string{"", " ", "\t", "\r\n", "\u00a0", "\u2003\u0085", "Bearer", "bearer   ", " BEARER\t", "Bearer bearer"}

// A blank user is an error, even if a system token is at hand.
func TestBlankUser(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.token(t.Context())
		for _, blank := range blankUserTokens {
			ctx := tokensource.WithUserToken(t.Context(), blank)
			_, err := bed.call(ctx)
			if !errors.Is(err, tokensource.ErrNoUserToken) || !strings.Contains(err.Error(), "is blank") {
				t.Errorf("context with user token %q: got error %v, want an ErrNoUserToken that says that it is blank", blank, err)
			}
			subject, ok := tokensource.SubjectFromContext(ctx)
			if !ok || subject != tokensource.UserSubject("") {
				t.Errorf("context with user token %q: names subject %v (%v), want a user", blank, subject, ok)
			}
			bed.calls.Add(1)
			if _, err := bed.source.For(subject).Token(); !errors.Is(err, tokensource.ErrNoUserToken) {
				t.Errorf("default user token %q: got error %v, want ErrNoUserToken", blank, err)
			}
		}
		bed.assertRequests(1, "nothing is sent for a blank user")
	})
}

func TestRequireUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newTestbed(t, tokensource.Options{RequireUser: true})
		tests := []struct {
			name string
			ctx  context.Context
			text string
		}{
			{"nothing", t.Context(), "RequireUser"},
			{"system", tokensource.WithSystemToken(t.Context()), "RequireUser"},
			{"tenant", tokensource.WithTenant(t.Context(), "acme"), "RequireUser"},
			{"blank user", asUser(t.Context(), " "), "is blank"},
		}
		for _, tt := range tests {
			if _, err := bed.call(tt.ctx); !errors.Is(err, tokensource.ErrNoUserToken) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("context names %s: got error %v, want an ErrNoUserToken with %q in it", tt.name, err, tt.text)
			}
		}
		bed.assertRequests(0, "nothing is sent without a user")
		bed.token(asUser(t.Context(), "alice"))
		bed.source = bed.source.For(tokensource.UserSubject("alice"))
		bed.token(t.Context())
		bed.assertRequests(1, "a default user will do")
	})
}

// Every way to write a user's token leads to the same subject.
func TestSchemeOfAUserTokenIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		for _, jwt := range []string{"eyJ.x.y", " eyJ.x.y\n", "Bearer eyJ.x.y", "bearer eyJ.x.y", "BEARER \t eyJ.x.y ", "Bearer bearer eyJ.x.y"} {
			if got := bed.token(asUser(t.Context(), jwt)).AccessToken(); !isTokenOf(got, "provider", "eyJ.x.y") {
				t.Errorf("user token %q: got %s, want that of user token eyJ.x.y", jwt, got)
			}
			if subject := tokensource.UserSubject(jwt); subject != tokensource.UserSubject("eyJ.x.y") || subject.UserToken() != "eyJ.x.y" {
				t.Errorf("UserSubject(%q): got user token %q, want eyJ.x.y", jwt, subject.UserToken())
			}
		}
		bed.assertRequests(1, "all are the same subject")
		if got := bed.token(asUser(t.Context(), "bearereyJ.x.y")).AccessToken(); !isTokenOf(got, "provider", "bearereyJ.x.y") {
			t.Errorf("a user token that begins like the scheme: got %s, want that of the whole", got)
		}
	})
}

func FuzzUserToken(f *testing.F) {
	for _, blank := range blankUserTokens {
		f.Add(blank)
		f.Add(blank + " x")
		f.Add(blank + "x")
	}
	f.Fuzz(func(t *testing.T, jwt string) {
		subject, ok := tokensource.SubjectFromContext(tokensource.WithUserToken(t.Context(), jwt))
		if !ok || subject == tokensource.SystemSubject() || subject == (tokensource.Subject{}) {
			t.Fatalf("%q leads to subject %v, want a user", jwt, subject)
		}
		if subject != tokensource.UserSubject(jwt) {
			t.Errorf("%q leads to another subject in a context than by UserSubject", jwt)
		}
		got := subject.UserToken()
		err := subject.Err()
		if err == nil && got == "" {
			t.Fatalf("%q: got neither a user token nor an error", jwt)
		}
		if !strings.Contains(jwt, got) {
			t.Errorf("%q became %q, which is not a part of it", jwt, got)
		}
		if unfit := strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }); (unfit || strings.EqualFold(got, "bearer")) && err == nil {
			t.Errorf("%q became %q, which cannot be a token, without an error", jwt, got)
		}
		if again := tokensource.UserSubject(got).UserToken(); again != got {
			t.Errorf("%q became %q, which becomes %q when it is done again", jwt, got, again)
		}
	})
}

func TestSubjectFromContext(t *testing.T) {
	t.Parallel()
	if s, ok := tokensource.SubjectFromContext(t.Context()); ok || s != (tokensource.Subject{}) {
		t.Errorf("context that names nothing: got subject %v (%v), want none", s, ok)
	}
	type contextKey struct{}
	eve := tokensource.WithUserToken(t.Context(), "Bearer eve")
	tests := []struct {
		name string
		ctx  context.Context
		want tokensource.Subject
	}{
		{"user", eve, tokensource.UserSubject("eve")},
		{"user in tenant", tokensource.WithTenant(eve, "acme"), tokensource.UserSubject("eve").In("acme")},
		{"tenant reset", tokensource.WithTenant(tokensource.WithTenant(eve, "acme"), ""), tokensource.UserSubject("eve")},
		{"system in tenant", tokensource.WithSystemToken(tokensource.WithTenant(eve, "acme")), tokensource.SystemSubject().In("acme")},
		{"system", tokensource.WithSystemToken(t.Context()), tokensource.SystemSubject()},
		{"tenant only", tokensource.WithTenant(t.Context(), "acme"), tokensource.Subject{}.In("acme")},
		{"in a context derived from it", context.WithoutCancel(context.WithValue(eve, contextKey{}, 1)), tokensource.UserSubject("eve")},
	}
	for _, tt := range tests {
		if got, ok := tokensource.SubjectFromContext(tt.ctx); !ok || got != tt.want {
			t.Errorf("%s: got subject %v with user token %q (%v), want %v", tt.name, got, got.UserToken(), ok, tt.want)
		}
	}
}

// A context that names a subject is like the one that it was made of in everything else.
func TestContextWithSubjectKeepsTheRest(t *testing.T) {
	t.Parallel()
	type contextKey struct{}
	cause := errors.New("shutting down")
	parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), contextKey{}, "value"))
	ctx := tokensource.WithTenant(tokensource.WithUserToken(parent, "alice"), "acme")
	child, stop := context.WithCancel(ctx)
	defer stop()
	if got := ctx.Value(contextKey{}); got != "value" {
		t.Errorf("a value of the parent context: got %v, want %q", got, "value")
	}
	cancel(cause)
	<-child.Done()
	if ctx.Err() != context.Canceled || context.Cause(ctx) != cause || context.Cause(child) != cause {
		t.Errorf("after the end of the parent context: got error %v, cause %v and the child's cause %v; want %v, %v and %v",
			ctx.Err(), context.Cause(ctx), context.Cause(child), context.Canceled, cause, cause)
	}
}

func TestSubjectsCanBeCompared(t *testing.T) {
	t.Parallel()
	subjects := []tokensource.Subject{
		{},
		tokensource.Subject{}.In("acme"),
		tokensource.SystemSubject(),
		tokensource.SystemSubject().In("acme"),
		tokensource.UserSubject(""),
		tokensource.UserSubject("alice"),
		tokensource.UserSubject("bob"),
		tokensource.UserSubject("alice").In("acme"),
		tokensource.UserSubject("alice").In("t"),
	}
	seen := make(map[tokensource.Subject]int)
	for i, s := range subjects {
		if other, ok := seen[s]; ok {
			t.Errorf("subjects %d and %d are equal, want them different", other, i)
		}
		seen[s] = i
	}
	for _, s := range subjects {
		if s.In("x").In(s.Tenant()) != s {
			t.Errorf("subject %v, moved to another tenant and back, is not equal to itself", s)
		}
	}
	if s := tokensource.UserSubject("Bearer alice").In("acme"); s != tokensource.UserSubject("alice").In("acme") || s.Tenant() != "acme" || s.UserToken() != "alice" {
		t.Errorf("got subject %v with tenant %q and user token %q, want acme and alice", s, s.Tenant(), s.UserToken())
	}
	if got := tokensource.SystemSubject().UserToken(); got != "" {
		t.Errorf("user token of the system: got %q, want none", got)
	}
}

// Sources made by For share everything.
func TestForSharesEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		want := bed.token(asUser(t.Context(), "bob"))
		bob := bed.source.For(tokensource.UserSubject("bob"))
		bed.calls.Add(1)
		if got, err := bob.AccessToken(t.Context()); got != want || err != nil {
			t.Errorf("source for bob: got token %v and error %v, want the token of the first source", got, err)
		}
		bed.assertRequests(1, "both sources share the cache")
		bob.Purge()
		bed.token(asUser(t.Context(), "bob"))
		bed.assertRequests(2, "Purge of one is Purge of all")
		if got, want := bob.Stats(), bed.source.Stats(); got != want {
			t.Errorf("the counters of two sources differ: %+v and %+v", got, want)
		}
	})
}

// A flow is never asked for a subject without what the call is for.
func TestFetchIsToldTheSubject(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		var got tokensource.Subject
		bed.flow.setFetch(func(_ context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			got = s
			return responseLivingFor(expiry), nil
		})
		tests := []struct {
			name string
			ctx  context.Context
			want tokensource.Subject
		}{
			{"system", t.Context(), tokensource.SystemSubject().In("provider")},
			{"system in acme", tokensource.WithTenant(t.Context(), "acme"), tokensource.SystemSubject().In("acme")},
			{"alice", asUser(t.Context(), "alice"), tokensource.UserSubject("alice").In("provider")},
			{"alice in acme", asAliceInAcme(t.Context()), aliceInAcme},
		}
		for _, tt := range tests {
			bed.token(tt.ctx)
			if got != tt.want {
				t.Errorf("%s: the flow was asked for %v, want %v in the tenant that it decided on", tt.name, got, tt.want)
			}
		}
	})
}

func TestContextThatNamesNothing(t *testing.T) {
	t.Parallel()
	if s, ok := tokensource.SubjectFromContext(tokensource.WithTenant(t.Context(), "")); ok {
		t.Errorf("a context that names no tenant names subject %v, want none", s)
	}
}
