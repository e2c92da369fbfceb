package transport_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/transport"
)

// cloud is a gateway, https://example.com below /base, and servers that are not it.
type cloud struct {
	gateway, foreign, plain *server
	base                    *http.Transport
	location                string // where the gateway redirects to
}

func newCloud(t *testing.T, status int) *cloud {
	t.Helper()
	c := new(cloud)
	c.gateway = newServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/base/redirect" {
			w.Header().Set("Location", c.location)
			w.WriteHeader(status)
		}
	})
	answer := func(w http.ResponseWriter, r *http.Request) {}
	c.foreign, c.plain = newServer(t, http1, answer), newServer(t, plain, answer)
	c.base = trusting(t, c.gateway, map[string]*server{
		"example.com:443":  c.gateway,
		"example.com:8443": c.foreign, // another port
		"example.com:80":   c.plain,   // another scheme
	})
	return c
}

// client returns a client for https://example.com/base.
func (c *cloud) client(t *testing.T, pass bool) *http.Client {
	t.Helper()
	src := newSource(mustGrant(t, "secret", "https://example.com/base"))
	return transport.New(src, &transport.Options{Base: c.base, PassForeignHosts: pass}).Client()
}

func TestTokenIsNotRedirectedToForeignOrigins(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		for name, location := range map[string]string{
			"host":                 "https://FOREIGN/x",
			"port":                 "https://example.com:8443/x",
			"scheme":               "http://example.com/x",
			"scheme of loopback":   "http://PLAIN/x",
			"host without scheme":  "//FOREIGN/x",
			"placeholder as user":  "https://agent-gateway.invalid@FOREIGN/x",
			"gateway as user":      "https://example.com@FOREIGN/x",
			"gateway and password": "https://example.com:443@FOREIGN/x",
		} {
			for _, pass := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/%s/pass=%v", status, name, pass), func(t *testing.T) {
					t.Parallel()
					c := newCloud(t, status)
					c.location = strings.NewReplacer("FOREIGN", c.foreign.Listener.Addr().String(), "PLAIN", c.plain.Listener.Addr().String()).Replace(location)
					resp, err := c.client(t, pass).Post("https://agent-gateway.invalid/redirect", "text/plain", strings.NewReader("x"))
					if resp != nil {
						_ = resp.Body.Close()
					}
					seen := append(c.foreign.seen(), c.plain.seen()...)
					if pass && (err != nil || len(seen) != 1) || !pass && (!errors.Is(err, transport.ErrForeignHost) || len(seen) != 0) {
						t.Errorf("error %v, the foreign servers got %d requests", err, len(seen))
					}
					if strings.Contains(strings.Join(seen, " "), "secret") {
						t.Error("a foreign server got the token")
					}
				})
			}
		}
	}
}

// A placeholder of another scheme or port is foreign like any other host. Nothing
// resolves it.
func TestTokenIsNotRedirectedToOtherPlaceholders(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"http://agent-gateway.invalid/x", "https://agent-gateway.invalid:8443/x"} {
		c := newCloud(t, http.StatusFound)
		c.location = location
		if _, err := c.client(t, false).Get("/redirect"); !errors.Is(err, transport.ErrForeignHost) {
			t.Errorf("%s: error %v", location, err)
		}
	}
}

func TestTokenFollowsRedirectsWithinTheGateway(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"https://agent-gateway.invalid/redirect", "/redirect", "https://example.com/base/redirect"} {
		for location, want := range map[string]string{
			"/base/there":                           "/base/there",
			"there":                                 "/base/there",
			"https://example.com/there":             "/there",
			"https://EXAMPLE.com:443/there":         "/there",
			"https://agent-gateway.invalid/there":   "/base/there",
			"https://foreign@example.com:443/there": "/there",
		} {
			t.Run(start+" to "+location, func(t *testing.T) {
				t.Parallel()
				c := newCloud(t, http.StatusFound)
				c.location = location
				resp, err := c.client(t, false).Get(start)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if got := c.gateway.seen(); !slices.Equal(got, []string{"Bearer secret", "Bearer secret"}) {
					t.Errorf("the gateway saw %q", got)
				}
				u, err := transport.Join(&url.URL{Scheme: "https", Host: "example.com", Path: "/base"}, resp.Request.URL)
				if err != nil || u.Path != want {
					t.Errorf("ended at %v (error %v), want %s", u, err, want)
				}
			})
		}
	}
}

// The caller's request, which http.Client takes the headers of the next one from,
// never learns the token.
func TestResponsesDoNotLeadToTheToken(t *testing.T) {
	t.Parallel()
	c := newCloud(t, http.StatusFound)
	c.location = "there"
	client := c.client(t, false)
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		for _, r := range append(via, req, req.Response.Request) {
			if r.Header.Get("Authorization") != "" {
				t.Errorf("%s has the token", r.URL)
			}
		}
		return nil
	}
	resp, err := client.Get("/redirect")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if text := fmt.Sprintf("%+v %+v", resp, resp.Request); strings.Contains(text, "secret") {
		t.Errorf("the response has the token: %s", text)
	}
}

// A Location is relative to where the request went, which the caller does not know.
func TestRelativeLocationIsCompleted(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"":                          "",
		"/base/y?q":                 "https://gw.example/base/y?q",
		"y":                         "https://gw.example/base/v1/y",
		"../y":                      "https://gw.example/base/y",
		"//evil.example/y":          "https://evil.example/y",
		"https://gw.example/a/../y": "https://gw.example/a/../y",
		"sap.s4:order":              "sap.s4:order",
		"%zz":                       "%zz",
	} {
		b := newBase(result{status: 201, header: http.Header{"Location": {location}}})
		resp, err := transport.New(newSource(mustGrant(t, "secret", gateway)), &transport.Options{Base: b}).RoundTrip(newRequest(t, "POST", "/v1/x", nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("%q became %q, want %q", location, got, want)
		}
	}
}
