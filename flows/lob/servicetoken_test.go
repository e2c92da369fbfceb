package lob_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestAuthorizationServerRefusesTheSecret(t *testing.T) {
	t.Parallel()
	s := newServices()
	s.auth = func(int, request) httpResponse {
		return httpResponse{401, `{"error":"invalid_client","error_description":"secret ` + url.QueryEscape(secret) + ` is wrong"}`}
	}
	err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", "")
	assertError(t, err, "fetch service token", "https://acme.authentication.example.com/oauth/token", "invalid_client")
	// The error is passed on as the source of the service tokens returns it: it says when that
	// tries again, so that the caller's source does not try in vain before.
	if e := requestError(t, err); e.Kind != tokensource.Denied || e.NextAttempt.IsZero() {
		t.Errorf("%v: kind %v, next attempt %v; want denied and a time", err, e.Kind, e.NextAttempt)
	}
	assertSequence(t, "the secret is refused", s, "auth")
}

// A source over the flow does not repeat what the source of the service tokens has repeated.
func TestServiceTokenIsNotRetriedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		s.auth = func(int, request) httpResponse { return httpResponse{503, ``} }
		src := newSource(t, s.newFlow(t, flows.Options{}), tokensource.Options{})
		ctx := tokensource.WithTenant(t.Context(), "acme")
		if _, err := src.AccessToken(ctx); !requestError(t, err).Temporary() {
			t.Errorf("503: got %v, want a temporary error", err)
		}
		assertSequence(t, "the authorization server is down", s, "auth auth auth")
		_, err := src.AccessToken(ctx)
		assertError(t, err, "fetch service token", "503")
		assertSequence(t, "during the backoff", s, "")
		time.Sleep(2 * time.Second)
		s.auth = newServices().auth
		if _, err := src.AccessToken(ctx); err != nil {
			t.Errorf("after the backoff: %v", err)
		}
		assertSequence(t, "after the backoff", s, "auth fragments destination")
	})
}

// An unknown tenant is an error of the authorization server. It must not be taken for a
// missing fragment.
func TestAuthorizationServerDoesNotKnowTheTenant(t *testing.T) {
	t.Parallel()
	s := newServices()
	s.auth = func(int, request) httpResponse { return httpResponse{404, `{"error":"unknown_zone"}`} }
	err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", "")
	assertError(t, err, "fetch service token", "status 404")
	if errors.Is(err, lob.ErrNoFragment) {
		t.Errorf("%v: is an ErrNoFragment", err)
	}
}

func TestServiceTokenMakesNoSense(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`[]`, `{"access_token":7}`, `{"access_token":""}`, `{}`} {
		synctest.Test(t, func(t *testing.T) {
			s := newServices()
			s.auth = func(int, request) httpResponse { return httpResponse{200, body} }
			err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", "")
			assertError(t, err, "fetch service token")
			requestError(t, err)
		})
	}
}

// revoked is what the Destination Service responds to a service token that was revoked.
func revoked() httpResponse { return httpResponse{401, `{"ErrorMessage":"the token was refused"}`} }

// newServicesWithNumberedTokens returns services whose service tokens differ.
func newServicesWithNumberedTokens() *services {
	s := newServices()
	s.auth = func(n int, _ request) httpResponse {
		return httpResponse{200, `{"access_token":"` + serviceJWT + strings.Repeat("x", n) + `","expires_in":3600}`}
	}
	return s
}

func TestServiceTokenIsRevokedBeforeTheSearch(t *testing.T) {
	t.Parallel()
	s := newServicesWithNumberedTokens()
	s.fragments = func(n int, _ request) httpResponse {
		if n == 1 {
			return revoked()
		}
		return httpResponse{200, `[{"FragmentName":"frag"}]`}
	}
	mustFetch(t, s.newFlow(t, flows.Options{}), "acme", "")
	assertSequence(t, "the first service token is refused", s, "auth fragments auth fragments destination")
}

func TestServiceTokenIsRevokedBeforeTheDestination(t *testing.T) {
	t.Parallel()
	s := newServicesWithNumberedTokens()
	s.destination = func(n int, _ request) httpResponse {
		if n == 1 {
			return revoked()
		}
		return httpResponse{200, destination(`"` + gatewayURL + `"`)}
	}
	mustFetch(t, s.newFlow(t, flows.Options{}), "acme", "")
	requests := s.received()
	if first, second := requests[2].Header.Get("Authorization"), requests[4].Header.Get("Authorization"); first == second {
		t.Errorf("the service token that was refused, %q, was sent again", first)
	}
	assertSequence(t, "the first service token is refused", s, "auth fragments destination auth destination")
}

func TestEveryServiceTokenIsRefused(t *testing.T) {
	t.Parallel()
	s := newServicesWithNumberedTokens()
	s.destination = func(int, request) httpResponse { return revoked() }
	flow := s.newFlow(t, flows.Options{})
	err := fetchError(t, flow, "acme", "")
	assertError(t, err, "get destination", "status 401", "the token was refused")
	assertSequence(t, "every service token is refused", s, "auth fragments destination auth destination")
	err = fetchError(t, flow, "acme", "")
	assertError(t, err, "status 401")
	if e := requestError(t, err); !e.Temporary() {
		t.Errorf("%v: is %v; want temporary, since the service token may be replaced soon", err, e.Kind)
	}
	assertSequence(t, "the service token has just been replaced", s, "destination")
}

func TestRevokedServiceTokenCannotBeReplaced(t *testing.T) {
	t.Parallel()
	s := newServicesWithNumberedTokens()
	first := s.auth
	s.auth = func(n int, r request) httpResponse {
		if n > 1 {
			return httpResponse{401, `{"error":"invalid_client"}`}
		}
		return first(n, r)
	}
	s.destination = func(int, request) httpResponse { return revoked() }
	err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", "")
	assertError(t, err, "fetch service token", "invalid_client")
	assertSequence(t, "no second service token", s, "auth fragments destination auth")
}

// A service token that is refused again within 10 s is not replaced. That is a temporary
// failure: a user's token that is still valid is served meanwhile.
func TestServiceTokenRefusedTwice(t *testing.T) {
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	var ahead atomic.Int64
	begin := time.Now()
	clock := func() cache.Instant {
		d := time.Since(begin) + time.Duration(ahead.Load())
		return cache.At(d, begin.Add(d))
	}
	base := srv.Transport()
	defer base.CloseIdleConnections()
	flow, err := lob.NewFlowWithClock(credentialsOf(srv), flows.Options{ServiceTransport: base}, clock)
	if err != nil {
		t.Fatal(err)
	}
	defer flow.CloseIdleConnections()
	src := newSource(t, clockedFlow{flow.(reloadableFlow), clock}, tokensource.Options{})
	get := func(user string) error {
		ctx := tokensource.WithTenant(tokensource.WithUserToken(t.Context(), user), "t1")
		_, err := src.AccessToken(ctx)
		return err
	}
	alice, bob := srv.UserToken(agwtest.User{Name: "alice", Tenant: "t1"}), srv.UserToken(agwtest.User{Name: "bob", Tenant: "t1"})
	srv.Destinations.SetLifetime(12 * time.Second)
	if err := get(alice); err != nil {
		t.Fatalf("alice's first token: %v", err)
	}
	srv.RevokeServiceTokens()
	if err := get(bob); err != nil {
		t.Fatalf("bob's first token, for which the service token is replaced: %v", err)
	}
	srv.RevokeServiceTokens()
	ahead.Store(int64(8 * time.Second))
	if err := get(alice); err != nil {
		t.Errorf("alice's token is in its buffer for 4 s more, but she got %v", err)
	}
	if n := src.Stats().UserTokens; n != 2 {
		t.Errorf("%d user tokens are cached, want 2", n)
	}
}

// However small the cache of tokens is, a tenant's service token and fragment need not
// leave for another tenant's.
func TestServiceTokensOfManyTenantsAreKept(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{Tokens: tokensource.Options{Settings: tokensource.Settings{MaxSystemTokens: 1, MaxUserTokens: 1}}})
	const tenants = 300
	for round, want := range []string{"auth fragments destination", "destination"} {
		for i := range tenants {
			mustFetch(t, flow, fmt.Sprint("tenant-", i), "")
			if got := s.sequence(); got != want {
				t.Fatalf("round %d, tenant %d: requests to %q, want %q", round+1, i, got, want)
			}
		}
	}
}

// Service tokens and names of fragments expire by the clock that a test gives to the flow.
func TestClockOfTheFlow(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := newServices()
	flow, err := lob.NewFlowWithClock(credentials(), flows.Options{ServiceTransport: s.transport()}, func() cache.Instant {
		return cache.Now().Add(time.Duration(ahead.Load()))
	})
	if err != nil {
		t.Fatal(err)
	}
	mustFetch(t, flow, "acme", "")
	s.sequence()
	for _, tt := range []struct {
		ahead time.Duration
		want  string
	}{
		{4 * time.Minute, "destination"}, {6 * time.Minute, "fragments destination"}, {2 * time.Hour, "auth fragments destination"},
	} {
		ahead.Store(int64(tt.ahead))
		mustFetch(t, flow, "acme", "")
		assertSequence(t, fmt.Sprint("after ", tt.ahead), s, tt.want)
	}
}

func TestEventsOfServiceTokens(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var kinds []string
	flow := newServices().newFlow(t, flows.Options{Tokens: tokensource.Options{OnEvent: func(ev tokensource.Event) {
		mu.Lock()
		defer mu.Unlock()
		kinds = append(kinds, ev.Flow+" "+string(ev.Kind))
	}}})
	mustFetch(t, flow, "acme", "")
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(kinds, ", "); !strings.HasPrefix(got, "lob-service fetch_start") {
		t.Errorf("events: %q, want those of a service token", got)
	}
}

// The service token is the tenant's, whoever the caller acts for, even if all calls of the
// program must act for a user.
func TestServiceTokenHasNoUser(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{Tokens: tokensource.Options{RequireUser: true}})
	ctx := tokensource.WithTenant(t.Context(), "acme")
	for name, ctx := range map[string]context.Context{
		"user": tokensource.WithUserToken(ctx, userJWT), "system": ctx, "blank user": tokensource.WithUserToken(ctx, ""),
	} {
		if _, err := flow.ClientID(ctx); err != nil {
			t.Errorf("%s: ClientID: %v", name, err)
		}
		_, _ = flow.MCPServers(ctx)
	}
	assertSequence(t, "three callers", s, "auth destination auth fragments fragments fragments")
}

func TestTokenURL(t *testing.T) {
	t.Parallel()
	tests := []struct{ base, zone, tenant, want string }{
		{"https://provider.auth.example.com", "provider", "acme", "https://acme.auth.example.com/oauth/token"},
		{"https://provider.auth.example.com", "provider", "", "https://provider.auth.example.com/oauth/token"},
		{"https://provider.auth.example.com:8443/", "provider", "acme", "https://acme.auth.example.com:8443/oauth/token"},
		{"https://PROVIDER.auth.example.com", "provider", "AcMe", "https://AcMe.auth.example.com/oauth/token"},
		{"https://auth.provider.example.com.", "provider", "acme", "https://auth.acme.example.com./oauth/token"},
		{"https://provider.provider.example.com", "provider", "acme", "https://acme.provider.example.com/oauth/token"},
		{"https://my-provider.provider.example.com", "provider", "acme", "https://my-provider.acme.example.com/oauth/token"},
		{"https://provider.example.com/provider/uaa//", "provider", "acme", "https://acme.example.com/provider/uaa/oauth/token"},
		{"https://provider.example.com/a%2fb/", "provider", "acme", "https://acme.example.com/a%2fb/oauth/token"},
		// A tenant never decides on a whole host, a top-level domain or an address.
		{"https://provider/", "provider", "acme", ""},
		{"https://provider.", "provider", "acme", ""},
		{"https://auth.provider", "provider", "acme", ""},
		{"https://auth.provider.", "provider", "acme", ""},
		{"https://myprovider.example.com", "provider", "acme", ""},
		{"https://provider-x.example.com", "provider", "acme", ""},
		{"https://auth.example.com/provider", "provider", "acme", ""},
		{"https://auth.example.com:443", "443", "acme", ""},
		{"https://127.0.0.1", "127", "acme", ""},
		{"https://[2001:db8::1]:8443", "2001:db8::1", "acme", ""},
		{"https://a.b.example.com", "a.b", "acme", ""},
		{"https://a.example.com", "", "acme", ""},
	}
	for _, tt := range tests {
		base, err := url.Parse(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := lob.TokenURL(base, tt.zone, tt.tenant)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("base %s, zone %q, tenant %q: got %q and error %v, want %q", tt.base, tt.zone, tt.tenant, got, err, tt.want)
		}
	}
}

// A token URL differs from the binding's in one label of the host and in the end of the
// path, whatever the binding.
func FuzzTokenURL(f *testing.F) {
	f.Add("https://provider.auth.example.com/x", "provider", "acme")
	f.Add("https://provider.provider.example:8443", "Provider", "A-1")
	f.Add("https://[fe80::1%25en0.provider.x]:1", "provider", "acme")
	f.Add("https://127.0.0.1", "0", "acme")
	f.Fuzz(func(t *testing.T, raw, zone, tenant string) {
		base, err := url.Parse(raw)
		if err != nil || base.User != nil || !dnsLabel.MatchString(tenant) {
			return
		}
		got, err := lob.TokenURL(base, zone, tenant)
		if err != nil {
			return
		}
		u, err := url.Parse(got)
		if err != nil {
			return // a host that no request can have
		}
		if u.Port() != base.Port() || u.Scheme != base.Scheme || u.User != nil {
			t.Fatalf("base %q: %q has another scheme, port or user", raw, got)
		}
		was, is := strings.Split(base.Hostname(), "."), strings.Split(u.Hostname(), ".")
		if len(was) != len(is) {
			t.Fatalf("base %q: %q has another number of labels", raw, got)
		}
		changed := 0
		for i := range was {
			if was[i] == is[i] {
				continue
			}
			if changed++; changed > 1 || !strings.EqualFold(was[i], zone) || is[i] != tenant || i == len(was)-1 {
				t.Fatalf("base %q, zone %q, tenant %q: %q differs in more than the zone", raw, zone, tenant, got)
			}
		}
	})
}
