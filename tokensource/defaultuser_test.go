package tokensource_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/agwgo/agw/tokensource"
)

type tenantKey struct{}

// contextFlow reads the tenant of calls that name none off the context.
type contextFlow struct{ *scriptedFlow }

func (f contextFlow) Tenant(ctx context.Context, requested string) (string, error) {
	if tenant, ok := ctx.Value(tenantKey{}).(string); ok && requested == "" {
		requested = tenant
	}
	return f.scriptedFlow.Tenant(ctx, requested)
}

// The user who is a source's default is of one tenant, also where the flow reads tenants off
// the context.
func TestDefaultUserIsOfOneTenant(t *testing.T) {
	t.Parallel()
	bob, eve := tokensource.UserSubject("bob"), func(ctx context.Context) context.Context { return asUser(ctx, "eve") }
	same := func(ctx context.Context) context.Context { return ctx }
	noTenant := func(ctx context.Context) context.Context { return tokensource.WithTenant(ctx, "") }
	tests := []struct {
		name       string
		fallback   tokensource.Subject
		tenant     string // that the flow finds in the context; "" if there is none
		context    func(context.Context) context.Context
		wantTenant string // "" if the call is an ErrSubjectConflict
		wantUser   string
	}{
		{"no tenant in the context", bob, "", same, "provider", "bob"},
		{"the flow's own tenant in the context", bob, "provider", same, "provider", "bob"},
		{"another tenant in the context", bob, "acme", same, "", ""},
		{"another tenant in a context that names no tenant", bob, "acme", noTenant, "", ""},
		{"default user in tenant, another tenant in the context", bob.In("t"), "acme", same, "t", "bob"},
		{"a user and a tenant in the context", bob, "acme", eve, "acme", "eve"},
		{"the default user by name, a tenant in the context", bob, "acme", func(ctx context.Context) context.Context { return asUser(ctx, "bob") }, "acme", "bob"},
		{"the system by name, a tenant in the context", bob, "acme", tokensource.WithSystemToken, "acme", ""},
		{"system by default, a tenant in the context", tokensource.SystemSubject(), "acme", same, "acme", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				script := newFlow()
				bed := newTestbedOver(t, contextFlow{script}, script, tokensource.Options{})
				bed.source = bed.source.For(tt.fallback)
				ctx := t.Context()
				if tt.tenant != "" {
					ctx = context.WithValue(ctx, tenantKey{}, tt.tenant)
				}
				ctx = tt.context(ctx)
				for range 2 { // the second call remembers what the first one found
					token, err := bed.call(ctx)
					switch {
					case tt.wantTenant == "":
						if !errors.Is(err, tokensource.ErrSubjectConflict) {
							t.Errorf("got token %v and error %v, want ErrSubjectConflict", token, err)
						}
						bed.assertRequests(0, "nothing is sent for the user of another tenant")
					case err != nil || !isTokenOf(token.AccessToken(), tt.wantTenant, tt.wantUser):
						t.Errorf("got token %v and error %v, want that of user %q in tenant %q", token, err, tt.wantUser, tt.wantTenant)
					}
				}
			})
		})
	}
}

// A default user whose token cannot be one never acts as the system, also in a context that
// names the user's tenant or none.
func TestFaultyDefaultUserInATenant(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		for jwt, want := range map[string]error{" ": tokensource.ErrNoUserToken, "Basic x": tokensource.ErrBadUserToken} {
			for _, tenant := range []string{"", "acme"} {
				bed.source = bed.source.For(tokensource.UserSubject(jwt).In(tenant))
				if token, err := bed.call(tokensource.WithTenant(t.Context(), tenant)); !errors.Is(err, want) {
					t.Errorf("user token %q, tenant %q: got token %v and error %v, want %v", jwt, tenant, token, err, want)
				}
			}
		}
		bed.assertRequests(0, "nothing is sent for a user who is none")
	})
}
