package connect_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// golang.org/x/net/http2 gives a transport a pool of HTTP/2 connections, by a function in
// TLSNextProto. A clone that has the same function has the same pool, and so its requests
// would go out under whatever certificate came first.
func TestForServiceSharesNoHTTP2Connection(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t, "clients")
	srv := startMutualTLS(t, true, clients)
	own := clients.issue(t, time.Now().Add(time.Hour))
	var pooled atomic.Int64
	nextProtos := []string{"h2", "spdy/3", "http/1.1"}
	base := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: rootCAs(srv), Certificates: []tls.Certificate{*own}, NextProtos: nextProtos},
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{"h2": func(_ string, conn *tls.Conn) http.RoundTripper {
			pooled.Add(1)
			_ = conn.Close()
			return roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Proto: "the pool", Body: io.NopCloser(strings.NewReader("a=b"))}, nil
			})
		}},
	}
	t.Cleanup(base.CloseIdleConnections)
	for i, certificate := range []*tls.Certificate{clients.issue(t, time.Now().Add(time.Hour)), clients.issue(t, time.Now().Add(time.Hour)), nil} {
		resp, err := send(t, forService(t, base, nil, certificate), httptrace.ClientTrace{}, srv.URL)
		if err != nil {
			t.Errorf("transport %d: %v", i, err)
			continue
		}
		if certificate == nil {
			certificate = own
		}
		want := must(x509.ParseCertificate(certificate.Certificate[0]))(t).SerialNumber.String()
		if resp.Proto != "HTTP/2.0" || resp.Header.Get("X-Serial") != want {
			t.Errorf("transport %d: the request went out by %s with certificate %q, want HTTP/2.0 and %q", i, resp.Proto, resp.Header.Get("X-Serial"), want)
		}
	}
	if n := pooled.Load(); n != 0 {
		t.Errorf("%d connections went into the pool of the base, want none", n)
	}
	if resp, err := send(t, base, httptrace.ClientTrace{}, srv.URL); err != nil || resp.Proto != "the pool" {
		t.Errorf("the base got %v and error %v, want it to use its pool as before", resp, err)
	}
	if !slices.Equal(nextProtos, []string{"h2", "spdy/3", "http/1.1"}) || len(base.TLSNextProto) != 1 {
		t.Errorf("the base was modified: NextProtos %q, TLSNextProto with %d functions", nextProtos, len(base.TLSNextProto))
	}
}

func TestForServiceSpeaksTheProtocolsOfTheBase(t *testing.T) {
	t.Parallel()
	srv := start(t, true, &tls.Config{})
	protocols := func(http1, http2 bool) *http.Protocols {
		p := new(http.Protocols)
		p.SetHTTP1(http1)
		p.SetHTTP2(http2)
		return p
	}
	type functions = map[string]func(string, *tls.Conn) http.RoundTripper
	foreign := functions{"spdy/3": func(string, *tls.Conn) http.RoundTripper {
		t.Error("a connection was handed to a function of the base")
		return nil
	}}
	for _, test := range []struct {
		name string
		base *http.Transport
		want string
	}{
		{"a zero transport", &http.Transport{}, "HTTP/2.0"},
		{"a transport that has been used", http.DefaultTransport.(*http.Transport).Clone(), "HTTP/2.0"},
		{"the module's own", connect.NewTransport(), "HTTP/2.0"},
		{"with a TLS configuration", &http.Transport{TLSClientConfig: new(tls.Config)}, "HTTP/1.1"},
		{"with a TLS configuration, HTTP/2 forced", &http.Transport{TLSClientConfig: new(tls.Config), ForceAttemptHTTP2: true}, "HTTP/2.0"},
		{"HTTP/2 switched off", &http.Transport{TLSNextProto: functions{}}, "HTTP/1.1"},
		{"HTTP/1 alone", &http.Transport{Protocols: protocols(true, false)}, "HTTP/1.1"},
		{"HTTP/2 alone", &http.Transport{Protocols: protocols(false, true)}, "HTTP/2.0"},
		{"both", &http.Transport{Protocols: protocols(true, true)}, "HTTP/2.0"},
		{"configured by golang.org/x/net/http2, HTTP/1 alone", &http.Transport{
			Protocols: protocols(true, false), TLSClientConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, TLSNextProto: functions{"h2": nil},
		}, "HTTP/2.0"},
		{"another protocol", &http.Transport{TLSClientConfig: &tls.Config{NextProtos: []string{"spdy/3"}}, TLSNextProto: foreign}, "HTTP/1.1"},
	} {
		resp, err := send(t, forService(t, test.base, rootCAs(srv), nil), httptrace.ClientTrace{}, srv.URL)
		if err != nil || resp.Proto != test.want {
			t.Errorf("%s: got %v and error %v, want a response by %s", test.name, resp, err, test.want)
		}
	}
}

// A server's list of authorities decides between the certificates of a base, as in
// crypto/tls.
func TestForServiceChoosesAmongTheCertificatesOfTheBase(t *testing.T) {
	t.Parallel()
	clients, others := newAuthority(t, "clients"), newAuthority(t, "others")
	srv := startMutualTLS(t, true, clients)
	right, wrong := clients.issue(t, time.Now().Add(time.Hour)), others.issue(t, time.Now().Add(time.Hour))
	base := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{*wrong, *right}}}
	resp, err := send(t, forService(t, base, rootCAs(srv), nil), httptrace.ClientTrace{}, srv.URL)
	if want := must(x509.ParseCertificate(right.Certificate[0]))(t).SerialNumber.String(); err != nil || resp.Header.Get("X-Serial") != want {
		t.Errorf("got %v and error %v, want the second certificate, %s, to be presented", resp, err, want)
	}
}

// A base may be given pings of its own, but a dead connection is not to cost more than a
// request has time.
func TestPingsOnHTTP2Connections(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                  string
		base                  *http.Transport
		wantPing, wantTimeout time.Duration
	}{
		{"the module's own", nil, 5 * time.Second, 5 * time.Second},
		{"a base without", &http.Transport{}, 5 * time.Second, 5 * time.Second},
		{"a base with slower ones", connect.NewTransport(), 5 * time.Second, 5 * time.Second},
		{"a base with quicker ones", &http.Transport{HTTP2: &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: 2 * time.Second}}, time.Second, 2 * time.Second},
	} {
		got := forService(t, test.base, nil, nil).HTTP2
		if got == nil {
			t.Errorf("%s: no pings, want them after %v", test.name, test.wantPing)
			continue
		}
		if got.SendPingTimeout != test.wantPing || got.PingTimeout != test.wantTimeout {
			t.Errorf("%s: pings after %v and gives up after %v, want %v and %v", test.name, got.SendPingTimeout, got.PingTimeout, test.wantPing, test.wantTimeout)
		}
	}
}

// A network between a client and a server that can be cut without anybody being told.
type network struct {
	conns chan net.Conn // for the server
	done  chan struct{}
	cut   atomic.Bool
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (n *network) Addr() net.Addr { return new(net.TCPAddr) }
func (n *network) Close() error   { close(n.done); return nil }

func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	client, one := net.Pipe()
	two, server := net.Pipe()
	go n.carry(one, two)
	go n.carry(two, one)
	n.conns <- server
	return client, nil
}

// carry hands over what from has received, in the order in which it came, as long as there
// is a connection. When from is closed, so is to.
func (n *network) carry(from, to net.Conn) {
	defer to.Close()
	queue := make(chan []byte, 1000)
	defer close(queue)
	go func() {
		for p := range queue {
			_, _ = to.Write(p)
		}
	}()
	for buffer := make([]byte, 64<<10); ; {
		count, err := from.Read(buffer)
		if err != nil {
			return
		}
		if !n.cut.Load() {
			queue <- bytes.Clone(buffer[:count])
		}
	}
}

// A connection that has been dropped somewhere on the way is found out by a ping.
func TestDeadHTTP2ConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	certificate := start(t, true, &tls.Config{}) // only for its certificate
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		srv := &http.Server{
			Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
			TLSConfig: &tls.Config{Certificates: certificate.TLS.Certificates},
		}
		served := make(chan error, 1)
		go func() { served <- srv.ServeTLS(n, "", "") }()
		base := &http.Transport{
			DialContext: n.dial, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: rootCAs(certificate), ServerName: "example.com", Time: func() time.Time { return certificate.Certificate().NotBefore.Add(time.Hour) }},
		}
		transport := forService(t, base, nil, nil)
		request := func() (*http.Response, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			resp, _, err := sendWatched(ctx, transport, "https://ias.example/")
			return resp, err
		}
		if resp, err := request(); err != nil || resp.ProtoMajor != 2 {
			t.Errorf("got %v and error %v, want a response over HTTP/2", resp, err)
		}
		n.cut.Store(true)
		begin := time.Now()
		_, err := request()
		if took := time.Since(begin); err == nil || took > 10*time.Second {
			t.Errorf("a request on a dead connection ended after %v with error %v, want an error after 10s at most", took, err)
		}
		n.cut.Store(false)
		if _, err := request(); err != nil {
			t.Errorf("the next request: got error %v, want another connection", err)
		}
		transport.CloseIdleConnections()
		_ = srv.Close()
		<-served
	})
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
