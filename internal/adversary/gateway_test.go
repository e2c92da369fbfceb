package adversary_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// A gateway that repeats the token where HTTP has no place for it ends in an error of
// net/http that quotes it, and a careless log would keep that.
func TestIndiscreetGateway(t *testing.T) {
	t.Parallel()
	for _, flow := range []string{"customer", "lob"} {
		for _, how := range []string{"status line", "header line", "content length", "transfer encoding", "content encoding", "chunk", "no HTTP"} {
			w := newWorld(t, flow, agwtest.Options{HTTP1: true})
			w.Gateway.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Handler: indiscreet[how]} })
			if w.exercise(t) == 0 && how != "content encoding" && how != "chunk" { // for these, it is the body that fails
				t.Errorf("%s: nothing failed", how)
			}
			w.check(t, how, w.vault)
		}
	}
}

// Whatever a gateway redirects to, only its own origin ever sees the token.
func TestRedirectsOfTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "customer", agwtest.Options{})
	foreign := strings.TrimPrefix(w.ForeignURL(), "https://")
	own := strings.TrimPrefix(w.GatewayURL(), "https://")
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{
			w.ForeignURL(), "//" + foreign, "http://" + foreign, "http://" + own, "https://" + own + "@" + foreign, "HTTPS://" + foreign,
			"https://" + own + ".evil.example/", "https://evil.example\\@" + own + "/", "https://agent-gateway.invalid@" + foreign,
			"https://agent-gateway.invalid." + foreign, "file:///etc/passwd", "javascript:alert(1)", "ftp://" + own,
		} {
			w.Gateway.Inject(agwtest.Fault{Status: status, Redirect: location})
			resp, err := w.client.Post("/v1/mcp/a/b", "text/plain", strings.NewReader("hello"))
			if err == nil {
				_ = resp.Body.Close()
				t.Errorf("%d to %q was followed", status, location)
			}
			w.Gateway.Heal()
		}
		w.Gateway.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Status: status, Redirect: "/again"} })
		if resp, err := w.client.Get("/loop"); err == nil || resp.StatusCode != status {
			t.Errorf("a loop of %d ended in %v", status, err)
		} else {
			_ = resp.Body.Close()
		}
		w.Gateway.Heal()
	}
	if c := w.Counts(); c.Foreign != 0 || c.Leaked != 0 {
		t.Errorf("%+v", c)
	}
}

// The URL of a gateway that a landscape names can be anything.
func TestGatewayURLsOfDestinations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "lob", agwtest.Options{})
	for _, bad := range []string{
		"https://gw.example/\r\nX-Admin: 1", "https://gw.example/\x00", "https://gw\x00.example/", "https://gw.example\t/x", "https://gw .example",
		"https://me@gw.example", "https://me:" + secret + "@gw.example", "https://gw.example/?q", "https://gw.example/?", "https://gw.example/#f", "https://gw.example/#",
		"ftp://gw.example", "javascript:alert(1)", "file:///etc/passwd", "//gw.example", "/v1/mcp", "gw.example", "https:gw.example", "https://", "https:///x", "https://:443",
		"https://gw.example:port", "https://[::1", "https://gw.example/%zz", "data:,x", "https://gw.example\\@evil.example",
	} {
		body, _ := json.Marshal(map[string]any{
			"destinationConfiguration": map[string]string{"URL": bad},
			"authTokens":               []any{map[string]any{"http_header": map[string]string{"value": "Bearer t"}, "expires_in": "60"}},
		})
		w.Destinations.Inject(agwtest.Fault{Body: string(body)})
		_, err := w.src.Grant(t.Context())
		if err == nil {
			t.Errorf("%q is accepted", bad)
			continue
		}
		if e := typed(t, err); strings.Contains(e.Error(), "swordfish") || e.Kind != tokensource.Permanent {
			t.Errorf("%q: kind %d, %v", bad, e.Kind, e)
		}
		w.purge()
	}
	for _, zoned := range []string{"https://[fe80::1%25eth0]/", "http://gw.example"} { // the transport decides about these
		g, err := tokensource.ParseGatewayURL(zoned)
		if err != nil {
			t.Fatal(err)
		}
		src, err := tokensource.Fixed(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret}), g.String())
		if err != nil {
			t.Fatal(err)
		}
		var asked *http.Request
		base := roundTripper(func(r *http.Request) (*http.Response, error) { asked = r; return nil, io.EOF })
		_, err = transport.New(src, &transport.Options{Base: base}).RoundTrip(get(t, "/x"))
		if strings.HasPrefix(zoned, "http:") && (!errors.Is(err, tokensource.ErrInsecureURL) || asked != nil) || asked != nil && asked.URL.Host != g.Host {
			t.Errorf("%s: %v, %v", zoned, err, asked)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func get(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A gateway or a token service that cannot prove who it is gets nothing: neither a
// token nor an assertion.
func TestImpostors(t *testing.T) {
	t.Parallel()
	certificate, roots := identityOf(t)
	for name, test := range map[string]struct {
		config *tls.Config
		host   string
		trust  bool
	}{
		"self-signed":  {&tls.Config{}, "127.0.0.1", false},
		"another name": {&tls.Config{}, "localhost", true},
		"TLS 1.1":      {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "127.0.0.1", true},
		"RC4":          {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}, "127.0.0.1", true},
	} {
		test.config.Certificates = []tls.Certificate{certificate}
		s := startWith(t, test.config, roots, saying(ok(`{"access_token":"t"}`)))
		s.url = strings.Replace(s.url, "127.0.0.1", test.host, 1)
		if !test.trust {
			s.roots = x509.NewCertPool()
		}
		_, err := s.flowOf(t).Fetch(t.Context(), tokensource.Subject{UserToken: secret})
		typed(t, err)
		src, err := tokensource.Fixed(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret}), s.url)
		if err != nil {
			t.Fatal(err)
		}
		base := transport.NewBase()
		base.TLSClientConfig.RootCAs = s.roots
		if _, err := transport.New(src, &transport.Options{Base: base}).RoundTrip(get(t, "/x")); err == nil {
			t.Errorf("%s: the gateway is trusted", name)
		}
		if n := s.requests.Load(); n != 0 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// A token is opaque: whom it is for is between the service that issues it and the
// gateway that verifies it. What can be kept apart is kept apart: the answer to one
// tenant's request, right or wrong, is never served to another one.
func TestAnswersForAnotherTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "lob", agwtest.Options{SecondGateway: []string{"evil"}})
	in := func(tenant string) context.Context { return tokensource.WithTenant(context.Background(), tenant) }
	evil, err := w.src.Grant(in("evil"))
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"destinationConfiguration":{"URL":%q},"authTokens":[{"http_header":{"value":%q},"expires_in":"3600"}]}`,
		w.TenantGatewayURL("evil"), evil.Authorization()[0])
	w.Destinations.OnRequest(func(r agwtest.Request) *agwtest.Fault {
		if r.Tenant == tenant {
			return &agwtest.Fault{Body: body}
		}
		return nil
	})
	if got := w.callerSeen(t, in(tenant)); got.Tenant != "evil" {
		t.Errorf("the gateway believed %+v", got) // and would have refused what it does not believe
	}
	for _, other := range []string{"evil", "third"} {
		if got := w.callerSeen(t, in(other)); got.Tenant != other {
			t.Errorf("%s acted as %+v", other, got)
		}
	}
	w.Destinations.Heal()
	w.src.Forget(tokensource.Subject{Tenant: tenant})
	if got := w.callerSeen(t, in(tenant)); got.Tenant != tenant {
		t.Errorf("afterwards: %+v", got)
	}
}

// callerSeen returns whom the gateway believed a call to come from.
func (w *world) callerSeen(t *testing.T, ctx context.Context) agwtest.Caller {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	resp, err := w.client.Do(get(t, "/who").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	echo, err := agwtest.DecodeEcho(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return echo.Caller
}

// Services that vanish in the middle of an answer, over HTTP/2 and over HTTP/1.1.
func TestServicesThatVanish(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{false, true} {
		for _, flow := range []string{"customer", "lob"} {
			w := newWorld(t, flow, agwtest.Options{HTTP1: http1})
			for name, service := range w.services(flow) {
				for _, fault := range []agwtest.Fault{{Reset: true}, {Reset: true, ResetAfter: 10}, {TruncateAfter: 10}, {Padding: 2 << 20}} {
					service.OnRequest(func(agwtest.Request) *agwtest.Fault { return &fault })
					_, err := w.flow.Fetch(t.Context(), tokensource.Subject{Tenant: tenant, UserToken: w.user})
					if e := typed(t, err); e.Kind != tokensource.Passing {
						t.Errorf("%s, %+v: %v", name, fault, e)
					}
					service.Heal()
					w.purge()
				}
			}
			if n := w.exercise(t); n > 0 {
				t.Errorf("%d failures afterwards", n)
			}
		}
	}
}
