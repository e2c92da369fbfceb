package tokensource_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

func TestNewToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		expiry time.Time
	}{
		{"in an hour", time.Now().Add(time.Hour)},
		{"in another time zone", time.Now().Add(time.Hour).In(time.FixedZone("", 3600))},
		{"long ago", time.Unix(0, 0)},
		{"not known", time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token, err := tokensource.NewToken("a.b.c", tt.expiry, gatewayURL)
			if err != nil {
				t.Fatal(err)
			}
			if token.AccessToken() != "a.b.c" || token.Authorization() != "Bearer a.b.c" {
				t.Errorf("got access token %q and authorization %q, want a.b.c and Bearer a.b.c", token.AccessToken(), token.Authorization())
			}
			if got := token.Expiry(); !got.Equal(tt.expiry) || got.IsZero() != tt.expiry.IsZero() {
				t.Errorf("got expiry %v, want %v", got, tt.expiry)
			}
			if token.GatewayURL() != gatewayURL {
				t.Errorf("got gateway %v, want %v", token.GatewayURL(), gatewayURL)
			}
			if got := token.Fingerprint(); len(got) != 16 {
				t.Errorf("got fingerprint %q, want 16 hex digits", got)
			}
			copied := token.OAuth2()
			if copied.AccessToken != "a.b.c" || copied.Type() != "Bearer" || !copied.Expiry.Equal(tt.expiry) {
				t.Errorf("OAuth2: got %+v, want the same access token and expiry, of type Bearer", copied)
			}
			if copied == token.OAuth2() {
				t.Error("OAuth2 returned the same token twice, want another one each time")
			}
		})
	}
}

func TestNewTokenRefusesWhatAHeaderCannotCarry(t *testing.T) {
	t.Parallel()
	for _, accessToken := range []string{"", " ", "a b", "a\r\nX-Admin: 1", "tok\x7fen", "tök", "\xff", "a\x00"} {
		token, err := tokensource.NewToken(accessToken, time.Time{}, nil)
		if err == nil || token != nil {
			t.Errorf("NewToken(%q): got %v and error %v, want an error", accessToken, token, err)
			continue
		}
		if strings.TrimSpace(accessToken) != "" && strings.Contains(err.Error(), accessToken) {
			t.Errorf("NewToken(%q): error %q quotes the access token", accessToken, err)
		}
	}
}

func TestFingerprintTellsSubjectsApart(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		fingerprints := make(map[string]bool)
		for i, ctx := range fourSubjects(t.Context()) {
			token := bed.token(ctx)
			fingerprints[token.Fingerprint()] = true
			if again := bed.token(ctx); again != token {
				t.Errorf("subject %d: a hit returned another Token, want the same one", i)
			}
		}
		if len(fingerprints) != 4 {
			t.Errorf("got %d fingerprints of 4 subjects", len(fingerprints))
		}
		for _, ev := range bed.events.all() {
			if !fingerprints[ev.Subject] || ev.Flow != "scripted" {
				t.Errorf("event %+v has another flow, or the fingerprint of no subject", ev)
			}
		}
	})
}

// The token that Token and TokenContext return is the caller's own.
func TestOAuth2TokenIsACopy(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		var source tokensource.ContextTokenSource = bed.source
		tests := []struct {
			name string
			call func() (*oauth2.Token, error)
		}{
			{"Token", source.Token},
			{"TokenContext", func() (*oauth2.Token, error) { return source.TokenContext(t.Context()) }},
		}
		for _, tt := range tests {
			bed.calls.Add(2)
			first, err := tt.call()
			if err != nil || !first.Valid() || first.Type() != "Bearer" {
				t.Fatalf("%s: got %+v and error %v, want a valid bearer token", tt.name, first, err)
			}
			want := *first
			*first = oauth2.Token{AccessToken: "altered", TokenType: "altered"}
			second, err := tt.call()
			if err != nil || second == first {
				t.Fatalf("%s: got the same token twice or error %v, want a copy each time", tt.name, err)
			}
			if second.AccessToken != want.AccessToken || second.TokenType != want.TokenType || !second.Expiry.Equal(want.Expiry) {
				t.Errorf("%s: after a caller altered its token, got %+v, want %+v", tt.name, second, &want)
			}
		}
		bed.assertRequests(1, "all are copies of one token")
	})
}

func TestTokenContextFails(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(failingWith(notFound))
		want := bed.failure(t.Context())
		bed.calls.Add(2)
		if token, err := bed.source.Token(); token != nil || err != want {
			t.Errorf("Token: got %v and error %v, want error %v", token, err, want)
		}
		if token, err := bed.source.TokenContext(t.Context()); token != nil || err != want {
			t.Errorf("TokenContext: got %v and error %v, want error %v", token, err, want)
		}
	})
}

// roundTripper is a function that is a http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// An HTTP client of package oauth2 writes to the tokens that it gets. Two of them over one
// source must not write to the same one: the race detector watches.
func TestTwoOAuth2ClientsShareASource(t *testing.T) {
	t.Parallel()
	source, err := tokensource.New(newFlow(), tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		if got := req.Header.Get("Authorization"); !strings.HasPrefix(got, "Bearer provider/") {
			t.Errorf("got authorization %q, want the source's token", got)
		}
		return &http.Response{StatusCode: http.StatusNoContent, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
	})
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: base})
	if _, err := source.Token(); err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for range 100 {
				resp, err := oauth2.NewClient(ctx, source).Get("https://agw.example")
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	clients.Wait()
}
