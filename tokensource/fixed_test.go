package tokensource_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

// A tokenFunc is a token source that is not one of this module's.
type tokenFunc func() (*oauth2.Token, error)

func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }

// newFixed returns a fixed source of the tokens of ts for https://agw.example.
func newFixed(t *testing.T, ts oauth2.TokenSource) *tokensource.FixedSource {
	t.Helper()
	fixed, err := tokensource.Fixed(ts, "https://agw.example/")
	if err != nil {
		t.Fatal(err)
	}
	return fixed
}

func TestFixed(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	current := &oauth2.Token{AccessToken: "one", Expiry: end}
	fixed := newFixed(t, tokenFunc(func() (*oauth2.Token, error) { return current, nil }))
	token, err := fixed.AccessToken(t.Context())
	if err != nil || token.AccessToken() != "one" || !token.Expiry().Equal(end) || token.GatewayURL().String() != "https://agw.example" {
		t.Fatalf("got token %v and error %v, want token one for https://agw.example", token, err)
	}
	if gateway, final := fixed.Gateway(t.Context()); !final || gateway != token.GatewayURL() {
		t.Errorf("got gateway %v (final: %v), want that of the token, which is final", gateway, final)
	}
	current = &oauth2.Token{AccessToken: "one", Expiry: end}
	if again, err := fixed.AccessToken(t.Context()); err != nil || again != token {
		t.Errorf("an equal token: got another Token %v or error %v, want the same Token", again, err)
	}
	if fixed.Invalidate(token) {
		t.Error("Invalidate reports that the token was dropped, but a foreign source cannot be told")
	}
	if again, err := fixed.AccessToken(t.Context()); err != nil || again != token {
		t.Errorf("after Invalidate: got %v and error %v, want the same Token", again, err)
	}
	current = &oauth2.Token{AccessToken: "one", Expiry: end.Add(time.Hour)}
	if later, err := fixed.AccessToken(t.Context()); err != nil || !later.Expiry().Equal(end.Add(time.Hour)) {
		t.Errorf("the same access token with a later expiry: got %v and error %v, want that expiry", later, err)
	}
	current = &oauth2.Token{AccessToken: "two", TokenType: "bearer"}
	if other, err := fixed.AccessToken(t.Context()); err != nil || other.AccessToken() != "two" || !other.Expiry().IsZero() {
		t.Errorf("another token without an expiry: got %v and error %v, want token two without an expiry", other, err)
	}
}

// A source that takes no context cannot act for the user or the tenant in one.
func TestFixedKnowsNoSubjects(t *testing.T) {
	t.Parallel()
	fixed := newFixed(t, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}))
	tests := []struct {
		name string
		ctx  context.Context
		want error
	}{
		{"nothing", t.Context(), nil},
		{"system", tokensource.WithSystemToken(t.Context()), nil},
		{"no tenant", tokensource.WithTenant(t.Context(), ""), nil},
		{"user", asUser(t.Context(), "alice"), tokensource.ErrNoSubjects},
		{"tenant", tokensource.WithTenant(t.Context(), "acme"), tokensource.ErrNoSubjects},
		{"system in a tenant", tokensource.WithSystemToken(tokensource.WithTenant(t.Context(), "acme")), tokensource.ErrNoSubjects},
		{"blank user", asUser(t.Context(), " "), tokensource.ErrNoUserToken},
	}
	for _, tt := range tests {
		if token, err := fixed.AccessToken(tt.ctx); !errors.Is(err, tt.want) || (token == nil) != (tt.want != nil) {
			t.Errorf("context names %s: got token %v and error %v, want error %v", tt.name, token, err, tt.want)
		}
	}
}

func TestFixedErrors(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	ours := &tokensource.Error{Op: "obtain token", StatusCode: 503}
	tests := []struct {
		name  string
		token *oauth2.Token
		err   error
		is    error // nil if it does not matter
		want  string
	}{
		{"foreign error", nil, boom, boom, "agw: boom"},
		{"error of this module", nil, ours, ours, "agw: obtain token: status 503"},
		{"neither token nor error", nil, nil, nil, "agw: the token source returned neither a token nor an error"},
		{"another type", &oauth2.Token{AccessToken: "x", TokenType: "DPoP"}, nil, nil, "agw: the token is not of type Bearer"},
		{
			"expired", &oauth2.Token{AccessToken: "x", Expiry: time.Unix(0, 0)}, nil, tokensource.ErrExpired,
			"agw: the token has expired on arrival: it ended at 1970-01-01T00:00:00Z",
		},
		{"empty", &oauth2.Token{}, nil, nil, "agw: access_token is missing or empty"},
		{"line break", &oauth2.Token{AccessToken: "x\r\n"}, nil, nil, "agw: access_token has a character that no bearer token has"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token, err := newFixed(t, tokenFunc(func() (*oauth2.Token, error) { return tt.token, tt.err })).AccessToken(t.Context())
			if err == nil || token != nil || err.Error() != tt.want {
				t.Fatalf("got token %v and error %v, want error %q", token, err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not a %v", err, tt.is)
			}
		})
	}
}

// A source that takes a context is given that of the call.
func TestFixedOverASource(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		fixed := newFixed(t, bed.source)
		for i, ctx := range fourSubjects(t.Context()) {
			bed.calls.Add(1)
			token, err := fixed.AccessToken(ctx)
			if err != nil || token.AccessToken() != bed.token(ctx).AccessToken() {
				t.Errorf("subject %d: got token %v and error %v, want the source's token for the subject", i, token, err)
			}
		}
		bed.assertRequests(4, "one for each subject")
		ended, cancel := context.WithCancel(asUser(t.Context(), "bob"))
		cancel()
		bed.calls.Add(1)
		if _, err := fixed.AccessToken(ended); !errors.Is(err, context.Canceled) || strings.Count(err.Error(), "agw: ") != 1 {
			t.Errorf("context that has ended: got error %v, want that of the context with the prefix once", err)
		}
		if _, err := fixed.AccessToken(asUser(t.Context(), " ")); !errors.Is(err, tokensource.ErrNoUserToken) {
			t.Errorf("blank user: got error %v, want ErrNoUserToken", err)
		}
	})
}

// The tools of package oauth2 take a Source. What they make of it takes no context.
func TestFixedOverAWrappedSource(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		wrapped := oauth2.ReuseTokenSource(nil, bed.source)
		bed.calls.Add(1)
		token, err := wrapped.Token()
		if err != nil || !token.Valid() || token.Type() != "Bearer" {
			t.Errorf("ReuseTokenSource over a source: got %+v and error %v, want a valid bearer token", token, err)
		}
		if _, err := newFixed(t, wrapped).AccessToken(asUser(t.Context(), "alice")); !errors.Is(err, tokensource.ErrNoSubjects) {
			t.Errorf("user, over a wrapped source: got error %v, want ErrNoSubjects", err)
		}
	})
}

func TestFixedFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		source  oauth2.TokenSource
		gateway string
		field   string
	}{
		{"nil source", nil, "https://agw.example", "ts"},
		{"gateway without a scheme", oauth2.StaticTokenSource(&oauth2.Token{}), "agw.example", "gatewayURL"},
	}
	for _, tt := range tests {
		fixed, err := tokensource.Fixed(tt.source, tt.gateway)
		var config *tokensource.ConfigError
		if !errors.As(err, &config) || config.Field != tt.field || fixed != nil {
			t.Errorf("%s: got %v and error %v, want a ConfigError about %s", tt.name, fixed, err, tt.field)
		}
	}
}
