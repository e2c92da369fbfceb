package tokensource_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/tokensource"
)

func TestNewGrant(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	g, err := tokensource.NewGrant("a.b.c", end, gatewayURL)
	if err != nil {
		t.Fatal(err)
	}
	token := g.Token()
	if token.AccessToken != "a.b.c" || token.TokenType != "Bearer" || !token.Expiry.Equal(end) || !token.Valid() {
		t.Errorf("token is %+v", token)
	}
	if g.GatewayURL() != gatewayURL {
		t.Errorf("gateway is %v", g.GatewayURL())
	}
	if a := g.Authorization(); len(a) != 1 || cap(a) != 1 || a[0] != "Bearer a.b.c" {
		t.Errorf("authorization is %q with capacity %d", a, cap(a))
	}
	if len(g.Fingerprint()) != 16 {
		t.Errorf("fingerprint is %q", g.Fingerprint())
	}
}

func TestNewGrantRefuses(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", " ", "a b", "a\r\nX-Admin: 1", "tok\x7fen", "tök", "\xff", "a\x00"} {
		g, err := tokensource.NewGrant(token, time.Time{}, nil)
		if err == nil || g != nil {
			t.Fatalf("%q: got %v and no error", token, g)
		}
		if token != "" && strings.Contains(err.Error(), token) && token != " " {
			t.Errorf("error %q quotes the token", err)
		}
	}
}

func TestFingerprintTellsSubjectsApart(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		seen := make(map[string]bool)
		for _, ctx := range subjects(t) {
			g := h.mustGrant(ctx)
			seen[g.Fingerprint()] = true
			if again := h.mustGrant(ctx); again != g {
				t.Error("a hit is another grant")
			}
		}
		if len(seen) != 4 {
			t.Errorf("%d fingerprints of 4 subjects", len(seen))
		}
		for _, ev := range h.events.list() {
			if !seen[ev.Subject] || ev.Flow != "fake" {
				t.Errorf("event %+v is of no subject", ev)
			}
		}
	})
}

func TestParseGatewayURL(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"https://agw.example":               "https://agw.example",
		"https://agw.example/":              "https://agw.example",
		"  https://agw.example/base// \n":   "https://agw.example/base",
		"HTTPS://agw.example:8443/v1/mcp":   "https://agw.example:8443/v1/mcp",
		"http://127.0.0.1:80/a%2Fb/":        "http://127.0.0.1:80/a%2Fb",
		"https://agw.example/a%2F/":         "https://agw.example/a%2F",
		"https://[::1]:8443/x":              "https://[::1]:8443/x",
		"https://agw.example/with%20space/": "https://agw.example/with%20space",
	}
	for raw, want := range good {
		if u, err := tokensource.ParseGatewayURL(raw); err != nil || u.String() != want {
			t.Errorf("%q: got %v and error %v, want %s", raw, u, err, want)
		}
	}
	bad := []string{
		"", "/", "agw.example", "//agw.example", "ftp://agw.example", "https:", "https://", "https:///x", "https:agw.example",
		"https://:443", "https://u:s3cr3t@agw.example", "https://u@agw.example", "https://agw.example?", "https://agw.example/?x=1",
		"https://agw.example#", "https://agw.example/#x", "https://s3cr3t@agw.example:port", "https://agw.example/%zz", "https://a b",
	}
	for _, raw := range bad {
		u, err := tokensource.ParseGatewayURL(raw)
		if err == nil {
			t.Errorf("%q: got %v and no error", raw, u)
		} else if strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "gateway URL") {
			t.Errorf("%q: error is %q", raw, err)
		}
	}
}

func FuzzParseGatewayURL(f *testing.F) {
	for _, raw := range []string{"https://agw.example/v1/", "http://[::1]:80/a%2F/", "https://u:p@h/?q#f", "HTTPS://x//", "https://h/ /", "https://h/%2e%2e/"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := tokensource.ParseGatewayURL(raw)
		if err != nil {
			return
		}
		plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
		if *u != plain || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			t.Errorf("%q has become %+v", raw, u)
		}
		if strings.HasSuffix(u.EscapedPath(), "/") {
			t.Errorf("%q: path %q ends in a slash", raw, u.EscapedPath())
		}
		again, err := tokensource.ParseGatewayURL(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("%q, done again, is %v, error %v", u, again, err)
		}
	})
}
