package customer_test

import (
	"crypto/tls"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// newFlowOf returns a flow of a double's credentials with some keys changed.
func newFlowOf(t *testing.T, srv *agwtest.Server, changes map[string]any) flows.Flow {
	t.Helper()
	o := srv.Credentials()
	maps.Copy(o, changes)
	flow := newFlow(t, must(customer.Parse(toJSON(t, o)))(t), flows.Options{RootCAs: srv.RootCAs()})
	t.Cleanup(flow.CloseIdleConnections)
	return flow
}

func newClientCertificate(t *testing.T, srv *agwtest.Server, c agwtest.Certificate) (certPEM, keyPEM []byte) {
	t.Helper()
	certPEM, keyPEM, err := srv.ClientCertificate(c)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM, keyPEM
}

func assertDenied(t *testing.T, what string, err error, text string) {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) || e.Kind != tokensource.Denied || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got error %v (%T), want a denied *tokensource.Error with %q", what, err, err, text)
	}
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	srv := startDouble(t, agwtest.Options{})
	src := newSource(t, newFlowOf(t, srv, nil))
	alice := srv.UserToken(agwtest.User{Name: "alice"})
	for range 3 {
		must(src.Token())(t)
		must(src.TokenContext(tokensource.WithUserToken(t.Context(), alice)))(t)
	}
	requests := srv.Requests()
	if len(requests) != 2 || requests[0].User != "" || requests[1].User != "alice" {
		t.Errorf("the service got %+v, want one request for the system and one for alice", requests)
	}
	for _, r := range requests {
		if r.Status != 200 || r.CertificateSerial == "" {
			t.Errorf("a request came with certificate %q and got status %d, want one and 200", r.CertificateSerial, r.Status)
		}
	}
	if m := srv.Tokens.Meter(); m.Handshakes != 1 {
		t.Errorf("%d handshakes for 2 requests, want 1", m.Handshakes)
	}
	if gateway := must(src.AccessToken(t.Context()))(t).GatewayURL().String(); gateway != srv.GatewayURL() {
		t.Errorf("the token is for gateway %s, want %s", gateway, srv.GatewayURL())
	}
}

func TestEnvironmentWithoutACertificate(t *testing.T) {
	srv := startDouble(t, agwtest.Options{})
	clearEnvironment(t, "")
	for name, value := range srv.CustomerEnv() {
		t.Setenv(name, value)
	}
	flow := newFlow(t, must(customer.Load())(t), flows.Options{RootCAs: srv.RootCAs()})
	t.Cleanup(flow.CloseIdleConnections)
	if _, err := flow.Fetch(t.Context(), tokensource.SystemSubject()); err != nil {
		t.Error(err)
	}
	if r := srv.Requests(); len(r) != 1 || r[0].CertificateSerial != "" {
		t.Errorf("the service got %+v, want one request without a certificate", r)
	}
	if servers := must(flow.MCPServers(t.Context()))(t); len(servers) == 0 {
		t.Error("got no MCP servers, want those of INTEGRATION_DEPENDENCIES")
	}
}

func TestServiceRefusesTheCertificate(t *testing.T) {
	t.Parallel()
	srv := startDouble(t, agwtest.Options{})
	without := parseWith(t, map[string]any{"tokenServiceUrl": srv.TokenURL(), "clientid": srv.ClientID()})
	without.Certificate, without.PrivateKey = "", ""

	// NewFlow accepts no certificate that has expired, but a transport may present one.
	past := time.Now().Add(-time.Minute)
	expired := srv.Transport()
	expired.TLSClientConfig.Certificates = []tls.Certificate{
		must(tls.X509KeyPair(newClientCertificate(t, srv, agwtest.Certificate{NotBefore: past.Add(-time.Hour), NotAfter: past})))(t),
	}
	cert, key := newClientCertificate(t, srv, agwtest.Certificate{ForeignCA: true})
	for _, test := range []struct {
		name string
		flow flows.Flow
		want string
	}{
		{"no certificate", newFlow(t, without, flows.Options{RootCAs: srv.RootCAs()}), "no client certificate was presented"},
		{"a certificate of another authority", newFlowOf(t, srv, map[string]any{"certificate": string(cert), "privateKey": string(key)}), "refused the client certificate: remote error: tls: unknown certificate authority"},
		{"a certificate that has expired", newFlow(t, without, flows.Options{ServiceTransport: expired}), "refused the client certificate: remote error: tls: expired certificate"},
	} {
		_, err := test.flow.Fetch(t.Context(), tokensource.SystemSubject())
		assertDenied(t, test.name, err, test.want)
	}
	if n := srv.Counts().Token; n != 0 {
		t.Errorf("%d requests got through, want none", n)
	}
}

func TestServerThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	srv, other := startDouble(t, agwtest.Options{}), startDouble(t, agwtest.Options{})
	flow := newFlow(t, must(customer.Parse(toJSON(t, srv.Credentials())))(t), flows.Options{RootCAs: other.RootCAs()})
	_, err := flow.Fetch(t.Context(), tokensource.UserSubject(userJWT))
	var e *tokensource.Error
	if !errors.As(err, &e) || e.Kind != tokensource.Permanent || !strings.Contains(err.Error(), "not trusted") {
		t.Errorf("got error %v (%T), want a permanent one that says so", err, err)
	}
	if len(srv.Requests()) != 0 {
		t.Error("the user's token went to a server that is not trusted")
	}
}

func TestServerThatRepeatsCredentials(t *testing.T) {
	t.Parallel()
	srv := startDouble(t, agwtest.Options{})
	srv.Tokens.Inject(agwtest.Fault{Leak: true}, agwtest.Fault{Redirect: srv.ForeignURL() + "/?assertion=hidden"})
	flow := newFlowOf(t, srv, nil)
	alice := srv.UserToken(agwtest.User{Name: "alice"})
	for _, fault := range []string{"the service repeats the token", "the service redirects"} {
		_, err := flow.Fetch(t.Context(), tokensource.UserSubject(alice))
		if err == nil || strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), alice[len(alice)-20:]) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: got error %v, want one that does not show it", fault, err)
		}
	}
	if n := srv.Counts().Foreign; n != 0 {
		t.Errorf("%d redirects were followed, want none", n)
	}
}
