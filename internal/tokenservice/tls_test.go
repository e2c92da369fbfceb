package tokenservice_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

func startDouble(t *testing.T, options agwtest.Options) *agwtest.Server {
	t.Helper()
	srv, err := agwtest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

func newCertificate(t *testing.T, srv *agwtest.Server, c agwtest.Certificate) *tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := srv.ClientCertificate(c)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// newTLSClient returns a client whose connections are closed when the test ends.
func newTLSClient(t *testing.T, opts flows.Options, certificate *tls.Certificate) *tokenservice.Client {
	t.Helper()
	c := tokenservice.New(opts, certificate, pace.New(0))
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func tokenRequest(srv *agwtest.Server) tokenservice.Request {
	return tokenservice.Request{Method: "POST", URL: srv.TokenURL(), Form: map[string][]string{}}
}

func TestRefusedCertificates(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			srv := startDouble(t, agwtest.Options{HTTP1: http1})
			past := time.Now().Add(-time.Minute)
			for name, test := range map[string]struct {
				certificate *tls.Certificate
				want        string
			}{
				"no certificate":       {nil, "no client certificate was presented"},
				"another authority's":  {newCertificate(t, srv, agwtest.Certificate{ForeignCA: true}), "refused the client certificate: remote error: tls: unknown certificate authority"},
				"one that has expired": {newCertificate(t, srv, agwtest.Certificate{NotBefore: past.Add(-time.Hour), NotAfter: past}), "refused the client certificate: remote error: tls: expired certificate"},
			} {
				base := srv.Transport()
				base.TLSClientConfig.MaxVersion = version
				for attempt := range 5 { // what is reported must not be a matter of luck
					e := doError(t, newTLSClient(t, flows.Options{ServiceTransport: base}, test.certificate), tokenRequest(srv))
					if e.Kind != tokensource.Denied || e.StatusCode != 0 || !strings.Contains(e.Error(), test.want) {
						t.Errorf("%s, attempt %d, %s, HTTP/1 %v: got %v (%v), want denied and %q", name, attempt, tls.VersionName(version), http1, e, e.Kind, test.want)
						break
					}
				}
			}
		}
	}
}

// A brokenConn fails to write as soon as the handshake is over. That takes a client two
// messages, each of which crypto/tls writes at once.
type brokenConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *brokenConn) Write(p []byte) (int, error) {
	if c.writes.Add(1) > 2 {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")}
	}
	return c.Conn.Write(p)
}

// The server may have refused the certificate, and be gone, before the request is written.
func TestRefusalBeforeTheRequest(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{false, true} {
		srv := startDouble(t, agwtest.Options{HTTP1: http1})
		var conn *brokenConn
		base := srv.Transport()
		dial := base.DialContext
		base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			conn = &brokenConn{Conn: c}
			return conn, err
		}
		e := doError(t, newTLSClient(t, flows.Options{ServiceTransport: base}, nil), tokenRequest(srv))
		if e.Kind != tokensource.Denied || !strings.Contains(e.Error(), "no client certificate was presented") {
			t.Errorf("HTTP/1 %v: got %v (%v), want denied, because no certificate was presented", http1, e, e.Kind)
		}
		if n := conn.writes.Load(); n < 3 {
			t.Errorf("HTTP/1 %v: %d writes, want one that fails after the two of the handshake", http1, n)
		}
	}
}

// A server that closes the connection has not said that it refuses the certificate, so it
// counts as a failure of the network. But whoever looks for the reason must be told.
func TestServerThatClosesTheConnectionAfterTheHandshake(t *testing.T) {
	t.Parallel()
	certificate := newCertificate(t, startDouble(t, agwtest.Options{}), agwtest.Certificate{})
	const mayRefuse, mayRequire = "it may have refused the client certificate", "it may require one, and none was presented"
	for _, test := range []struct {
		name        string
		auth        tls.ClientAuthType
		certificate *tls.Certificate
		want        string // a part of the error; "" if it says nothing about certificates
	}{
		{"asks for a certificate, and gets one", tls.RequestClientCert, certificate, mayRefuse},
		{"asks for a certificate, and gets none", tls.RequestClientCert, nil, mayRequire},
		{"asks for nothing", tls.NoClientCert, certificate, ""},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			var complete atomic.Pointer[tls.Config]
			srv := httptest.NewUnstartedServer(http.NotFoundHandler())
			srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
			srv.TLS = &tls.Config{MaxVersion: version, ClientAuth: test.auth, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				config := complete.Load().Clone()
				config.VerifyConnection = func(tls.ConnectionState) error {
					_ = hello.Conn.(*net.TCPConn).SetLinger(0)
					_ = hello.Conn.Close()
					return errors.New("closed")
				}
				return config, nil
			}}
			srv.StartTLS()
			t.Cleanup(srv.Close)
			complete.Store(srv.TLS)
			roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			e := doError(t, newTLSClient(t, flows.Options{RootCAs: roots}, test.certificate), tokenservice.Request{URL: srv.URL})
			if e.Kind != tokensource.Temporary {
				t.Errorf("a server that %s, %s: got %v (%v), want a temporary error", test.name, tls.VersionName(version), e, e.Kind)
			}
			for _, hint := range []string{mayRefuse, mayRequire} {
				if strings.Contains(e.Error(), hint) != (hint == test.want) {
					t.Errorf("a server that %s, %s: got error %q, want only %q in it", test.name, tls.VersionName(version), e, test.want)
				}
			}
		}
	}
}

func TestServerThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	srv := startDouble(t, agwtest.Options{})
	otherName, otherTime := srv.Transport(), srv.Transport()
	otherName.TLSClientConfig.ServerName = "other.example"
	otherTime.TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(100, 0, 0) }
	for _, test := range []struct {
		name      string
		opts      flows.Options
		want      any  // the type of the cause; nil if its text is too long to be shown as a whole
		authority bool // it would help to add an authority
	}{
		{"an unknown authority", flows.Options{RootCAs: x509.NewCertPool()}, new(x509.UnknownAuthorityError), true},
		{"RootCAs in place of those of the transport", flows.Options{ServiceTransport: srv.Transport(), RootCAs: x509.NewCertPool()}, new(x509.UnknownAuthorityError), true},
		{"another name", flows.Options{ServiceTransport: otherName}, nil, false},
		{"a certificate that has expired", flows.Options{ServiceTransport: otherTime}, new(x509.CertificateInvalidError), false},
	} {
		e := doError(t, newTLSClient(t, test.opts, nil), tokenservice.Request{URL: srv.TokenURL()})
		if e.Kind != tokensource.Permanent || !strings.Contains(e.Error(), "the server's certificate is not trusted") {
			t.Errorf("%s: got %v (%v), want a permanent error that says so", test.name, e, e.Kind)
		}
		for _, place := range []string{"RootCAs", "SSL_CERT_FILE"} {
			if strings.Contains(e.Error(), place) != test.authority {
				t.Errorf("%s: error %q names %s: %v, want %v", test.name, e, place, !test.authority, test.authority)
			}
		}
		if test.want != nil && !errors.As(e, test.want) {
			t.Errorf("%s: error %v does not wrap a %T", test.name, e, test.want)
		}
	}
	if n := len(srv.Requests()); n != 0 {
		t.Errorf("%d requests were sent to a server that is not trusted", n)
	}
}

func TestOwnTransport(t *testing.T) {
	t.Parallel()
	srv := startDouble(t, agwtest.Options{})
	c := newTLSClient(t, flows.Options{RootCAs: srv.RootCAs()}, newCertificate(t, srv, agwtest.Certificate{}))
	for range 3 {
		if e := doError(t, c, tokenRequest(srv)); e.Code == "" {
			t.Fatalf("got %v, want the service to know the client, and to miss the form", e)
		}
		c.CloseIdleConnections()
	}
	m := srv.Tokens.Meter()
	if m.Handshakes != 3 || m.Resumed != 2 {
		t.Errorf("%d handshakes, %d of them resumed, want 3 and 2", m.Handshakes, m.Resumed)
	}
	for i, r := range srv.Requests() {
		if r.Proto != "HTTP/2.0" || r.CertificateSerial == "" {
			t.Errorf("request %d came by %s with certificate %q, want HTTP/2.0 and one", i, r.Proto, r.CertificateSerial)
		}
	}
}

// A session that is resumed would name the client by the certificate of another client.
func TestClientsShareNoTLSSession(t *testing.T) {
	t.Parallel()
	srv := startDouble(t, agwtest.Options{})
	base := srv.Transport()
	base.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	before := fmt.Sprint(base.TLSClientConfig.GetClientCertificate == nil, base.TLSClientConfig.MinVersion, base.DialContext != nil)
	serials := make(map[string]bool)
	for range 2 {
		c := newTLSClient(t, flows.Options{ServiceTransport: base}, newCertificate(t, srv, agwtest.Certificate{}))
		_ = get(t.Context(), c, srv.TokenURL())
		c.CloseIdleConnections()
	}
	if m := srv.Tokens.Meter(); m.Handshakes != 2 || m.Resumed != 0 {
		t.Errorf("%d handshakes, %d of them resumed, want 2 and 0", m.Handshakes, m.Resumed)
	}
	for _, r := range srv.Requests() {
		serials[r.CertificateSerial] = true
	}
	if len(serials) != 2 {
		t.Errorf("the server saw the certificates %v, want that of each client", serials)
	}
	if after := fmt.Sprint(base.TLSClientConfig.GetClientCertificate == nil, base.TLSClientConfig.MinVersion, base.DialContext != nil); after != before {
		t.Errorf("the caller's transport was modified: it was %s and is %s", before, after)
	}
}

func TestTLS11IsNotSpoken(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake is meant to fail
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10}}
	if e := doError(t, newTLSClient(t, flows.Options{ServiceTransport: base}, nil), tokenservice.Request{URL: srv.URL}); e.StatusCode != 0 {
		t.Errorf("got %v, want the handshake to fail", e)
	}
}
