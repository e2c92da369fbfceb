package compat_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// The clients of x/oauth2 take our source.
func TestOAuth2Client(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: w.base(t)})
	client := oauth2.NewClient(ctx, w.Source().For(w.subject("alice")))
	for range 3 {
		mustSee(t, echoOf(t, client, newRequest(t, ctx, http.MethodGet, w.server.GatewayURL()+"/orders", nil)), "alice")
	}
	if n := w.server.Counts().Token; n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// oauth2.ReuseTokenSource takes our source. It distrusts tokens in their last ten
// seconds and asks for another one on every call; that costs no token request.
func TestReuseTokenSource(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]time.Duration{"an hour": time.Hour, "five seconds": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, w := start(t, agwtest.Options{})
			w.server.Tokens.SetLifetime(life)
			src := oauth2.ReuseTokenSource(nil, w.Source())
			for range 10 {
				token, err := src.Token()
				if err != nil {
					t.Fatal(err)
				}
				if left := time.Until(token.Expiry); left > life || left < life-5*time.Second || token.Type() != "Bearer" {
					t.Errorf("a %s token with %v left of %v", token.Type(), left, life)
				}
			}
			if n := w.server.Counts().Token; n != 1 {
				t.Errorf("%d token requests, want 1", n)
			}
		})
	}
}

// A context that is prepared for x/oauth2 with our own client does not make token
// requests go in a circle.
func TestNoRecursion(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	client := w.Client()
	ctx = tokensource.WithUserToken(context.WithValue(ctx, oauth2.HTTPClient, client), w.jwt("alice"))
	if _, err := w.Source().TokenContext(ctx); err != nil {
		t.Fatal(err)
	}
	mustSee(t, echoOf(t, client, newRequest(t, ctx, http.MethodGet, w.URL("orders"), nil)), "alice")
}

// withAccept has requests say that they accept JSON, which x/oauth2 leaves out.
type withAccept struct{ http.RoundTripper }

func (a withAccept) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", "application/json")
	return a.RoundTripper.RoundTrip(req)
}

// A source that knows nothing of us serves our transport.
func TestForeignSource(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	config := clientcredentials.Config{
		ClientID: w.server.ClientID(), TokenURL: w.server.CustomerEnv()["INTEGRATION_AUTH_URL"], AuthStyle: oauth2.AuthStyleInParams,
		EndpointParams: url.Values{
			"resource":      {"urn:sap:identity:application:provider:name:agent-gateway"},
			"response_type": {"token"},
		},
	}
	base := w.base(t)
	foreign := config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: withAccept{base}}))
	src, err := tokensource.Fixed(foreign, w.server.GatewayURL())
	if err != nil {
		t.Fatal(err)
	}
	client := transport.New(src, transport.Options{Base: base}).Client()
	for range 3 {
		if echo := echoOf(t, client, newRequest(t, ctx, http.MethodGet, w.URL("orders"), nil)); echo.Client != w.server.ClientID() || echo.User != "" {
			t.Errorf("the gateway saw %+v", echo.Caller)
		}
	}
	if n := w.server.Counts().Token; n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	w.server.RevokeAll() // of which a foreign source cannot be told
	resp, err := client.Do(newRequest(t, ctx, http.MethodGet, w.URL("orders"), nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %s, want the gateway's 401", resp.Status)
	}
}
