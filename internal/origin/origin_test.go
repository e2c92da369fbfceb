package origin_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/origin"
)

func mustURL(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"https://gw.example/a", "https://gw.example/b?c", true},
		{"https://gw.example", "HTTPS://GW.Example", true},
		{"https://gw.example", "https://gw.example:443", true},
		{"https://gw.example", "https://gw.example:", true},
		{"http://gw.example", "http://gw.example:80", true},
		{"https://u:p@gw.example", "https://gw.example", true},
		{"https://[::1]:1", "https://[::1]:1", true},
		{"https://bücher.example", "https://bücher.example", true},

		{"https://gw.example", "http://gw.example", false},
		{"https://gw.example:80", "http://gw.example:80", false},
		{"https://gw.example", "https://gw.example:80", false},
		{"https://gw.example", "https://gw.example:0443", false},
		{"https://gw.example", "https://gw.example.", false},
		{"https://gw.example", "https://a.gw.example", false},
		{"https://gw.example", "https://gw.example@evil.example", false},
		{"https://gw.example", "//gw.example", false},
		{"https://gw.example", "/path", false},
		{"https://straße.example", "https://straẞe.example", false},
		{"https://kb.example", "https://\u212Ab.example", false},
	} {
		a, b := mustURL(t, test.a), mustURL(t, test.b)
		if origin.Same(a, b) != test.want || origin.Same(b, a) != test.want {
			t.Errorf("%s and %s: want %v", a, b, test.want)
		}
	}
}

func TestPortAndString(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, port, str string }{
		{"https://gw.example/x", "443", "https://gw.example:443"},
		{"HTTPS://u:p@GW.example:8443/x?q", "8443", "https://gw.example:8443"},
		{"http://[::1]/x", "80", "http://[::1]:80"},
		{"ftp://gw.example", "", "ftp://gw.example:"},
		{"ftp://gw.example:21", "21", "ftp://gw.example:21"},
	} {
		u := mustURL(t, test.url)
		if got := origin.Port(u); got != test.port {
			t.Errorf("port of %s: got %q", u, got)
		}
		if got := origin.String(u); got != test.str {
			t.Errorf("origin of %s: got %q, want %q", u, got, test.str)
		}
	}
}

func TestSecure(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"https://gw.example":            true,
		"HTTPS://10.0.0.1":              true,
		"http://localhost:8080":         true,
		"http://LOCALHOST":              true,
		"http://127.0.0.1":              true,
		"http://127.255.0.9:1":          true,
		"http://[::1]:80":               true,
		"http://[::ffff:127.0.0.1]":     true,
		"http://gw.example":             false,
		"http://localhost.example":      false,
		"http://localhost@gw.example":   false,
		"http://127.0.0.1.example":      false,
		"http://127.1":                  false,
		"http://0.0.0.0":                false,
		"http://[::]":                   false,
		"http://10.0.0.1":               false,
		"ftp://localhost":               false,
		"//localhost":                   false,
		"/path":                         false,
		"http://":                       false,
		"unix://localhost":              false,
		"http://localhost%2Eevil.test/": false,
	} {
		u, err := url.Parse(raw)
		if err == nil && origin.Secure(u) != want {
			t.Errorf("%s: want %v", raw, want)
		}
	}
}

// FuzzSame compares with net/http: two URLs of the same origin lead to the same
// address.
func FuzzSame(f *testing.F) {
	for _, pair := range [][2]string{
		{"https://gw.example", "https://GW.example:443/"}, {"https://gw.example", "https://gw.example@evil.example"},
		{"https://straße.example", "https://straẞe.example"}, {"http://[::1]", "http://[::1]:80"}, {"https://[gw.example]", "https://gw.example"},
		{"https://kb.example", "https://\u212Ab.example"}, {"https://gw.example:", "https://gw.example:0"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, rawA, rawB string) {
		a, errA := url.Parse(rawA)
		b, errB := url.Parse(rawB)
		if errA != nil || errB != nil || !origin.Same(a, b) {
			return
		}
		if x, y := dialed(t, a), dialed(t, b); !strings.EqualFold(x, y) && x != "" && y != "" {
			t.Errorf("%q leads to %q, and %q to %q", a, x, b, y)
		}
	})
}

// dialed returns the address that net/http connects to for u, with "plain " before
// it if it is not about to speak TLS, or "" if it refuses to connect at all.
func dialed(t *testing.T, u *url.URL) string {
	t.Helper()
	var address string
	record := func(prefix string) func(context.Context, string, string) (net.Conn, error) {
		return func(_ context.Context, _, addr string) (net.Conn, error) {
			address = prefix + addr
			return nil, errors.New("not dialed")
		}
	}
	rt := &http.Transport{DialContext: record("plain "), DialTLSContext: record(""), DisableKeepAlives: true}
	resp, err := rt.RoundTrip(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
	if err == nil {
		_ = resp.Body.Close()
		t.Error("there was a connection")
	}
	return address
}
