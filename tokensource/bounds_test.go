package tokensource_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

func asNumberedUser(ctx context.Context, n int) context.Context {
	return asUser(ctx, fmt.Sprint("user", n))
}

func inNumberedTenant(ctx context.Context, n int) context.Context {
	return tokensource.WithTenant(ctx, fmt.Sprint("tenant", n))
}

func TestUserTokensAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		system := bed.token(t.Context())
		for i := range 1000 {
			bed.token(asNumberedUser(t.Context(), i))
		}
		synctest.Wait()
		stats := bed.source.Stats()
		if stats.UserTokens != 256 || stats.Evictions != 1000-256 {
			t.Errorf("after 1000 users: %d tokens are cached and %d were evicted, want 256 and %d", stats.UserTokens, stats.Evictions, 1000-256)
		}
		if stats.Histories != 0 {
			t.Errorf("after 1000 users without a failure: %d histories are kept, want none", stats.Histories)
		}
		if got := bed.token(t.Context()); got != system {
			t.Error("the tokens of 1000 users pushed the system token out of the cache")
		}
		bed.token(asNumberedUser(t.Context(), 999))
		bed.assertRequests(1001, "the last user's token is cached")
		bed.token(asNumberedUser(t.Context(), 0))
		bed.assertRequests(1002, "the first user's token is not")
	})
}

// A cache that is too small costs a fetch for each token that leaves it. The log says so,
// but not for each of them.
func TestFullCacheIsLogged(t *testing.T) {
	tests := []struct {
		name    string
		call    func(context.Context, int) context.Context
		setting string
	}{
		{"user tokens", asNumberedUser, "MaxUserTokens"},
		{"system tokens", inNumberedTenant, "MaxSystemTokens"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				bed := newTestbed(t, tokensource.Options{
					Settings: tokensource.Settings{MaxUserTokens: 5, MaxSystemTokens: 5},
					Logger:   jsonLogger(&log),
				})
				warnings := func() int {
					synctest.Wait()
					return strings.Count(log.String(), `"level":"WARN"`)
				}
				for i := range 5 {
					bed.token(tt.call(t.Context(), i))
				}
				if n := warnings(); n != 0 {
					t.Errorf("5 subjects in a cache for 5: got %d warnings, want none:\n%s", n, log.String())
				}
				for i := range 100 {
					bed.token(tt.call(t.Context(), 5+i))
				}
				if n := warnings(); n != 1 || !strings.Contains(log.String(), "raise Settings."+tt.setting) {
					t.Errorf("105 subjects in a cache for 5: got %d warnings, want one that names %s:\n%s", n, tt.setting, log.String())
				}
				time.Sleep(time.Minute)
				bed.token(tt.call(t.Context(), 1000))
				if n := warnings(); n != 2 {
					t.Errorf("a minute after the first warning: got %d warnings, want a second one", n)
				}
			})
		})
	}
}

func TestSystemTokensAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		user := bed.token(asUser(t.Context(), "alice"))
		for i := range 100 {
			bed.token(inNumberedTenant(t.Context(), i))
		}
		synctest.Wait()
		stats := bed.source.Stats()
		if stats.SystemTokens != 32 || stats.Evictions != 100-32 {
			t.Errorf("after 100 tenants: %d system tokens are cached and %d were evicted, want 32 and %d", stats.SystemTokens, stats.Evictions, 100-32)
		}
		if got := bed.token(asUser(t.Context(), "alice")); got != user {
			t.Error("the system tokens of 100 tenants pushed a user's token out of the cache")
		}
		bed.token(inNumberedTenant(t.Context(), 99))
		bed.assertRequests(101, "the last tenant's token is cached")
		bed.token(inNumberedTenant(t.Context(), 0))
		bed.assertRequests(102, "the first tenant's token is not")
	})
}

func TestGatewaysAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(_ context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(expiry)
			resp.GatewayURL = &url.URL{Scheme: "https", Host: s.Tenant()}
			return resp, nil
		})
		for i := range 100 {
			bed.token(inNumberedTenant(t.Context(), i))
		}
		if n := bed.source.Stats().GatewayURLs; n != 64 {
			t.Errorf("after 100 tenants: %d gateways are known, want 64", n)
		}
		for i := range 100 {
			gateway, _ := bed.source.Gateway(inNumberedTenant(t.Context(), i))
			if known, want := gateway != nil, i >= 100-64; known != want {
				t.Errorf("tenant %d of 100: the gateway is known: %v, want %v", i, known, want)
			}
			if gateway != nil && gateway.Host != fmt.Sprint("tenant", i) {
				t.Errorf("tenant %d: got gateway %v, want its own", i, gateway)
			}
		}
	})
}

func TestHistoriesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow := newFlow()
		flow.setFetch(failingWith(userDenied))
		source, err := tokensource.New(flow, tokensource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20_000 {
			if _, err := source.AccessToken(asNumberedUser(t.Context(), i)); err == nil {
				t.Fatalf("user %d, who is denied, got a token", i)
			}
		}
		stats := source.Stats()
		if stats.Histories != 1024 || stats.UserTokens != 0 || stats.InFlight != 0 {
			t.Errorf("after 20,000 denied users: %d histories, %d tokens and %d fetches, want 1024, 0 and 0", stats.Histories, stats.UserTokens, stats.InFlight)
		}
	})
}

// The failures of a thousand users are remembered, however few tokens are cached.
func TestFailuresAreRememberedOfManyUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newTestbed(t, tokensource.Options{Settings: tokensource.Settings{MaxUserTokens: 1, MaxSystemTokens: 1}})
		bed.flow.setFetch(failingWith(userDenied))
		for range 2 {
			for i := range 1000 {
				bed.failure(asNumberedUser(t.Context(), i))
			}
		}
		bed.assertRequests(1000, "each of 1000 denied users backs off")
	})
}

func TestSettingsBoundTheCaches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newTestbed(t, tokensource.Options{Settings: tokensource.Settings{
			MaxSystemTokens: 2, MaxUserTokens: 2000, MaxGatewayURLs: 3,
		}})
		for i := range 2001 {
			bed.token(asNumberedUser(t.Context(), i))
		}
		for i := range 10 {
			bed.token(inNumberedTenant(t.Context(), i))
		}
		stats := bed.source.Stats()
		if stats.SystemTokens != 2 || stats.UserTokens != 2000 || stats.GatewayURLs != 3 {
			t.Errorf("got %d system tokens, %d user tokens and %d gateways, want 2, 2000 and 3 as configured", stats.SystemTokens, stats.UserTokens, stats.GatewayURLs)
		}

		// As many histories are kept as tokens, if that is more than 1024.
		bed.flow.setFetch(failingWith(userDenied))
		for i := range 3000 {
			bed.failure(asNumberedUser(t.Context(), 10_000+i))
		}
		if n := bed.source.Stats().Histories; n != 2002 {
			t.Errorf("after 3000 denied users: %d histories are kept, want one for each of 2002 possible tokens", n)
		}
	})
}

// Each JWT costs an exchange. A program whose users come with another one for each call is
// told so once, and a program whose users keep theirs is not.
func TestUserTokensThatAreUsedOnce(t *testing.T) {
	for _, tt := range []struct {
		name         string
		callsPerUser int
		wantWarnings int
	}{{"one call for each JWT", 1, 1}, {"ten calls for each JWT", 10, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				bed := newTestbed(t, tokensource.Options{Logger: jsonLogger(&log), Settings: tokensource.Settings{MaxUserTokens: 1000}})
				for user := range 600 {
					for range tt.callsPerUser {
						bed.token(asUser(t.Context(), fmt.Sprint("user", user)))
					}
				}
				synctest.Wait()
				if n := strings.Count(log.String(), "used for one call only"); n != tt.wantWarnings {
					t.Errorf("600 users, %s: got %d warnings, want %d", tt.name, n, tt.wantWarnings)
				}
			})
		})
	}
}
