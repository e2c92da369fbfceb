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

// foreign is a token source that is none of ours.
type foreign func() (*oauth2.Token, error)

func (f foreign) Token() (*oauth2.Token, error) { return f() }

func fixed(t *testing.T, ts oauth2.TokenSource) *tokensource.FixedSource {
	t.Helper()
	f, err := tokensource.Fixed(ts, "https://agw.example/")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFixed(t *testing.T) {
	t.Parallel()
	token := &oauth2.Token{AccessToken: "one", Expiry: time.Now().Add(time.Hour)}
	f := fixed(t, foreign(func() (*oauth2.Token, error) { return token, nil }))
	g, err := f.Grant(t.Context())
	if err != nil || g.Token().AccessToken != "one" || g.GatewayURL().String() != "https://agw.example" {
		t.Fatalf("got %v and error %v", g, err)
	}
	if u, known := f.Gateway(t.Context()); !known || u != g.GatewayURL() {
		t.Errorf("gateway is %v, %v", u, known)
	}
	if again, err := f.Grant(t.Context()); err != nil || again != g {
		t.Errorf("the same token is another grant: %v, error %v", again, err)
	}
	for _, ctx := range []context.Context{user(t.Context(), "alice"), tokensource.WithTenant(t.Context(), "acme")} {
		if g, err := f.Grant(ctx); !errors.Is(err, tokensource.ErrNoSubjects) || g != nil {
			t.Errorf("got %v and error %v for somebody in particular", g, err)
		}
	}
	if f.Invalidate(g) {
		t.Error("claims to have dropped a grant")
	}
	token = &oauth2.Token{AccessToken: "two", TokenType: "bearer"}
	if g, err := f.Grant(t.Context()); err != nil || g.Token().AccessToken != "two" || !g.Token().Expiry.IsZero() {
		t.Errorf("got %v and error %v", g, err)
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
		is    error
		want  string
	}{
		{"foreign error", nil, boom, boom, "agw: boom"},
		{"error of ours", nil, ours, ours, "agw: obtain token: status 503"},
		{"nothing", nil, nil, nil, "agw: the token source returned neither a token nor an error"},
		{"another type", &oauth2.Token{AccessToken: "x", TokenType: "DPoP"}, nil, nil, "agw: the token is not of type Bearer"},
		{"expired", &oauth2.Token{AccessToken: "x", Expiry: time.Unix(0, 0)}, nil, tokensource.ErrExpired,
			"agw: the token has expired on arrival: it ended at 1970-01-01T00:00:00Z"},
		{"empty", &oauth2.Token{}, nil, nil, "agw: access_token is missing or empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, err := fixed(t, foreign(func() (*oauth2.Token, error) { return tt.token, tt.err })).Grant(t.Context())
			if err == nil || g != nil || err.Error() != tt.want {
				t.Fatalf("got %v and error %q, want %q", g, err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error is no %v", tt.is)
			}
		})
	}
}

func TestFixedOverASource(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		f := fixed(t, h.Source)
		for _, ctx := range subjects(t) {
			g, err := f.Grant(ctx)
			if err != nil || g.Token().AccessToken != h.token(ctx) {
				t.Errorf("got %v and error %v", g, err)
			}
			h.calls.Add(1)
		}
		ended, cancel := context.WithCancel(user(t.Context(), "bob"))
		cancel()
		if _, err := f.Grant(ended); !errors.Is(err, context.Canceled) || strings.Count(err.Error(), "agw: ") != 1 {
			t.Errorf("error is %v", err)
		}
		h.calls.Add(1)
	})
}

// Even a source that knows no users does not act for one who is blank.
func TestFixedBlankUser(t *testing.T) {
	t.Parallel()
	f := fixed(t, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}))
	if _, err := f.Grant(user(t.Context(), " ")); !errors.Is(err, tokensource.ErrNoUserToken) {
		t.Errorf("error is %v, want ErrNoUserToken", err)
	}
}

func TestFixedRefuses(t *testing.T) {
	t.Parallel()
	if f, err := tokensource.Fixed(nil, "https://agw.example"); err == nil || f != nil {
		t.Error("a nil source is accepted")
	}
	f, err := tokensource.Fixed(oauth2.StaticTokenSource(&oauth2.Token{}), "agw.example")
	if err == nil || f != nil || !strings.HasPrefix(err.Error(), "agw: the gateway URL") {
		t.Errorf("of a bad URL, the error is %v", err)
	}
}

// oauth2's own tools take a Source.
func TestSourceIsAnOAuth2Source(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		var src tokensource.ContextTokenSource = h.Source
		h.calls.Add(3)
		token, err := oauth2.ReuseTokenSource(nil, src).Token()
		if err != nil || !token.Valid() || token.Type() != "Bearer" {
			t.Errorf("got %v and error %v", token, err)
		}
		again, err := src.TokenContext(t.Context())
		if err != nil || again != token {
			t.Errorf("got %v and error %v, want the same token", again, err)
		}
		if _, err := src.TokenContext(user(t.Context(), "")); !errors.Is(err, tokensource.ErrNoUserToken) {
			t.Errorf("error is %v", err)
		}
	})
}
