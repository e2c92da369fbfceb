package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/agwgo/agw/tokensource"
)

type step func(context.Context) context.Context

func asUser(jwt string) step {
	return func(ctx context.Context) context.Context { return tokensource.WithUserToken(ctx, jwt) }
}

func inTenant(tenant string) step {
	return func(ctx context.Context) context.Context { return tokensource.WithTenant(ctx, tenant) }
}

// Whom a call acts for, given the source's default and what was done to the context.
func TestSubjectOfACall(t *testing.T) {
	t.Parallel()
	var (
		none      tokensource.Subject
		acme      = tokensource.Subject{Tenant: "acme"}
		bob       = tokensource.Subject{UserToken: "bob"}
		acmeBob   = tokensource.Subject{Tenant: "acme", UserToken: "bob"}
		technical = step(tokensource.WithTechnicalToken)
	)
	tests := []struct {
		name         string
		fallback     tokensource.Subject
		steps        []step
		tenant, user string
		err          error
	}{
		{"nothing", none, nil, "provider", "", nil},
		{"user", none, []step{asUser("eve")}, "provider", "eve", nil},
		{"tenant", none, []step{inTenant("t")}, "t", "", nil},
		{"user, tenant", none, []step{asUser("eve"), inTenant("t")}, "t", "eve", nil},
		{"tenant, user", none, []step{inTenant("t"), asUser("eve")}, "t", "eve", nil},
		{"user, technical", none, []step{asUser("eve"), technical}, "provider", "", nil},
		{"technical, user", none, []step{technical, asUser("eve")}, "provider", "eve", nil},
		{"blank, technical", none, []step{asUser(""), technical}, "provider", "", nil},
		{"tenant, user, technical", none, []step{inTenant("t"), asUser("eve"), technical}, "t", "", nil},
		{"technical, tenant", none, []step{technical, inTenant("t")}, "t", "", nil},
		{"two users", none, []step{asUser("eve"), asUser("sue")}, "provider", "sue", nil},
		{"two tenants", none, []step{inTenant("t"), inTenant("u")}, "u", "", nil},
		{"tenant, own tenant", none, []step{inTenant("t"), inTenant("")}, "provider", "", nil},
		{"invalid tenant", none, []step{inTenant("bad")}, "", "", errTenant},
		{"user, then blank", none, []step{asUser("eve"), asUser(" ")}, "", "", tokensource.ErrNoUserToken},
		{"technical, then blank", none, []step{technical, asUser("")}, "", "", tokensource.ErrNoUserToken},

		{"default user", bob, nil, "provider", "bob", nil},
		{"default user, another", bob, []step{asUser("eve")}, "provider", "eve", nil},
		{"default user, technical", bob, []step{technical}, "provider", "", nil},
		{"default user, tenant", bob, []step{inTenant("t")}, "", "", tokensource.ErrSubjectConflict},
		{"default user, another, tenant", bob, []step{asUser("eve"), inTenant("t")}, "t", "eve", nil},
		{"default user, technical, tenant", bob, []step{technical, inTenant("t")}, "t", "", nil},
		{"default user, blank", bob, []step{asUser("")}, "", "", tokensource.ErrNoUserToken},
		{"default user, blank, tenant", bob, []step{asUser(""), inTenant("t")}, "", "", tokensource.ErrNoUserToken},
		{"default user, own tenant", bob, []step{inTenant("")}, "provider", "bob", nil},

		{"default tenant", acme, nil, "acme", "", nil},
		{"default tenant, user", acme, []step{asUser("eve")}, "acme", "eve", nil},
		{"default tenant, another", acme, []step{inTenant("t")}, "t", "", nil},
		{"default tenant, own tenant", acme, []step{inTenant("")}, "provider", "", nil},

		{"default", acmeBob, nil, "acme", "bob", nil},
		{"default, same tenant", acmeBob, []step{inTenant("acme")}, "acme", "bob", nil},
		{"default, another tenant", acmeBob, []step{inTenant("t")}, "", "", tokensource.ErrSubjectConflict},
		{"default, own tenant", acmeBob, []step{inTenant("")}, "", "", tokensource.ErrSubjectConflict},
		{"default, another user", acmeBob, []step{asUser("eve")}, "acme", "eve", nil},
		{"default, technical", acmeBob, []step{technical}, "acme", "", nil},

		{"blank default user", tokensource.Subject{UserToken: "Bearer "}, nil, "", "", tokensource.ErrNoUserToken},
		{"blank default user, another", tokensource.Subject{UserToken: "Bearer "}, []step{asUser("eve")}, "provider", "eve", nil},
		{"invalid default tenant", tokensource.Subject{Tenant: "bad"}, nil, "", "", errTenant},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				h.token(t.Context()) // the technical token is there for who falls back to it
				h.fetches.Store(0)
				h.Source = h.For(tt.fallback)
				ctx := t.Context()
				for _, s := range tt.steps {
					ctx = s(ctx)
				}
				g, err := h.Grant(ctx)
				if !errors.Is(err, tt.err) {
					t.Fatalf("error is %v, want %v", err, tt.err)
				}
				if err != nil {
					h.fetched(0)
				} else if token := g.Token().AccessToken; !isFor(token, tt.tenant, tt.user) {
					t.Errorf("acted by token %s, want that of %q in %q", token, tt.user, tt.tenant)
				}
			})
		})
	}
}

var blanks = []string{"", " ", "\t", "\r\n", "\u00a0", "\u2003\u0085", "Bearer", "bearer   ", " BEARER\t", "Bearer bearer"}

// A blank user is an error, even if a technical token is at hand.
func TestBlankUser(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.token(t.Context())
		for _, blank := range blanks {
			ctx := tokensource.WithUserToken(t.Context(), blank)
			if _, err := h.Grant(ctx); !errors.Is(err, tokensource.ErrNoUserToken) {
				t.Errorf("%q: error is %v, want ErrNoUserToken", blank, err)
			}
			s, ok := tokensource.SubjectFromContext(ctx)
			if !ok {
				t.Errorf("%q: no subject", blank)
			}
			if _, err := h.For(s).Token(); !errors.Is(err, tokensource.ErrNoUserToken) {
				t.Errorf("%q: as a subject, the error is %v, want ErrNoUserToken", blank, err)
			}
			h.calls.Add(1)
		}
		h.fetched(1)
	})
}

func TestRequireUser(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *harness) {
		h := newHarness(t, tokensource.Options{RequireUser: true})
		for _, ctx := range []context.Context{t.Context(), tokensource.WithTechnicalToken(t.Context()), tokensource.WithTenant(t.Context(), "acme")} {
			if _, err := h.Grant(ctx); !errors.Is(err, tokensource.ErrNoUserToken) {
				t.Errorf("error is %v, want ErrNoUserToken", err)
			}
		}
		h.fetched(0)
		h.token(user(t.Context(), "alice"))
		h.Source = h.For(tokensource.Subject{UserToken: "alice"})
		h.token(t.Context())
		h.fetched(1)
		h.balance()
	})
}

// Every way to write a user's token leads to the same subject.
func TestBearerIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		for _, jwt := range []string{"eyJ.x.y", " eyJ.x.y\n", "Bearer eyJ.x.y", "bearer eyJ.x.y", "BEARER \t eyJ.x.y ", "Bearer bearer eyJ.x.y"} {
			if token := h.token(user(t.Context(), jwt)); !isFor(token, "provider", "eyJ.x.y") {
				t.Errorf("%q was exchanged for %s", jwt, token)
			}
		}
		h.fetched(1)
		if token := h.token(user(t.Context(), "bearereyJ.x.y")); !isFor(token, "provider", "bearereyJ.x.y") {
			t.Errorf("what begins like a scheme was exchanged for %s", token)
		}
	})
}

func FuzzUserToken(f *testing.F) {
	for _, blank := range blanks {
		f.Add(blank)
		f.Add(blank + " x")
		f.Add(blank + "x")
	}
	f.Fuzz(func(t *testing.T, jwt string) {
		s, ok := tokensource.SubjectFromContext(tokensource.WithUserToken(t.Context(), jwt))
		got := s.UserToken
		if !ok || got == "" {
			t.Fatalf("%q leads to the technical token", jwt)
		}
		if !strings.Contains(jwt, got) && got != " " {
			t.Errorf("%q has become %q", jwt, got)
		}
		if got != " " && (strings.TrimFunc(got, unicode.IsSpace) != got || hasScheme(got)) {
			t.Errorf("of %q, %q is left", jwt, got)
		}
		again, _ := tokensource.SubjectFromContext(tokensource.WithUserToken(t.Context(), got))
		if again.UserToken != got {
			t.Errorf("%q, done again, is %q", got, again.UserToken)
		}
	})
}

func hasScheme(s string) bool {
	if len(s) < 6 || !strings.EqualFold(s[:6], "bearer") {
		return false
	}
	return s[6:] == "" || strings.TrimLeftFunc(s[6:], unicode.IsSpace) != s[6:]
}

func TestSubjectFromContext(t *testing.T) {
	t.Parallel()
	if s, ok := tokensource.SubjectFromContext(t.Context()); ok {
		t.Errorf("an empty context has subject %v", s)
	}
	ctx := tokensource.WithTenant(tokensource.WithUserToken(t.Context(), "Bearer eve"), "acme")
	if s, ok := tokensource.SubjectFromContext(ctx); !ok || s != (tokensource.Subject{Tenant: "acme", UserToken: "eve"}) {
		t.Errorf("subject is %+v, %v", s, ok)
	}
	if s, ok := tokensource.SubjectFromContext(tokensource.WithTechnicalToken(ctx)); !ok || s != (tokensource.Subject{Tenant: "acme"}) {
		t.Errorf("technical subject is %+v, %v", s, ok)
	}
}

// A context is used with many sources at once, and each finds its own key in it.
func TestOneContextManySources(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		other := newHarness(t, tokensource.Options{})
		other.rotate("two")
		ctx := user(t.Context(), "alice")
		var wg sync.WaitGroup
		for _, h := range []*harness{h, other} {
			for range 8 {
				wg.Go(func() {
					for i := range 500 {
						u := h.For(tokensource.Subject{Tenant: fmt.Sprint("u", i%2)})
						h.calls.Add(1)
						if token, err := u.TokenContext(ctx); err != nil || !isFor(token.AccessToken, fmt.Sprint("u", i%2), "alice") {
							t.Errorf("u%d got %v, error %v", i%2, token, err)
						}
						tenant := []string{"", "acme"}[i%2]
						token := h.token(tokensource.WithTenant(ctx, tenant))
						if i%3 == 0 {
							tenant, token = "", h.token(ctx)
						}
						if tenant == "" {
							tenant = "provider"
						}
						if !isFor(token, tenant, "alice") || !isOf(token, h.Identity().ClientID) {
							t.Errorf("in %q, source %s served %s", tenant, h.Identity().ClientID, token)
							return
						}
					}
				})
			}
		}
		wg.Wait()
		h.fetched(4)
		other.fetched(4)
		other.balance()
	})
}

// Sources made by For share everything.
func TestForShares(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		want := h.token(user(t.Context(), "bob"))
		bob := h.For(tokensource.Subject{UserToken: "bob"})
		got, err := bob.Token()
		h.calls.Add(1)
		if err != nil || got.AccessToken != want {
			t.Errorf("got token %v and error %v", got, err)
		}
		bob.Purge()
		h.token(user(t.Context(), "bob"))
		h.fetched(2)
	})
}

func TestGatewayOfASubject(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		ctx := tokensource.WithTenant(t.Context(), "acme")
		if u, known := h.Gateway(ctx); known {
			t.Errorf("before the first token, the gateway is %v", u)
		}
		h.token(ctx)
		if u, known := h.Gateway(user(ctx, "alice")); !known || u != gatewayURL {
			t.Errorf("of another user in the same tenant, the gateway is %v, %v", u, known)
		}
		if u, known := h.Gateway(t.Context()); known {
			t.Errorf("of another tenant, the gateway is %v", u)
		}
		if u, known := h.Gateway(tokensource.WithTenant(ctx, "bad")); known {
			t.Errorf("of an invalid tenant, the gateway is %v", u)
		}
		if u, known := h.For(alice).Gateway(tokensource.WithTenant(t.Context(), "t")); known {
			t.Errorf("of a conflict, the gateway is %v", u)
		}
		time.Sleep(expiry + 5*time.Minute - 1)
		if _, known := h.Gateway(ctx); !known {
			t.Error("the gateway does not outlive its token")
		}
		time.Sleep(time.Nanosecond)
		if u, known := h.Gateway(ctx); known {
			t.Errorf("long after its token, the gateway is %v", u)
		}
		h.fetched(1)
	})
}

func TestConfiguredGateway(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		id := *h.Identity()
		id.GatewayURL = gatewayURL
		h.identity.Store(&id)
		h.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := response(expiry)
			resp.GatewayURL = nil
			return resp, nil
		})
		if u, known := h.Gateway(t.Context()); !known || u != gatewayURL {
			t.Errorf("the gateway is %v, %v", u, known)
		}
		if u := h.mustGrant(t.Context()).GatewayURL(); u != gatewayURL {
			t.Errorf("the gateway of a grant is %v", u)
		}
	})
}

// moving is a fake whose own tenant changes.
type moving struct {
	*fake
	own string
}

func (m *moving) Tenant(context.Context, string) (string, error) { return m.own, nil }

func TestTenantOfOneContextChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		m := &moving{fake: h.fake}
		h = newHarnessOver(t, m, h.fake, tokensource.Options{})
		ctx := user(t.Context(), "alice")
		for _, m.own = range []string{"a", "b"} {
			if token := h.token(ctx); !isFor(token, m.own, "alice") {
				t.Errorf("in %s, token %s is served", m.own, token)
			}
		}
		h.balance()
	})
}

// A token is known by all that it was obtained with.
func TestKeyHasAllParts(t *testing.T) {
	t.Parallel()
	identity := tokensource.Identity{Flow: "flow", TokenEndpoint: "https://ias.example", ClientID: "client", Resource: "resource"}
	others := []func(*tokensource.Identity){
		func(*tokensource.Identity) {},
		func(id *tokensource.Identity) { id.Flow = "other" },
		func(id *tokensource.Identity) { id.TokenEndpoint = "https://other.example" },
		func(id *tokensource.Identity) { id.ClientID = "other" },
		func(id *tokensource.Identity) { id.Resource = "other" },
	}
	seen := make(map[string]bool)
	for _, alter := range others {
		id := identity
		alter(&id)
		src, err := tokensource.New(&oneIdentity{id: &id}, tokensource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := src.Grant(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen[g.Fingerprint()] = true
	}
	if len(seen) != len(others) {
		t.Errorf("%d fingerprints of %d identities", len(seen), len(others))
	}
}

// oneIdentity is a flow that always succeeds.
type oneIdentity struct{ id *tokensource.Identity }

func (f *oneIdentity) Identity() *tokensource.Identity { return f.id }

func (f *oneIdentity) Tenant(context.Context, string) (string, error) { return "", nil }

func (f *oneIdentity) Fetch(context.Context, tokensource.Subject) (*tokensource.Response, error) {
	r := response(time.Hour)
	r.AccessToken = "token"
	return r, nil
}
