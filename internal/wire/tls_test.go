package wire_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

func start(t *testing.T, options agwtest.Options) *agwtest.Server {
	t.Helper()
	srv, err := agwtest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

func certificate(t *testing.T, srv *agwtest.Server, c agwtest.Certificate) *tls.Certificate {
	t.Helper()
	cert, key, err := srv.ClientCertificate(c)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// client returns a client that ends with the test.
func client(t *testing.T, cfg wire.Config) *wire.Client {
	t.Helper()
	c := wire.NewClient(cfg)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestRefusedCertificates(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			srv := start(t, agwtest.Options{HTTP1: http1})
			old := time.Now().Add(-time.Minute)
			for name, test := range map[string]struct {
				certificate *tls.Certificate
				want        string
			}{
				"none":    {nil, "no client certificate was presented"},
				"foreign": {certificate(t, srv, agwtest.Certificate{ForeignCA: true}), "refused the client certificate: remote error: tls: unknown certificate authority"},
				"expired": {certificate(t, srv, agwtest.Certificate{NotBefore: old.Add(-time.Hour), NotAfter: old}), "refused the client certificate: remote error: tls: expired certificate"},
			} {
				base := srv.Transport()
				base.TLSClientConfig.MaxVersion = version
				for range 5 { // the reason must not be a matter of luck
					c := wire.NewClient(wire.Config{Base: base, Certificate: test.certificate})
					e := failure(t, c, wire.Request{Method: "POST", URL: srv.TokenURL(), Form: map[string][]string{}})
					if e.Kind != tokensource.Refused || e.StatusCode != 0 || !strings.Contains(e.Error(), test.want) {
						t.Errorf("HTTP/1 %v, %s, %s: %v", http1, tls.VersionName(version), name, e)
						break
					}
				}
			}
		}
	}
}

// deafConn fails to write as soon as the handshake is over.
type deafConn struct {
	net.Conn
	over *atomic.Bool
}

func (c deafConn) Write(p []byte) (int, error) {
	if c.over.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")}
	}
	return c.Conn.Write(p)
}

// The server may be gone before the request is written.
func TestRefusalBeforeTheRequest(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{false, true} {
		srv := start(t, agwtest.Options{HTTP1: http1})
		var over atomic.Bool
		base := srv.Transport()
		dial := base.DialContext
		base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return deafConn{conn, &over}, err
		}
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			TLSHandshakeDone: func(tls.ConnectionState, error) { over.Store(true) },
		})
		_, err := wire.NewClient(wire.Config{Base: base}).Do(ctx, wire.Request{Method: "POST", URL: srv.TokenURL(), Form: map[string][]string{}})
		if e := failureOf(t, err); e.Kind != tokensource.Refused || !strings.Contains(e.Error(), "no client certificate was presented") {
			t.Errorf("HTTP/1 %v: %v", http1, e)
		}
	}
}

func TestServerThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	e := failure(t, client(t, wire.Config{RootCAs: x509.NewCertPool()}), wire.Request{URL: srv.TokenURL()})
	unknown := x509.UnknownAuthorityError{}
	if e.Kind != tokensource.Permanent || !errors.As(e, &unknown) || !strings.Contains(e.Error(), "the server's certificate is not trusted") {
		t.Error(e)
	}
	base := srv.Transport()
	base.TLSClientConfig.ServerName = "other.example"
	e = failure(t, client(t, wire.Config{Base: base}), wire.Request{URL: srv.TokenURL()})
	if e.Kind != tokensource.Permanent || !strings.Contains(e.Error(), "the server's certificate is not trusted") {
		t.Error(e)
	}
}

func TestTransport(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, wire.Config{RootCAs: srv.RootCAs(), Certificate: certificate(t, srv, agwtest.Certificate{})})
	for range 3 {
		e := failure(t, c, wire.Request{Method: "POST", URL: srv.TokenURL(), Form: map[string][]string{}})
		if e.Code == "" { // the double understood: who is asking, but not what for
			t.Fatal(e)
		}
		c.CloseIdleConnections()
	}
	m := srv.Tokens.Meter()
	if m.Handshakes != 3 || m.Resumed != 2 {
		t.Errorf("%d handshakes, %d of them resumed; want 3 and 2", m.Handshakes, m.Resumed)
	}
	for _, r := range srv.Requests() {
		if r.Proto != "HTTP/2.0" || r.CertificateSerial == "" {
			t.Errorf("%s, certificate %q", r.Proto, r.CertificateSerial)
		}
	}
}

// The certificate of one client is not vouched for by the session of another.
func TestClonedTransportSharesNothing(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	base := srv.Transport()
	base.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	config := base.TLSClientConfig.Clone()
	for range 2 {
		c := wire.NewClient(wire.Config{Base: base, Certificate: certificate(t, srv, agwtest.Certificate{})})
		_ = get(t.Context(), c, srv.TokenURL())
		c.CloseIdleConnections()
	}
	if m := srv.Tokens.Meter(); m.Handshakes != 2 || m.Resumed != 0 {
		t.Errorf("%d handshakes, %d of them resumed; want 2 and 0", m.Handshakes, m.Resumed)
	}
	if now := base.TLSClientConfig; now.GetClientCertificate != nil || now.MinVersion != config.MinVersion || base.DialContext == nil {
		t.Error("the base was modified")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	srv.Config.ErrorLog = discard()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS10}}
	if e := failure(t, client(t, wire.Config{Base: base}), wire.Request{URL: srv.URL}); e.StatusCode != 0 {
		t.Error(e)
	}
}
