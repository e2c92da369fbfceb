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

// Wherever a gateway redirects to, only its own origin ever sees the token.
func TestRedirectsOfTheGateway(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "customer", agwtest.Options{})
	foreign := strings.TrimPrefix(p.server.ForeignURL(), "https://")
	own := strings.TrimPrefix(p.server.GatewayURL(), "https://")
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{
			p.server.ForeignURL(), "//" + foreign, "http://" + foreign, "http://" + own, "https://" + own + "@" + foreign, "HTTPS://" + foreign,
			"https://" + own + ".evil.example/", "https://evil.example\\@" + own + "/", "https://agent-gateway.invalid@" + foreign,
			"https://agent-gateway.invalid." + foreign, "file:///etc/passwd", "javascript:alert(1)", "ftp://" + own,
		} {
			p.server.Gateway.Inject(agwtest.Fault{Status: status, Redirect: location})
			resp, err := p.client.Post("/v1/mcp/a/b", "text/plain", strings.NewReader("hello"))
			if err == nil {
				_ = resp.Body.Close()
				t.Errorf("%d to %q: the redirect was followed, want an error", status, location)
			}
			p.server.Gateway.ClearFaults()
		}
		p.server.Gateway.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Status: status, Redirect: "/again"} })
		if resp, err := p.client.Get("/loop"); err == nil || resp.StatusCode != status {
			t.Errorf("%d in a loop: got error %v, want one with the last response", status, err)
		} else {
			_ = resp.Body.Close()
		}
		p.server.Gateway.ClearFaults()
	}
	if c := p.server.Counts(); c.Foreign != 0 || c.Leaked != 0 {
		t.Errorf("the foreign host got %d requests, %d of them with a token; want none", c.Foreign, c.Leaked)
	}
}

// A landscape can name anything as the URL of its gateway.
func TestGatewayURLsOfDestinations(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "lob", agwtest.Options{})
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
		p.server.Destinations.Inject(agwtest.Fault{Body: string(body)})
		_, err := p.source.AccessToken(t.Context())
		e := fetchError(t, fmt.Sprintf("gateway %q", bad), err)
		if e.Kind != tokensource.Permanent || strings.Contains(e.Error(), "swordfish") {
			t.Errorf("gateway %q: got %v error %q, want a permanent one without the password", bad, e.Kind, e)
		}
		p.purge()
	}
}

// About these URLs of gateways, the transport decides.
func TestGatewayURLsThatNeedCare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, gateway string
		want          error
	}{
		{"plain http", "http://gw.example", tokensource.ErrInsecureURL},
		{"IPv6 zone", "https://[fe80::1%25eth0]/", io.EOF}, // of the base
	} {
		gateway, err := tokensource.ParseGatewayURL(test.gateway)
		if err != nil {
			t.Fatal(err)
		}
		src, err := tokensource.Fixed(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret}), gateway.String())
		if err != nil {
			t.Fatal(err)
		}
		var sent []string // hosts
		base := roundTripper(func(r *http.Request) (*http.Response, error) { sent = append(sent, r.URL.Host); return nil, io.EOF })
		_, err = transport.New(src, transport.Options{Base: base}).RoundTrip(newGet(t, "/x"))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %q", test.name, err, test.want)
		}
		insecure := test.want == tokensource.ErrInsecureURL
		if insecure && len(sent) > 0 || !insecure && (len(sent) != 1 || sent[0] != gateway.Host) {
			t.Errorf("%s: requests went to %q, want only ones to the gateway, and none over plain http", test.name, sent)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newGet(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A gateway or a token service that cannot prove who it is gets nothing: neither a token
// nor an assertion.
func TestImpostors(t *testing.T) {
	t.Parallel()
	certificate, roots := serverIdentity(t)
	for _, test := range []struct {
		name    string
		config  *tls.Config
		host    string
		trusted bool
	}{
		{"self-signed", &tls.Config{}, "127.0.0.1", false},
		{"another name", &tls.Config{}, "localhost", true},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "127.0.0.1", true},
		{"RC4", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}, "127.0.0.1", true},
	} {
		test.config.Certificates = []tls.Certificate{certificate}
		s := startRawServerWith(t, test.config, roots, withJSON(`{"access_token":"t"}`))
		s.url = strings.Replace(s.url, "127.0.0.1", test.host, 1)
		if !test.trusted {
			s.roots = x509.NewCertPool()
		}
		_, err := s.flow(t).Fetch(t.Context(), tokensource.UserSubject(secret))
		fetchError(t, test.name+" as token service", err)

		src, err := tokensource.Fixed(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret}), s.url)
		if err != nil {
			t.Fatal(err)
		}
		base := transport.NewBase()
		base.TLSClientConfig.RootCAs = s.roots
		if _, err := transport.New(src, transport.Options{Base: base}).RoundTrip(newGet(t, "/x")); err == nil {
			t.Errorf("%s as gateway: the call succeeded, want an error", test.name)
		}
		if n := s.requests.Load(); n != 0 {
			t.Errorf("%s: the impostor got %d requests, want none", test.name, n)
		}
	}
}

// A token is opaque: whom it is for is between the service that issues it and the gateway
// that verifies it. But the response to one tenant's request, right or wrong, is never
// served to another one.
func TestResponsesForAnotherTenant(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "lob", agwtest.Options{SecondGateway: []string{"evil"}})
	in := func(tenant string) context.Context { return tokensource.WithTenant(context.Background(), tenant) }
	evil, err := p.source.AccessToken(in("evil"))
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"destinationConfiguration":{"URL":%q},"authTokens":[{"http_header":{"value":%q},"expires_in":"3600"}]}`,
		p.server.TenantGatewayURL("evil"), evil.Authorization())
	p.server.Destinations.OnRequest(func(r agwtest.Request) *agwtest.Fault {
		if r.Tenant == tenant {
			return &agwtest.Fault{Body: body}
		}
		return nil
	})
	if got := p.callerAtGateway(t, in(tenant)); got.Tenant != "evil" {
		t.Errorf("tenant %s, which got the token of evil: the gateway believes %+v, want what the token says", tenant, got)
	}
	for _, other := range []string{"evil", "third"} {
		if got := p.callerAtGateway(t, in(other)); got.Tenant != other {
			t.Errorf("tenant %s: the gateway believes %+v, want it unharmed", other, got)
		}
	}
	p.server.Destinations.ClearFaults()
	if err := p.source.Forget(tokensource.SystemSubject().In(tenant)); err != nil {
		t.Fatal(err)
	}
	if got := p.callerAtGateway(t, in(tenant)); got.Tenant != tenant {
		t.Errorf("tenant %s, after Forget: the gateway believes %+v, want it to have its own token", tenant, got)
	}
}

// callerAtGateway returns whom the gateway believes a call to come from.
func (p *program) callerAtGateway(t *testing.T, ctx context.Context) agwtest.Caller {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	resp, err := p.client.Do(newGet(t, "/who").WithContext(ctx))
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

// Services that vanish in the middle of a response, over HTTP/2 and over HTTP/1.1, do no
// lasting harm.
func TestServicesThatVanish(t *testing.T) {
	t.Parallel()
	faults := map[string]agwtest.Fault{
		"before the response": {Reset: true}, "after 10 bytes": {Reset: true, TruncateAfter: 10},
		"after 10 bytes, as if they were all": {TruncateAfter: 10}, "after 2 MiB": {Padding: 2 << 20},
	}
	for _, http1 := range []bool{false, true} {
		for _, flow := range flowNames {
			p := startProgram(t, flow, agwtest.Options{HTTP1: http1})
			for service, handle := range p.services() {
				for name, fault := range faults {
					handle.OnRequest(func(agwtest.Request) *agwtest.Fault { return &fault })
					_, err := p.flow.Fetch(t.Context(), tokensource.UserSubject(p.userToken).In(tenant))
					name = fmt.Sprintf("%s vanishes %s (HTTP/1.1: %t)", service, name, http1)
					if e := fetchError(t, name, err); e.Kind != tokensource.Temporary {
						t.Errorf("%s: got %v error %q, want a temporary one", name, e.Kind, e)
					}
					handle.ClearFaults()
					p.purge()
				}
			}
			if n := p.exercise(t); n > 0 {
				t.Errorf("%s, HTTP/1.1: %t: %d failures afterwards, want none", flow, http1, n)
			}
		}
	}
}
