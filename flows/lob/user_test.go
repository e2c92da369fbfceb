package lob_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// newServicesWithBadUsers returns services that refuse every user token but userJWT, and
// every service token that isRevoked says is.
func newServicesWithBadUsers(isRevoked func(authorization string) bool) *services {
	s := newServicesWithNumberedTokens()
	s.destination = func(_ int, r request) httpResponse {
		user := r.Header.Get("X-User-Token")
		switch {
		case isRevoked(r.Header.Get("Authorization")):
			return revoked()
		case user != "" && user != userJWT:
			return httpResponse{401, `{"ErrorMessage":"the JWT of the user is not valid"}`}
		}
		return httpResponse{200, destination(`"` + gatewayURL + `"`)}
	}
	return s
}

func noneRevoked(string) bool { return false }

func assertRefusedUser(t *testing.T, when string, err error) {
	t.Helper()
	e := requestError(t, err)
	if e.Kind != tokensource.Denied || e.Code != "invalid_grant" || e.StatusCode != 401 || e.Op != "get destination" {
		t.Errorf("%s: got kind %v, code %q, status %d of %q; want a denied user, invalid_grant", when, e.Kind, e.Code, e.StatusCode, e.Op)
	}
	if e.RetryAfter != 0 {
		t.Errorf("%s: the user is told to come back after %v, want nothing of the kind: another login may help at once", when, e.RetryAfter)
	}
	assertError(t, err, destinationURL, "the JWT of the user is not valid", "the user token is refused, the service token is not")
}

// The Destination Service refuses a user. The same request without the user says that the
// service token is good, so that stays.
func TestBadUserTokenKeepsTheServiceToken(t *testing.T) {
	t.Parallel()
	s := newServicesWithBadUsers(noneRevoked)
	flow := s.newFlow(t, flows.Options{})
	assertRefusedUser(t, "a bad user", fetchError(t, flow, "acme", "mallory"))

	requests := s.received()
	assertSequence(t, "a bad user", s, "auth fragments destination destination")
	probe := requests[3]
	want := map[string]string{"Accept": "application/json", "Authorization": requests[2].Header.Get("Authorization")}
	if got := sentHeader(probe.Header); probe.URL != destinationURL+"?$skipTokenRetrieval=true" || !reflect.DeepEqual(got, want) {
		t.Errorf("the second request is %s with %v, want one for the destination alone, with the same service token", probe.URL, got)
	}
	mustFetch(t, flow, "acme", userJWT)
	assertSequence(t, "a good user afterwards", s, "destination")
}

// Many bad users in a row cost a tenant no service token, and no other user a token.
func TestManyBadUsersKeepTheServiceToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServicesWithBadUsers(noneRevoked)
		src := newSource(t, s.newFlow(t, flows.Options{}), tokensource.Options{})
		ctx := tokensource.WithTenant(t.Context(), "acme")
		good := tokensource.WithUserToken(ctx, userJWT)
		mustAccessToken(t, src, good)
		for i := range 40 {
			_, err := src.AccessToken(tokensource.WithUserToken(ctx, fmt.Sprint("mallory-", i)))
			assertRefusedUser(t, fmt.Sprint("bad user ", i), err)
			time.Sleep(5 * time.Minute / 40)
		}
		serviceTokens := 0
		for _, r := range s.received() {
			if r.service() == "auth" {
				serviceTokens++
			}
		}
		if serviceTokens != 1 {
			t.Errorf("40 bad users in five minutes: %d service tokens were fetched, want the first one only", serviceTokens)
		}
		mustAccessToken(t, src, good)
	})
}

// A service token that was revoked is replaced, also when a user's request shows it.
func TestRevokedServiceTokenIsReplacedForAUser(t *testing.T) {
	t.Parallel()
	first := "Bearer " + serviceJWT + "x"
	s := newServicesWithBadUsers(func(authorization string) bool { return authorization == first })
	mustFetch(t, s.newFlow(t, flows.Options{}), "acme", userJWT)
	assertSequence(t, "a good user, a revoked service token", s, "auth fragments destination destination auth destination")

	err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", "mallory")
	assertRefusedUser(t, "a bad user, a revoked service token", err)
	assertSequence(t, "a bad user, a revoked service token", s, "auth fragments destination destination auth destination destination")

	// The list of fragments is asked for without a user: nothing is asked twice.
	s = newServicesWithNumberedTokens()
	s.fragments = func(int, request) httpResponse { return revoked() }
	fetchError(t, s.newFlow(t, flows.Options{}), "acme", userJWT)
	assertSequence(t, "the search is refused", s, "auth fragments auth fragments")
}

// The Destination Service refuses a user, and fails when it is asked without the user.
// Nobody knows whose token it was: neither the user is denied nor the service token dropped.
func TestRefusalThatCannotBeAttributed(t *testing.T) {
	t.Parallel()
	for _, failure := range []httpResponse{{503, ``}, {}, {200, `<html>`}} {
		s := newServicesWithNumberedTokens()
		s.destination = func(_ int, r request) httpResponse {
			if r.Header.Get("X-User-Token") != "" {
				return revoked()
			}
			return failure
		}
		flow := s.newFlow(t, flows.Options{})
		err := fetchError(t, flow, "acme", userJWT)
		if e := requestError(t, err); e.Kind != tokensource.Temporary || e.Code != "" {
			t.Errorf("without the user: %v: got %v, want a temporary error", failure, err)
		}
		assertSequence(t, fmt.Sprintf("without the user: %v", failure), s, "auth fragments destination destination")
	}
	// Any other refusal is about the service token.
	for _, refusal := range []httpResponse{{401, ``}, {404, ``}, {422, ``}} {
		s := newServicesWithNumberedTokens()
		s.destination = func(_ int, r request) httpResponse {
			if r.Header.Get("X-User-Token") != "" {
				return revoked()
			}
			return refusal
		}
		err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", userJWT)
		assertError(t, err, "get destination", "status 401", "the token was refused")
		assertSequence(t, fmt.Sprintf("without the user: %v", refusal), s, "auth fragments destination destination auth destination destination")
	}
}

// What the identity service said of a token that it did not issue is known by its code.
func TestIdentityServiceRefuses(t *testing.T) {
	t.Parallel()
	const temporary, denied = tokensource.Temporary, tokensource.Denied
	for _, tt := range []struct {
		text, code, description string
		kind                    tokensource.Kind
	}{
		{"invalid_grant: the user is locked", "invalid_grant", "the user is locked", denied},
		{"access_denied", "access_denied", "", denied},
		{"Retrieval failed due to: 400 {'error':'invalid_grant'}", "invalid_grant", "Retrieval failed due to: 400 {'error':'invalid_grant'}", denied},
		{"invalid_grant: " + userJWT + " is not valid", "invalid_grant", "is not valid", denied},
		{"invalid_client: bad secret of invalid_grant", "invalid_client", "bad secret of invalid_grant", temporary},
		{"temporarily_unavailable: try later", "temporarily_unavailable", "try later", temporary},
		{"not_invalid_grant: x", "", "not_invalid_grant: x", temporary},
		{"the user is locked", "", "the user is locked", temporary},
	} {
		s := newServices()
		s.destination = func(int, request) httpResponse {
			return httpResponse{200, destinationWithTokens(fmt.Sprintf(`[{"type":"","value":"","error":%q}]`, tt.text))}
		}
		err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", userJWT)
		e := requestError(t, err)
		if e.Code != tt.code || e.Kind != tt.kind {
			t.Errorf("%q: got code %q and kind %v, want %q and %v", tt.text, e.Code, e.Kind, tt.code, tt.kind)
		}
		assertError(t, err, "get destination", destinationURL, tt.code, tt.description)
		// An ErrNoDestinationToken means that something is wrong with the subscription.
		if got, want := errors.Is(err, lob.ErrNoDestinationToken), tt.kind != denied; got != want {
			t.Errorf("%q: %v: is an ErrNoDestinationToken: %v, want %v", tt.text, err, got, want)
		}
	}
}

// A token that a user has is not served any more once the identity service refuses the user.
func TestRefusedUserLosesTheCachedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		src := newSource(t, s.newFlow(t, flows.Options{}), tokensource.Options{})
		alice := tokensource.WithUserToken(tokensource.WithTenant(t.Context(), "acme"), userJWT)
		mustAccessToken(t, src, alice)
		time.Sleep(595 * time.Second) // of 600 s: the token is in its buffer
		s.destination = func(int, request) httpResponse {
			return httpResponse{200, destinationWithTokens(`[{"error":"invalid_grant: the user is locked"}]`)}
		}
		if _, err := src.AccessToken(alice); err == nil || requestError(t, err).Code != "invalid_grant" {
			t.Errorf("the user is refused while her token is in its buffer: got %v, want invalid_grant", err)
		}
	})
}

type tenantKey struct{}

func tenantFromContext(ctx context.Context) (string, error) {
	tenant, _ := ctx.Value(tenantKey{}).(string)
	return tenant, nil
}

// A user who is a client's default belongs to one tenant. TenantFunc, which reads the tenant
// off the context, does not lead the user into another one.
func TestDefaultUserStaysInOneTenant(t *testing.T) {
	t.Parallel()
	in := func(tenant string) context.Context {
		return context.WithValue(context.Background(), tenantKey{}, tenant)
	}
	alice := tokensource.UserSubject(userJWT)
	for _, tt := range []struct {
		name    string
		opts    flows.Options
		subject tokensource.Subject
		ctx     context.Context
		want    string // tenant, "" for ErrSubjectConflict
	}{
		{"tenant of the context", flows.Options{TenantFunc: tenantFromContext}, alice, in("acme"), ""},
		{"another tenant of the context", flows.Options{TenantFunc: tenantFromContext}, alice, in("globex"), ""},
		{"tenant of the context, and one by default", flows.Options{TenantFunc: tenantFromContext, Tenant: "acme"}, alice, in("globex"), ""},
		{"tenant of the context after WithTenant of none", flows.Options{TenantFunc: tenantFromContext}, alice, tokensource.WithTenant(in("globex"), ""), ""},
		{"no tenant in the context, and one by default", flows.Options{TenantFunc: tenantFromContext, Tenant: "acme"}, alice, in(""), "acme"},
		{"default tenant", flows.Options{Tenant: "acme"}, alice, in("globex"), "acme"},
		{"named tenant", flows.Options{TenantFunc: tenantFromContext}, alice.In("acme"), in("globex"), "acme"},
		{"user of the context", flows.Options{TenantFunc: tenantFromContext}, alice, tokensource.WithUserToken(in("globex"), userJWT), "globex"},
		{"system", flows.Options{TenantFunc: tenantFromContext}, tokensource.SystemSubject(), in("globex"), "globex"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices()
			src := newSource(t, s.newFlow(t, tt.opts), tokensource.Options{}).For(tt.subject)
			for range 2 { // the second call remembers what the first one found
				_, err := src.AccessToken(tt.ctx)
				if tt.want == "" {
					if !errors.Is(err, tokensource.ErrSubjectConflict) {
						t.Errorf("got %v, want an ErrSubjectConflict", err)
					}
					assertSequence(t, tt.name, s, "")
					continue
				}
				if err != nil {
					t.Fatalf("got %v, want a token in tenant %s", err, tt.want)
				}
			}
			for _, r := range s.received() {
				if r.service() != "auth" && r.Header.Get("Authorization") != "Bearer "+serviceJWT+tt.want {
					t.Errorf("a request was sent with %q, want the service token of %s", r.Header.Get("Authorization"), tt.want)
				}
			}
		})
	}
}
