package compat_test

import (
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// http2.ConfigureTransports gives a transport a pool of connections, which its clones
// share. Token requests present the certificate that is in force all the same, and the
// program's own requests present none of the agent's.
func TestHTTP2ConfiguredByXNet(t *testing.T) {
	t.Parallel()
	mount := ""
	var base *http.Transport
	ctx, w := start(t, agwtest.Options{}, func(server *agwtest.Server, cfg *agw.Config) {
		base = newBase(t, server)
		//lint:ignore SA1019 this is what is tested
		if _, err := http2.ConfigureTransports(base); err != nil {
			t.Fatal(err)
		}
		mount = t.TempDir()
		if err := server.WriteBinding(mount); err != nil {
			t.Fatal(err)
		}
		creds, err := customer.LoadFile(mount)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Credentials, cfg.ServiceTransport = creds, base
	})
	own := func() {
		t.Helper()
		resp, err := base.RoundTrip(newRequest(t, ctx, http.MethodPost, w.server.TokenURL(), nil))
		if err == nil { // a server that wants a certificate may refuse the connection
			_ = resp.Body.Close()
		}
	}
	own() // fills the pool with a connection without a certificate
	fetch := func(user string) {
		t.Helper()
		if _, err := w.Source().TokenContext(tokensource.WithUserToken(ctx, w.jwt(user))); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	fetch("alice")
	own()
	if err := w.server.RotateCredentials(); err != nil {
		t.Fatal(err)
	}
	if err := w.server.WriteBinding(mount); err != nil {
		t.Fatal(err)
	}
	fetch("bob")
	own()

	serials := make(map[string]string) // of the certificate with which a user's token was fetched
	for _, r := range w.server.Requests() {
		if r.Proto != "HTTP/2.0" {
			t.Errorf("a request came by %s, want HTTP/2.0", r.Proto)
		}
		if r.User == "" && r.CertificateSerial != "" {
			t.Errorf("a request of the program's own came with certificate %s of the agent", r.CertificateSerial)
		}
		serials[r.User] = r.CertificateSerial
	}
	if serials["alice"] == "" || serials["bob"] == "" || serials["alice"] == serials["bob"] {
		t.Errorf("the tokens were fetched with the certificates %q, want another one after the rotation", serials)
	}
}
