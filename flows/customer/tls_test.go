package customer_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// flowOf returns a flow of the double's credentials with some keys altered.
func flowOf(t *testing.T, srv *agwtest.Server, alter map[string]any) *customer.Flow {
	t.Helper()
	o := srv.Credentials()
	for name, value := range alter {
		o[name] = value
	}
	return must(customer.NewFlow(must(customer.Parse(marshal(t, o)))(t), &customer.Options{RootCAs: srv.RootCAs()}))(t)
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	srv := double(t, agwtest.Options{})
	flow := flowOf(t, srv, nil)
	src := must(tokensource.New(flow, tokensource.Options{}))(t)
	alice := srv.UserToken(agwtest.User{Name: "alice"})
	for range 3 {
		must(src.Token())(t)
		must(src.TokenContext(tokensource.WithUserToken(t.Context(), alice)))(t)
	}
	requests := srv.Requests()
	if len(requests) != 2 || requests[0].User != "" || requests[1].User != "alice" {
		t.Errorf("%d requests", len(requests))
	}
	for _, r := range requests {
		if r.Status != 200 || r.CertificateSerial == "" {
			t.Errorf("status %d, certificate %q", r.Status, r.CertificateSerial)
		}
	}
	if m := srv.Tokens.Meter(); m.Handshakes != 1 {
		t.Errorf("%d handshakes for 2 requests", m.Handshakes)
	}
	if gateway := must(src.Grant(t.Context()))(t).GatewayURL().String(); gateway != srv.GatewayURL() {
		t.Error(gateway)
	}
}

func TestEnvironmentPresentsNoCertificate(t *testing.T) {
	srv := double(t, agwtest.Options{})
	clearEnv(t, "")
	for name, value := range srv.CustomerEnv() {
		t.Setenv(name, value)
	}
	flow := must(customer.NewFlow(must(customer.Load())(t), &customer.Options{RootCAs: srv.RootCAs()}))(t)
	if _, err := flow.Fetch(t.Context(), tokensource.Subject{}); err != nil {
		t.Error(err)
	}
	if e := must(flow.MCPServers(t.Context()))(t); len(e) == 0 {
		t.Error("no MCP servers")
	}
}

func TestHandshakeIsMutual(t *testing.T) {
	t.Parallel()
	srv := double(t, agwtest.Options{})
	none := parsed(t, map[string]any{"tokenServiceUrl": srv.TokenURL(), "clientid": srv.ClientID()})
	none.Certificate, none.PrivateKey = "", ""

	old := time.Now().Add(-time.Minute) // NewFlow would not take it: something else presents it
	base := srv.Transport()
	base.TLSClientConfig.Certificates = []tls.Certificate{must(tls.X509KeyPair(pemPair(t, srv, agwtest.Certificate{NotBefore: old.Add(-time.Hour), NotAfter: old})))(t)}

	cert, key := pemPair(t, srv, agwtest.Certificate{ForeignCA: true})
	for name, test := range map[string]struct {
		flow *customer.Flow
		want string
	}{
		"none":    {must(customer.NewFlow(none, &customer.Options{RootCAs: srv.RootCAs()}))(t), "no client certificate was presented"},
		"foreign": {flowOf(t, srv, map[string]any{"certificate": string(cert), "privateKey": string(key)}), "refused the client certificate: remote error: tls: unknown certificate authority"},
		"expired": {must(customer.NewFlow(none, &customer.Options{Base: base}))(t), "refused the client certificate: remote error: tls: expired certificate"},
	} {
		_, err := test.flow.Fetch(t.Context(), tokensource.Subject{})
		e := (*tokensource.Error)(nil)
		if !errors.As(err, &e) || e.Kind != tokensource.Refused || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := srv.Counts().Token; n != 0 {
		t.Errorf("%d requests got through", n)
	}
}

func pemPair(t *testing.T, srv *agwtest.Server, c agwtest.Certificate) (cert, key []byte) {
	t.Helper()
	cert, key, err := srv.ClientCertificate(c)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestForeignServerIsNotTrusted(t *testing.T) {
	t.Parallel()
	srv, other := double(t, agwtest.Options{}), double(t, agwtest.Options{})
	flow := must(customer.NewFlow(must(customer.Parse(marshal(t, srv.Credentials())))(t), &customer.Options{RootCAs: other.RootCAs()}))(t)
	_, err := flow.Fetch(t.Context(), tokensource.Subject{UserToken: userJWT})
	if e := (*tokensource.Error)(nil); !errors.As(err, &e) || e.Kind != tokensource.Permanent || !strings.Contains(err.Error(), "not trusted") {
		t.Error(err)
	}
	if len(srv.Requests()) != 0 {
		t.Error("the assertion went to a server that is not trusted")
	}
}

func TestServerThatRepeatsCredentials(t *testing.T) {
	t.Parallel()
	srv := double(t, agwtest.Options{})
	srv.Tokens.Inject(agwtest.Fault{Leak: true}, agwtest.Fault{Redirect: srv.ForeignURL() + "/?assertion=hidden"})
	flow := flowOf(t, srv, nil)
	alice := srv.UserToken(agwtest.User{Name: "alice"})
	for range 2 {
		_, err := flow.Fetch(t.Context(), tokensource.Subject{UserToken: alice})
		if err == nil || strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), alice[len(alice)-20:]) || strings.Contains(err.Error(), "hidden") {
			t.Error(err)
		}
	}
	if n := srv.Counts().Foreign; n != 0 {
		t.Errorf("%d redirects followed", n)
	}
}

// rotating is a double with a mounted binding and a source that reads it.
func rotating(t *testing.T) (*agwtest.Server, *tokensource.Source, func()) {
	t.Helper()
	srv := double(t, agwtest.Options{})
	root := t.TempDir()
	mountNow := func() {
		t.Helper()
		if err := srv.WriteBinding(root); err != nil {
			t.Error(err)
		}
	}
	mountNow()
	flow := must(customer.NewFlow(must(customer.LoadFile(root))(t), &customer.Options{RootCAs: srv.RootCAs()}))(t)
	return srv, must(tokensource.New(flow, tokensource.Options{}))(t), mountNow
}

func rotate(t *testing.T, srv *agwtest.Server) {
	t.Helper()
	if err := srv.RotateClientCertificate(); err != nil {
		t.Error(err)
	}
}

func TestRotationWhileCallersRun(t *testing.T) {
	t.Parallel()
	srv, src, mountNow := rotating(t)
	var group sync.WaitGroup
	for caller := range 50 {
		group.Go(func() {
			for i := range 20 {
				user := srv.UserToken(agwtest.User{Name: fmt.Sprintf("user-%d-%d", caller, i)})
				if _, err := src.TokenContext(tokensource.WithUserToken(t.Context(), user)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for range 5 {
			rotate(t, srv)
			mountNow()
		}
	})
	group.Wait()

	before := must(src.Grant(t.Context()))(t)
	rotate(t, srv)
	mountNow()
	srv.RefuseOldClients() // from now on only the new certificate will do
	srv.ResetCounts()
	bob := tokensource.WithUserToken(t.Context(), srv.UserToken(agwtest.User{Name: "bob"}))
	must(src.Grant(bob))(t)
	if after := must(src.Grant(t.Context()))(t); after == before {
		t.Error("a token of the old credentials was served")
	}
	for _, r := range srv.Requests() {
		if r.Status != 200 {
			t.Errorf("a request with the old certificate: %d", r.Status)
		}
	}
}

func TestServiceRefusesBeforeTheFileChanges(t *testing.T) {
	t.Parallel()
	srv, src, mountNow := rotating(t)
	must(src.Token())(t)
	rotate(t, srv)
	srv.RefuseOldClients()
	bob := tokensource.WithUserToken(t.Context(), srv.UserToken(agwtest.User{Name: "bob"}))
	_, err := src.Grant(bob)
	if e := (*tokensource.Error)(nil); !errors.As(err, &e) || e.Kind != tokensource.Refused {
		t.Fatal(err)
	}
	mountNow()
	carol := tokensource.WithUserToken(t.Context(), srv.UserToken(agwtest.User{Name: "carol"}))
	if _, err := src.Grant(carol); err != nil { // not bob, who rests
		t.Error(err)
	}
}
