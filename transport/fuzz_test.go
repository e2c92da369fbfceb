package transport_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/agwgo/agw/transport"
)

// FuzzOrigin compares with what net/http would do: wherever a request with a token goes,
// that is the gateway.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"https://agent-gateway.invalid/x", "https://gw.example:443/x", "//evil.example/x", "https://gw.example@evil.example", "https://agent-gateway.invalid@evil.example/",
		"http://gw.example/", "/x", "https:/x", "https://[gw.example]/", "https://gw.example:/", "https://GW.EXAMPLE/", "https://gw.example%00/"} {
		f.Add(seed, "", "", "")
	}
	f.Add("", "https", "gw.example:443@evil.example", "/x")
	f.Add("", "https", "agent-gateway.invalid:443:1", "//evil.example/x")
	f.Add("", "", "", "//evil.example/x")
	const home = "gw.example:443"
	f.Fuzz(func(t *testing.T, raw, scheme, host, path string) {
		u := &url.URL{Scheme: scheme, Host: host, Path: path}
		if raw != "" {
			parsed, err := url.Parse(raw)
			if err != nil {
				return
			}
			u = parsed
		}
		for _, pass := range []bool{false, true} {
			b := newBase()
			rt := transport.New(newSecretSource(t), transport.Options{Base: b, PassForeignHosts: pass})
			_, err := rt.RoundTrip(&http.Request{Method: "GET", URL: u, Header: http.Header{}})
			if err == nil && len(b.sent) != 1 || err != nil && len(b.sent) != 0 {
				t.Fatalf("%q: got error %v, and %d requests were sent", u, err, len(b.sent))
			}
			for _, sent := range b.sent {
				target, hasToken := dialedAddress(t, sent.Request), sent.Header.Get("Authorization") != ""
				if hasToken && target != home {
					t.Fatalf("%q: the token goes to %q, want it to go to %q only", u, target, home)
				}
				if !hasToken && !pass {
					t.Fatalf("%q was sent without a token, want an error", u)
				}
			}
		}
	})
}

// dialedAddress returns the address that net/http connects to for req, with "plain " before
// it if the connection would not be TLS, or "" if net/http does not connect at all.
func dialedAddress(tb testing.TB, req *http.Request) string {
	tb.Helper()
	var address string
	record := func(prefix string) func(context.Context, string, string) (net.Conn, error) {
		return func(_ context.Context, _, addr string) (net.Conn, error) {
			address = prefix + addr
			return nil, errors.New("not dialed")
		}
	}
	rt := &http.Transport{DialContext: record("plain "), DialTLSContext: record(""), DisableKeepAlives: true}
	resp, err := rt.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		tb.Error("there was a connection, want none")
	}
	return address
}
