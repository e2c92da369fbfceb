package transport_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/route"
	"github.com/agwgo/agw/transport"
)

// redirectServers are a gateway, reached as https://example.com/base, whose path
// /base/redirect redirects to location, and two servers that are not the gateway.
type redirectServers struct {
	gateway, foreign, plain *recordingServer
	base                    *http.Transport // that reaches them
	location                string
}

func startRedirectServers(t *testing.T, status int) *redirectServers {
	t.Helper()
	s := new(redirectServers)
	s.gateway = startServerWith(t, http2, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/base/redirect" && r.URL.RawQuery == "" {
			w.Header().Set("Location", s.location)
			w.WriteHeader(status)
		}
	})
	ok := func(http.ResponseWriter, *http.Request) {}
	s.foreign, s.plain = startServerWith(t, http1, ok), startServerWith(t, plainHTTP, ok)
	s.base = newBaseTrusting(t, s.gateway, map[string]*recordingServer{
		"example.com:443":  s.gateway,
		"example.com:8443": s.foreign, // another port
		"example.com:80":   s.plain,   // another scheme
	})
	return s
}

// client returns a client with a token for https://example.com/base.
func (s *redirectServers) client(t *testing.T, passForeignHosts bool) *http.Client {
	t.Helper()
	src := newSource(newToken(t, "secret", "https://example.com/base"))
	return transport.New(src, transport.Options{Base: s.base, PassForeignHosts: passForeignHosts}).Client()
}

func TestTokenIsNotRedirectedToForeignHosts(t *testing.T) {
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
					s := startRedirectServers(t, status)
					s.location = strings.NewReplacer("FOREIGN", s.foreign.Listener.Addr().String(), "PLAIN", s.plain.Listener.Addr().String()).Replace(location)
					resp, err := s.client(t, pass).Post("https://agent-gateway.invalid/redirect", "text/plain", strings.NewReader("x"))
					if resp != nil {
						_ = resp.Body.Close()
					}
					received := append(s.foreign.authorizations(), s.plain.authorizations()...)
					switch {
					case pass && (err != nil || len(received) != 1):
						t.Errorf("got error %v, and the foreign servers got %d requests; want one, which was passed", err, len(received))
					case !pass && (!errors.Is(err, transport.ErrForeignHost) || len(received) != 0):
						t.Errorf("got error %v, and the foreign servers got %d requests; want %v and none", err, len(received), transport.ErrForeignHost)
					}
					if strings.Contains(strings.Join(received, " "), "secret") {
						t.Errorf("a foreign server got the token: %q", received)
					}
				})
			}
		}
	}
}

// The placeholder with another scheme or port is a foreign host, and nothing resolves it.
func TestTokenIsNotRedirectedToOtherPlaceholders(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"http://agent-gateway.invalid/x", "https://agent-gateway.invalid:8443/x"} {
		s := startRedirectServers(t, http.StatusFound)
		s.location = location
		if _, err := s.client(t, false).Get("/redirect"); !errors.Is(err, transport.ErrForeignHost) {
			t.Errorf("a redirect to %s: got error %v, want %v", location, err, transport.ErrForeignHost)
		}
	}
}

func TestTokenFollowsRedirectsWithinTheGateway(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"https://agent-gateway.invalid/redirect", "/redirect", "https://example.com/base/redirect"} {
		for location, want := range map[string]string{
			"/base/there":                           "/base/there",
			"there":                                 "/base/there",
			"?there":                                "/base/redirect",
			"/there":                                "/there",
			"//example.com/base/there":              "/base/there",
			"https://example.com/there":             "/there",
			"https://EXAMPLE.com:443/there":         "/there",
			"https://agent-gateway.invalid/there":   "/base/there",
			"https://foreign@example.com:443/there": "/there",
		} {
			t.Run(start+" to "+location, func(t *testing.T) {
				t.Parallel()
				s := startRedirectServers(t, http.StatusFound)
				s.location = location
				resp, err := s.client(t, false).Get(start)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if got := s.gateway.authorizations(); !slices.Equal(got, []string{"Bearer secret", "Bearer secret"}) {
					t.Errorf("the gateway got requests with %q, want two with the token", got)
				}
				end, err := route.Join(parseURL(t, "https://example.com/base"), resp.Request.URL)
				if err != nil || end.Path != want {
					t.Errorf("the redirect ended at %v (error %v), want path %s", end, err, want)
				}
				below := !strings.Contains(location, "//") && strings.HasPrefix(want, "/base/")
				if below && route.IsRelative(parseURL(t, start)) && !route.IsRelative(resp.Request.URL) {
					t.Errorf("the redirect ended at %s, want a URL relative to the gateway, like the one that the caller used", resp.Request.URL)
				}
			})
		}
	}
}

// http.Client copies the header of the caller's request to the next one, and hands out
// responses. The token is in neither.
func TestRedirectsDoNotLeadToTheToken(t *testing.T) {
	t.Parallel()
	s := startRedirectServers(t, http.StatusFound)
	s.location = "there"
	client := s.client(t, false)
	redirects := 0
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		redirects++
		for _, r := range append(via, req, req.Response.Request) {
			if got := r.Header.Get("Authorization"); got != "" {
				t.Errorf("the request for %s has the Authorization %q, want none", r.URL, got)
			}
		}
		return nil
	}
	resp, err := client.Get("/redirect")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if redirects != 1 {
		t.Errorf("there were %d redirects, want 1", redirects)
	}
	if text := fmt.Sprintf("%+v %+v", resp, resp.Request); strings.Contains(text, "secret") {
		t.Errorf("the response shows the token: %s", text)
	}
}

// A Location is relative to the URL that the request was sent to, which a caller who used
// the placeholder does not know. See also route.TestLocation.
func TestRelativeLocation(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]struct{ relative, absolute string }{
		"":                          {"", ""},
		"/base/y?q":                 {"/y?q", "https://gw.example/base/y?q"},
		"y":                         {"/v1/y", "https://gw.example/base/v1/y"},
		"/y":                        {"https://gw.example/y", "https://gw.example/y"},
		"//evil.example/y":          {"https://evil.example/y", "https://evil.example/y"},
		"https://gw.example/a/../y": {"https://gw.example/a/../y", "https://gw.example/a/../y"},
		"sap.s4:order":              {"sap.s4:order", "sap.s4:order"},
		"%zz":                       {"%zz", "%zz"},
	} {
		for target, want := range map[string]string{
			"/v1/x":                                want.relative,
			"https://agent-gateway.invalid/v1/x":   want.relative,
			"https://gw.example/base/v1/x":         want.absolute,
			"https://gw.example:443/base/v1/x?q=1": want.absolute,
		} {
			b := newBase(result{status: 201, header: http.Header{"Location": {location}}})
			resp, err := transport.New(newSecretSource(t), transport.Options{Base: b}).RoundTrip(newRequest(t, "POST", target, nil))
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Header.Get("Location"); got != want {
				t.Errorf("POST %s: the Location %q became %q, want %q", target, location, got, want)
			}
		}
	}
}

// A reverse proxy passes a Location on to callers who have no way to the gateway's host.
func TestRedirectThroughAReverseProxy(t *testing.T) {
	t.Parallel()
	s := startRedirectServers(t, http.StatusTemporaryRedirect)
	proxy := startServerWith(t, plainHTTP, (&httputil.ReverseProxy{
		Transport: s.client(t, false).Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", transport.PlaceholderHost
		},
	}).ServeHTTP)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, location := range []string{"there", "/base/there"} {
		s.location = location
		resp, err := client.Get(proxy.URL + "/redirect")
		if err != nil {
			t.Fatalf("a redirect to %s: %v", location, err)
		}
		_ = resp.Body.Close()
		if got, want := resp.Request.URL.String(), proxy.URL+"/there"; got != want || resp.StatusCode != 200 {
			t.Errorf("a redirect to %s ended at %s with status %d, want %s and 200", location, got, resp.StatusCode, want)
		}
	}
}
