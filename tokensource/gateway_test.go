package tokensource_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/tokensource"
)

func TestGatewayOfASubject(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		acme := tokensource.WithTenant(t.Context(), "acme")
		if gateway, known := bed.source.Gateway(acme); known {
			t.Errorf("before the first token: the gateway %v is known", gateway)
		}
		bed.token(acme)
		if gateway, known := bed.source.Gateway(asUser(acme, "alice")); !known || gateway != gatewayURL {
			t.Errorf("another user in the same tenant: got gateway %v (known: %v), want %v", gateway, known, gatewayURL)
		}
		if gateway, known := bed.source.Gateway(t.Context()); known {
			t.Errorf("another tenant: the gateway %v is known", gateway)
		}
		if gateway, known := bed.source.Gateway(tokensource.WithTenant(acme, "invalid")); known {
			t.Errorf("an invalid tenant: the gateway %v is known", gateway)
		}
		if gateway, known := bed.source.For(aliceInAcme).Gateway(tokensource.WithTenant(t.Context(), "t")); known {
			t.Errorf("a context that contradicts the default: the gateway %v is known", gateway)
		}
		if gateway, known := bed.source.For(aliceInAcme).Gateway(t.Context()); !known || gateway != gatewayURL {
			t.Errorf("a default subject in the tenant: got gateway %v (known: %v), want %v", gateway, known, gatewayURL)
		}
		time.Sleep(expiry + 5*time.Minute - 1)
		if _, known := bed.source.Gateway(acme); !known {
			t.Error("the gateway is not known any more just before 5 min have passed since its token expired")
		}
		time.Sleep(time.Nanosecond)
		if gateway, known := bed.source.Gateway(acme); known {
			t.Errorf("5 min after its token expired: the gateway %v is known", gateway)
		}
		bed.assertRequests(1, "Gateway fetches nothing")
	})
}

// The gateway of the identity is that of all tokens whose response has none.
func TestConfiguredGateway(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setIdentity(func(id *tokensource.Identity) { id.GatewayURL = gatewayURL })
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(expiry)
			resp.GatewayURL = nil
			return resp, nil
		})
		if gateway, known := bed.source.Gateway(t.Context()); !known || gateway != gatewayURL {
			t.Errorf("before the first token: got gateway %v (known: %v), want the configured one", gateway, known)
		}
		if got := bed.token(t.Context()).GatewayURL(); got != gatewayURL {
			t.Errorf("token without a gateway of its own: got %v, want the configured one", got)
		}

		other := &url.URL{Scheme: "https", Host: "other.example"}
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(expiry)
			resp.GatewayURL = other
			return resp, nil
		})
		if got := bed.token(asUser(t.Context(), "alice")).GatewayURL(); got != other {
			t.Errorf("token with a gateway of its own: got %v, want %v", got, other)
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
		if gateway, known := bed.source.Gateway(t.Context()); known {
			t.Errorf("the gateway %v is known, although there is none", gateway)
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
