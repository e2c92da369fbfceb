package tokensource_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// The gateway of a subject is that of the last token in the tenant. It is not final: the
// next token may come with another one.
func TestGatewayOfASubject(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		gatewayOf := func(source *tokensource.Source, ctx context.Context) *url.URL {
			gateway, final := source.Gateway(ctx)
			if final {
				t.Errorf("a gateway that came with a token is final: %v", gateway)
			}
			return gateway
		}
		acme := tokensource.WithTenant(t.Context(), "acme")
		if got := gatewayOf(bed.source, acme); got != nil {
			t.Errorf("before the first token: got gateway %v, want none", got)
		}
		bed.token(acme)
		if got := gatewayOf(bed.source, asUser(acme, "alice")); got != gatewayURL {
			t.Errorf("another user in the same tenant: got gateway %v, want %v", got, gatewayURL)
		}
		if got := gatewayOf(bed.source.For(aliceInAcme), t.Context()); got != gatewayURL {
			t.Errorf("a default subject in the tenant: got gateway %v, want %v", got, gatewayURL)
		}
		if got := gatewayOf(bed.source, t.Context()); got != nil {
			t.Errorf("another tenant: got gateway %v, want none", got)
		}
		if got := gatewayOf(bed.source, tokensource.WithTenant(acme, "invalid")); got != nil {
			t.Errorf("an invalid tenant: got gateway %v, want none", got)
		}
		if got := gatewayOf(bed.source.For(aliceInAcme), tokensource.WithTenant(t.Context(), "t")); got != nil {
			t.Errorf("a context that contradicts the default: got gateway %v, want none", got)
		}

		time.Sleep(expiry + 5*time.Minute - 1)
		if got := gatewayOf(bed.source, acme); got != gatewayURL {
			t.Errorf("just before 5 min have passed since its token expired: got gateway %v, want %v", got, gatewayURL)
		}
		time.Sleep(time.Nanosecond)
		if got := gatewayOf(bed.source, acme); got != nil {
			t.Errorf("5 min after its token expired: got gateway %v, want none", got)
		}
		bed.assertRequests(1, "Gateway fetches nothing")
	})
}

// If a tenant moves, the gateway of its next token replaces the old one.
func TestGatewayOfATenantChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.token(t.Context())
		other := &url.URL{Scheme: "https", Host: "other.example"}
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(expiry)
			resp.GatewayURL = other
			return resp, nil
		})
		if got := bed.token(asUser(t.Context(), "alice")).GatewayURL(); got != other {
			t.Errorf("gateway of a token: got %v, want the one that came with it, %v", got, other)
		}
		if got, _ := bed.source.Gateway(t.Context()); got != other {
			t.Errorf("gateway of the tenant: got %v, want that of the last token, %v", got, other)
		}
		if got := bed.token(t.Context()).GatewayURL(); got != gatewayURL {
			t.Errorf("gateway of the older token: got %v, want the one that came with it, %v", got, gatewayURL)
		}
	})
}

// The gateway of the identity is final, and that of all tokens whose response has none.
func TestConfiguredGateway(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setIdentity(func(id *tokensource.Identity) { id.GatewayURL = gatewayURL })
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(expiry)
			resp.GatewayURL = nil
			return resp, nil
		})
		for _, ctx := range fourSubjects(t.Context()) {
			if gateway, final := bed.source.Gateway(ctx); !final || gateway != gatewayURL {
				t.Errorf("before the first token: got gateway %v (final: %v), want the configured one, which is final", gateway, final)
			}
			if got := bed.token(ctx).GatewayURL(); got != gatewayURL {
				t.Errorf("token without a gateway of its own: got %v, want the configured one", got)
			}
		}
	})
}

func TestTokenWithoutAGateway(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(expiry)
			resp.GatewayURL = nil
			return resp, nil
		})
		if got := bed.token(t.Context()).GatewayURL(); got != nil {
			t.Errorf("got gateway %v of a token without one, want nil", got)
		}
		if gateway, final := bed.source.Gateway(t.Context()); gateway != nil || final {
			t.Errorf("got gateway %v (final: %v), want none", gateway, final)
		}
	})
}

func TestParseGatewayURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://agw.example":               "https://agw.example",
		"https://agw.example/":              "https://agw.example",
		"  https://agw.example/base// \n":   "https://agw.example/base",
		"HTTPS://agw.example:8443/v1/mcp":   "https://agw.example:8443/v1/mcp",
		"http://127.0.0.1:80/a%2Fb/":        "http://127.0.0.1:80/a%2Fb",
		"https://agw.example/a%2F/":         "https://agw.example/a%2F",
		"https://[::1]:8443/x":              "https://[::1]:8443/x",
		"https://agw.example/with%20space/": "https://agw.example/with%20space",
	} {
		if got, err := tokensource.ParseGatewayURL(raw); err != nil || got.String() != want {
			t.Errorf("ParseGatewayURL(%q): got %v and error %v, want %s", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		"", "/", "agw.example", "//agw.example", "ftp://agw.example", "https:", "https://", "https:///x", "https:agw.example",
		"https://:443", "https://u:s3cr3t@agw.example", "https://u@agw.example", "https://agw.example?", "https://agw.example/?x=1",
		"https://agw.example#", "https://agw.example/#x", "https://s3cr3t@agw.example:port", "https://agw.example/%zz", "https://a b",
	} {
		got, err := tokensource.ParseGatewayURL(raw)
		switch {
		case err == nil:
			t.Errorf("ParseGatewayURL(%q): got %v, want an error", raw, got)
		case strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("ParseGatewayURL(%q): error %q shows the password", raw, err)
		case !strings.Contains(err.Error(), "gateway URL"):
			t.Errorf("ParseGatewayURL(%q): error %q does not say what is wrong", raw, err)
		}
	}
}

func FuzzParseGatewayURL(f *testing.F) {
	for _, raw := range []string{"https://agw.example/v1/", "http://[::1]:80/a%2F/", "https://u:p@h/?q#f", "HTTPS://x//", "https://h/ /", "https://h/%2e%2e/"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := tokensource.ParseGatewayURL(raw)
		if err != nil {
			return
		}
		plain := url.URL{Scheme: got.Scheme, Host: got.Host, Path: got.Path, RawPath: got.RawPath}
		if *got != plain || got.Scheme != "http" && got.Scheme != "https" || got.Hostname() == "" {
			t.Errorf("%q became %+v, want scheme, host, port and path only", raw, got)
		}
		if strings.HasSuffix(got.EscapedPath(), "/") {
			t.Errorf("%q became %q, whose path ends in a slash", raw, got)
		}
		again, err := tokensource.ParseGatewayURL(got.String())
		if err != nil || again.String() != got.String() {
			t.Errorf("%q became %q, which becomes %v (error %v) when it is done again", raw, got, again, err)
		}
	})
}
