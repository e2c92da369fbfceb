package connect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/internal/connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// must returns a function that fails the test if there is an error, and else returns v.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// An authority issues client certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

var serial atomic.Int64

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := signed(t, template, template, nil)
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

// issue returns a certificate that is valid until the given time.
func (a *authority) issue(t *testing.T, notAfter time.Time) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "client"}, NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, key := signed(t, template, a.certificate, a.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// signed returns a certificate with a new key, which signs it unless there is another one.
func signed(t *testing.T, template, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if issuerKey == nil {
		issuerKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// start starts a server with the given TLS configuration; nil means plain http. It says
// in a header which certificate the client has presented.
func start(t *testing.T, http2 bool, config *tls.Config) *httptest.Server {
	t.Helper()
	return startHandler(t, http2, config, func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			w.Header().Set("X-Serial", r.TLS.PeerCertificates[0].SerialNumber.String())
		}
		_, _ = io.Copy(w, r.Body)
	})
}

func startHandler(t *testing.T, http2 bool, config *tls.Config, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
	srv.EnableHTTP2 = http2
	if config == nil {
		srv.Start()
	} else {
		srv.TLS = config
		srv.StartTLS()
	}
	t.Cleanup(srv.Close)
	return srv
}

// startMutualTLS starts a server that accepts the client certificates of an authority.
func startMutualTLS(t *testing.T, http2 bool, clients *authority) *httptest.Server {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(clients.certificate)
	return start(t, http2, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
}

// rootCAs returns the authorities that the server's certificate comes from.
func rootCAs(srv *httptest.Server) *x509.CertPool {
	return srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

// forService returns a transport that ends with the test.
func forService(t *testing.T, base *http.Transport, rootCAs *x509.CertPool, certificate *tls.Certificate) *http.Transport {
	t.Helper()
	transport, _ := connect.ForService(base, rootCAs, certificate)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// send sends a request as users of this package do, and returns the response, of which
// the body is read and closed.
func send(t *testing.T, transport http.RoundTripper, trace httptrace.ClientTrace, target string) (*http.Response, error) {
	t.Helper()
	resp, _, err := sendWatched(httptrace.WithClientTrace(t.Context(), &trace), transport, target)
	return resp, err
}

// sendWatched is like send, and returns the attempt as well.
func sendWatched(ctx context.Context, transport http.RoundTripper, target string) (*http.Response, *connect.Attempt, error) {
	ctx, attempt := connect.Watch(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader("a=b"))
	if err != nil {
		return nil, attempt, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, attempt, attempt.Cause(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "a=b" {
		return nil, attempt, fmt.Errorf("the body is %q (error %w)", body, err)
	}
	return resp, attempt, nil
}

// A roundTripper responds to requests by a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
