package connect_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/internal/connect"
)

func TestNewTransport(t *testing.T) {
	t.Parallel()
	a, b := connect.NewTransport(), connect.NewTransport()
	if a == b || a.TLSClientConfig == nil || a.TLSClientConfig == b.TLSClientConfig {
		t.Fatal("transports that may be changed have something in common, or have no TLSClientConfig")
	}
	for what, ok := range map[string]bool{
		"TLS 1.2 or newer":                      a.TLSClientConfig.MinVersion == tls.VersionTLS12,
		"certificates that are verified":        !a.TLSClientConfig.InsecureSkipVerify,
		"HTTP/2":                                a.ForceAttemptHTTP2,
		"pings on HTTP/2 connections":           a.HTTP2 != nil && a.HTTP2.SendPingTimeout == 30*time.Second && a.HTTP2.PingTimeout == 15*time.Second,
		"64 idle connections for each host":     a.MaxIdleConnsPerHost == 64,
		"idle connections of many hosts":        a.MaxIdleConns == 0,
		"no limit on connections in use":        a.MaxConnsPerHost == 0,
		"no limit on how long a response takes": a.ResponseHeaderTimeout == 0,
		"10 s for a TLS handshake":              a.TLSHandshakeTimeout == 10*time.Second,
		"idle connections for 90 s":             a.IdleConnTimeout == 90*time.Second,
		"proxies":                               a.Proxy != nil,
		"a header limit that is the caller's":   a.MaxResponseHeaderBytes == 0,
	} {
		if !ok {
			t.Errorf("the transport does not have: %s", what)
		}
	}
}

func TestNewTransportSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	srv := start(t, true, &tls.Config{})
	transport := connect.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig.RootCAs = rootCAs(srv)
	if resp, err := send(t, transport, httptrace.ClientTrace{}, srv.URL); err != nil || resp.ProtoMajor != 2 {
		t.Errorf("got response %v and error %v, want one over HTTP/2", resp, err)
	}
}

func TestForServicePresentsTheCertificateAndResumesSessions(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t, "clients")
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		srv := startMutualTLS(t, http2, clients)
		certificate := clients.issue(t, time.Now().Add(time.Hour))
		transport := forService(t, nil, rootCAs(srv), certificate)
		for i := range 3 {
			resp, err := send(t, transport, httptrace.ClientTrace{}, srv.URL)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if resp.Proto != name || resp.TLS.DidResume != (i > 0) || resp.Header.Get("X-Serial") == "" {
				t.Errorf("%s, connection %d: got %s, certificate %q, a resumed session: %v; want the certificate, and a resumed session from the second connection on",
					name, i, resp.Proto, resp.Header.Get("X-Serial"), resp.TLS.DidResume)
			}
			transport.CloseIdleConnections()
		}
	}
}

// A session vouches for the certificate with which it was begun.
func TestForServiceSharesNothingWithTheBase(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t, "clients")
	srv := startMutualTLS(t, true, clients)
	var dialed atomic.Int64
	dialer := new(net.Dialer)
	base := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: rootCAs(srv), ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 7,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed.Add(1)
			return dialer.DialContext(ctx, network, address)
		},
	}
	serials := make(map[string]bool)
	for range 2 {
		transport := forService(t, base, nil, clients.issue(t, time.Now().Add(time.Hour)))
		resp, err := send(t, transport, httptrace.ClientTrace{}, srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		serials[resp.Header.Get("X-Serial")] = true
		if resp.TLS.DidResume {
			t.Error("a session was resumed that another transport has begun")
		}
		if transport.MaxIdleConnsPerHost != 7 || transport.MaxResponseHeaderBytes != 0 {
			t.Error("the limits of the base were not taken over")
		}
		transport.CloseIdleConnections()
	}
	if len(serials) != 2 || dialed.Load() != 2 {
		t.Errorf("%d certificates in %d connections were seen, want 2 in 2", len(serials), dialed.Load())
	}
	if config := base.TLSClientConfig; config.GetClientCertificate != nil || config.MinVersion != 0 || len(config.Certificates) != 0 {
		t.Error("the base was modified")
	}
}

func TestForServiceSaysWhetherThereIsACertificate(t *testing.T) {
	t.Parallel()
	certificate := newAuthority(t, "clients").issue(t, time.Now().Add(time.Hour))
	get := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	for _, test := range []struct {
		name        string
		base        *http.Transport
		certificate *tls.Certificate
		want        bool
	}{
		{"nothing", nil, nil, false},
		{"a certificate", nil, certificate, true},
		{"a base without TLS configuration", &http.Transport{}, nil, false},
		{"a base without TLS configuration, and a certificate", &http.Transport{}, certificate, true},
		{"a certificate of the base", &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{*certificate}}}, nil, true},
		{"a function of the base", &http.Transport{TLSClientConfig: &tls.Config{GetClientCertificate: get}}, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			transport, presents := connect.ForService(test.base, nil, test.certificate)
			if presents != test.want {
				t.Errorf("presents is %v, want %v", presents, test.want)
			}
			if transport.TLSClientConfig.MinVersion != tls.VersionTLS12 || transport.TLSClientConfig.ClientSessionCache == nil {
				t.Errorf("the minimum is TLS version %x, sessions are kept: %v", transport.TLSClientConfig.MinVersion, transport.TLSClientConfig.ClientSessionCache != nil)
			}
		})
	}
}

func TestForServiceHasItsOwnLimits(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(srv.Close)
	if resp, err := send(t, forService(t, nil, nil, nil), httptrace.ClientTrace{}, srv.URL); err == nil {
		t.Errorf("a header of %d bytes was read, want an error", len(resp.Header.Get("X-Long")))
	}
	if _, err := send(t, forService(t, connect.NewTransport(), nil, nil), httptrace.ClientTrace{}, srv.URL); err != nil {
		t.Errorf("a base without a limit for the header: %v", err)
	}
	if transport, _ := connect.ForService(nil, nil, nil); transport.MaxIdleConns != 100 || transport.MaxIdleConnsPerHost != 64 {
		t.Errorf("up to %d idle connections, %d for each host; want 100 and 64", transport.MaxIdleConns, transport.MaxIdleConnsPerHost)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	srv := start(t, false, nil)
	transport := forService(t, nil, nil, nil)
	var dialed atomic.Int64
	for range 10 {
		if _, err := send(t, transport, httptrace.ClientTrace{ConnectStart: func(string, string) { dialed.Add(1) }}, srv.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := dialed.Load(); n != 1 {
		t.Errorf("%d connections for 10 requests in a row, want 1", n)
	}
}

func TestOldTLSIsNotSpoken(t *testing.T) {
	t.Parallel()
	srv := start(t, false, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: rootCAs(srv), MinVersion: tls.VersionTLS10}}
	if resp, err := send(t, forService(t, base, nil, nil), httptrace.ClientTrace{}, srv.URL); err == nil {
		t.Errorf("got %s over %s, want an error", resp.Status, tls.VersionName(resp.TLS.Version))
	}
}

func TestServerThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	srv := start(t, true, &tls.Config{})
	otherName := &http.Transport{TLSClientConfig: &tls.Config{ServerName: "other.test"}}
	unknown, hostname := x509.UnknownAuthorityError{}, x509.HostnameError{}
	for _, test := range []struct {
		name    string
		base    *http.Transport
		rootCAs *x509.CertPool
		want    any
	}{
		{"an authority that is not known", nil, x509.NewCertPool(), &unknown},
		{"a certificate of another host", otherName, rootCAs(srv), &hostname},
	} {
		_, err := send(t, forService(t, test.base, test.rootCAs, nil), httptrace.ClientTrace{}, srv.URL)
		if !connect.Untrusted(err) || !errors.As(err, test.want) {
			t.Errorf("%s: error %v is said to be of a trusted server, or hides the reason", test.name, err)
		}
	}
	if _, err := send(t, forService(t, otherName, rootCAs(srv), nil), httptrace.ClientTrace{}, "http://127.0.0.1:0/"); err == nil || connect.Untrusted(err) {
		t.Errorf("no connection: error %v is said to be of a server that is not trusted", err)
	}
}

// A base that dials in a way that is deprecated goes on to do so.
func TestForServiceUsesTheDialOfTheBase(t *testing.T) {
	t.Parallel()
	old, current := errors.New("Dial was called"), errors.New("DialContext was called")
	dialOld := func(string, string) (net.Conn, error) { return nil, old }
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, current }
	for _, test := range []struct {
		name string
		base *http.Transport
		want error
	}{
		//lint:ignore SA1019 this is what is tested
		{"Dial", &http.Transport{Dial: dialOld}, old},
		{"DialContext", &http.Transport{DialContext: dial}, current},
		//lint:ignore SA1019 this is what is tested
		{"both", &http.Transport{Dial: dialOld, DialContext: dial}, current},
	} {
		if _, err := send(t, forService(t, test.base, nil, nil), httptrace.ClientTrace{}, "https://ias.example/token"); !errors.Is(err, test.want) {
			t.Errorf("a base with %s: got error %v, want %v", test.name, err, test.want)
		}
	}
}
