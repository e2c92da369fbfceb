package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/agwgo/agw/transport"
)

// server is an HTTP server that remembers the Authorization of all that it got.
type server struct {
	*httptest.Server
	mu             sync.Mutex
	authorizations []string
}

func (s *server) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.authorizations
}

// protocol is how a server is to be started.
type protocol func(*httptest.Server)

func http1(s *httptest.Server) { s.StartTLS() }
func plain(s *httptest.Server) { s.Start() }
func http2(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }

func newServer(tb testing.TB, start protocol, handler http.HandlerFunc) *server {
	tb.Helper()
	s := new(server)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.authorizations = append(s.authorizations, r.Header.Values("Authorization")...)
		if r.Header.Get("Authorization") == "" {
			s.authorizations = append(s.authorizations, "")
		}
		s.mu.Unlock()
		handler(w, r)
	}))
	start(s.Server)
	tb.Cleanup(s.Close)
	return s
}

// trusting returns a base that trusts s and, for addresses in hosts, connects to the
// server named there.
func trusting(tb testing.TB, s *server, hosts map[string]*server) *http.Transport {
	tb.Helper()
	b := transport.NewBase()
	b.Proxy = nil
	b.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	b.TLSClientConfig.RootCAs.AddCert(s.Certificate())
	b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if s, ok := hosts[addr]; ok {
			addr = s.Listener.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	tb.Cleanup(b.CloseIdleConnections)
	return b
}

// gatewayClient returns a client of s as the gateway, for the given tokens.
func gatewayClient(tb testing.TB, s *server, path string, tokens ...string) (*http.Client, *source) {
	tb.Helper()
	src := newSource()
	for _, token := range tokens {
		src.grants = append(src.grants, mustGrant(tb, token, s.URL+path))
	}
	client := transport.New(src, &transport.Options{Base: trusting(tb, s, nil)}).Client()
	tb.Cleanup(client.CloseIdleConnections)
	return client, src
}
