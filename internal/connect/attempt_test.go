package connect_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/internal/connect"
)

// A brokenConn fails to write as soon as the handshake is over.
type brokenConn struct {
	net.Conn
	handshakeDone *atomic.Bool
}

func (c brokenConn) Write(p []byte) (int, error) {
	if c.handshakeDone.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")}
	}
	return c.Conn.Write(p)
}

// The server may have closed the connection before the request is written.
func TestAlertIsFoundThoughTheRequestCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		srv := startMutualTLS(t, http2, newAuthority(t, "clients"))
		var handshakeDone atomic.Bool
		base := connect.NewTransport()
		base.TLSClientConfig.RootCAs = rootCAs(srv)
		dial := base.DialContext
		base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return brokenConn{conn, &handshakeDone}, err
		}
		trace := httptrace.ClientTrace{TLSHandshakeDone: func(tls.ConnectionState, error) { handshakeDone.Store(true) }}
		_, err := send(t, forService(t, base, nil, nil), trace, srv.URL)
		if alert, cause := connect.RefusedCertificate(err); cause == nil || alert != connect.CertificateRequired {
			t.Errorf("HTTP/2 %v: got error %v, want the alert that a certificate is required", http2, err)
		}
	}
}

// A fakeConn fails to write with an error.
type fakeConn struct {
	net.Conn
	writeErr     error
	readDeadline time.Time
}

func (c *fakeConn) Write([]byte) (int, error) { return 0, c.writeErr }

func (c *fakeConn) SetReadDeadline(d time.Time) error {
	c.readDeadline = d
	return nil
}

// A peer that has gone silently must not make a reader wait forever, and an error of our
// own side must not be hidden.
func TestFailedWrite(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		writeErr error
		hidden   bool
	}{
		{"the peer has gone", &net.OpError{Op: "write", Err: errors.New("broken pipe")}, true},
		{"the connection is closed", &net.OpError{Op: "write", Err: net.ErrClosed}, false},
		{"a deadline has passed", &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fake := &fakeConn{writeErr: test.writeErr}
			transport := forService(t, &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return fake, nil },
			}, nil, nil)
			conn, err := transport.DialContext(t.Context(), "tcp", "ias.example:443")
			if err != nil {
				t.Fatal(err)
			}
			n, err := conn.Write([]byte("abc"))
			switch {
			case test.hidden && (n != 3 || err != nil || fake.readDeadline.IsZero()):
				t.Errorf("Write returns %d and error %v, the deadline for reading is %v; want 3, no error, and a deadline", n, err, fake.readDeadline)
			case !test.hidden && (n != 0 || !errors.Is(err, test.writeErr) || !fake.readDeadline.IsZero()):
				t.Errorf("Write returns %d and error %v, the deadline for reading is %v; want 0, the error, and no deadline", n, err, fake.readDeadline)
			}
		})
	}
}

// An attempt of a transport that does not say anything leaves errors as they are.
func TestCauseLeavesOtherErrorsAlone(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	closed := &net.OpError{Op: "write", Err: net.ErrClosed}
	for _, test := range []struct {
		name string
		conn net.Conn
		err  error
	}{
		{"no connection", nil, closed},
		{"a connection without TLS", client, closed},
		{"an error that says more", tls.Client(client, &tls.Config{ServerName: "a.example"}), errors.New("malformed HTTP response")},
		{"a TLS connection that nobody has read", tls.Client(client, &tls.Config{ServerName: "a.example"}), io.EOF},
	} {
		ctx, attempt := connect.Watch(t.Context())
		if test.conn != nil {
			httptrace.ContextClientTrace(ctx).GotConn(httptrace.GotConnInfo{Conn: test.conn})
		}
		if err := attempt.Cause(test.err); err != test.err {
			t.Errorf("%s: got %v, want the error as it was: %v", test.name, err, test.err)
		}
		if attempt.MayBeRefusal(io.EOF) {
			t.Errorf("%s: an EOF is taken for a refusal, though no server has asked for a certificate", test.name)
		}
	}
}

// Several errors of net/http only say that the connection is closed.
func TestCauseIsWhatClosedTheConnection(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	_ = server.Close()
	conn := tls.Client(client, &tls.Config{ServerName: "a.example"})
	want := conn.Handshake()
	_ = conn.Close()
	for _, err := range []error{
		errors.New("http: server closed idle connection"), errors.New("http2: client conn could not be established"),
		errors.New("http2: client conn is closed"), &net.OpError{Op: "write", Err: net.ErrClosed},
	} {
		ctx, attempt := connect.Watch(t.Context())
		httptrace.ContextClientTrace(ctx).GotConn(httptrace.GotConnInfo{Conn: conn})
		if got := attempt.Cause(err); want == nil || !errors.Is(got, want) {
			t.Errorf("%v: got %v, want the error with which the connection was closed: %v", err, got, want)
		}
	}
}

// Some servers refuse a client certificate by closing the connection, without an alert.
func TestConnectionClosedInPlaceOfAnAlert(t *testing.T) {
	t.Parallel()
	certificate := newAuthority(t, "clients").issue(t, time.Now().Add(time.Hour))
	reset := func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0); _ = conn.Close() }
	finish := func(conn net.Conn) { _ = conn.Close() }
	for _, test := range []struct {
		name  string
		auth  tls.ClientAuthType
		close func(net.Conn) // when the certificate has arrived
		want  bool
	}{
		{"reset after a certificate was asked for", tls.RequestClientCert, reset, true},
		{"end of file after a certificate was asked for", tls.RequestClientCert, finish, true},
		{"reset, though nobody has asked for a certificate", tls.NoClientCert, reset, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, http2 := range []bool{false, true} {
				for _, presented := range []*tls.Certificate{nil, certificate} {
					srv := startClosing(t, http2, test.auth, test.close)
					base := connect.NewTransport()
					base.TLSClientConfig.MaxVersion = version
					transport := forService(t, base, rootCAs(srv), presented)
					for range 3 {
						_, attempt, err := sendWatched(t.Context(), transport, srv.URL)
						if err == nil || attempt.MayBeRefusal(err) != test.want {
							t.Errorf("%s, %s, HTTP/2 %v, presented %v: error %v (%T) may be a refusal: %v, want %v",
								test.name, tls.VersionName(version), http2, presented != nil, err, err, !test.want, test.want)
							break
						}
					}
				}
			}
		}
	}
}

// startClosing starts a server that closes the connection as soon as it has the client's
// last message of the handshake.
func startClosing(t *testing.T, http2 bool, auth tls.ClientAuthType, closeConn func(net.Conn)) *httptest.Server {
	t.Helper()
	var complete atomic.Pointer[tls.Config]
	srv := start(t, http2, &tls.Config{ClientAuth: auth, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config := complete.Load().Clone()
		config.VerifyConnection = func(tls.ConnectionState) error {
			closeConn(hello.Conn)
			return errors.New("closed")
		}
		return config, nil
	}})
	complete.Store(srv.TLS)
	return srv
}

// A connection that ends later on says nothing about the certificate.
func TestConnectionClosedAfterAResponse(t *testing.T) {
	t.Parallel()
	certificate := newAuthority(t, "clients").issue(t, time.Now().Add(time.Hour))
	srv := startHandler(t, false, &tls.Config{ClientAuth: tls.RequireAnyClientCert}, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
		_ = conn.(*tls.Conn).NetConn().Close()
	})
	transport := forService(t, nil, rootCAs(srv), certificate)
	_, attempt, err := sendWatched(t.Context(), transport, srv.URL)
	if err == nil || attempt.MayBeRefusal(io.EOF) || attempt.MayBeRefusal(syscall.ECONNRESET) {
		t.Errorf("a connection that ended within a response: error %v is taken for a refusal", err)
	}
}

// A pipe is a [net.Pipe] that reports as a socket does that it is closed.
type pipe struct{ net.Conn }

func (p pipe) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	return n, err
}

// The step tells where time was lost.
func TestSteps(t *testing.T) {
	t.Parallel()
	forever := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	for _, test := range []struct {
		name, target string
		dial         func(ctx context.Context, server net.Conn, client net.Conn) (net.Conn, error)
		want         string
	}{
		{"a dial that does not end", "http://ias.example/", func(ctx context.Context, _, _ net.Conn) (net.Conn, error) { return forever(ctx) }, "connecting to ias.example:80"},
		{"a name that is not found", "http://ias.example/", func(ctx context.Context, _, _ net.Conn) (net.Conn, error) {
			httptrace.ContextClientTrace(ctx).DNSStart(httptrace.DNSStartInfo{Host: "ias.example"})
			return forever(ctx)
		}, "looking up ias.example"},
		{"an address that does not respond", "http://ias.example/", func(ctx context.Context, _, _ net.Conn) (net.Conn, error) {
			httptrace.ContextClientTrace(ctx).ConnectStart("tcp", "192.0.2.1:80")
			return forever(ctx)
		}, "connecting to 192.0.2.1:80"},
		{"a server that says nothing in the handshake", "https://ias.example/", func(_ context.Context, _, client net.Conn) (net.Conn, error) { return client, nil }, "in the TLS handshake"},
		{"a server that does not read", "http://ias.example/", func(_ context.Context, _, client net.Conn) (net.Conn, error) { return client, nil }, "sending the request"},
		{"a server that does not respond", "http://ias.example/", func(_ context.Context, server, client net.Conn) (net.Conn, error) {
			go func() { _, _ = io.Copy(io.Discard, server) }()
			return client, nil
		}, "waiting for the response"},
		{"a server that stops in a response", "http://ias.example/", func(_ context.Context, server, client net.Conn) (net.Conn, error) {
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
					_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
				}
			}()
			return client, nil
		}, "reading the response"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				end, server := net.Pipe()
				client := pipe{end}
				defer client.Close()
				defer server.Close()
				transport := forService(t, &http.Transport{
					WriteBufferSize: 16, // less than a request, which is not sent at once then
					DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return test.dial(ctx, server, client) },
				}, nil, nil)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, attempt, err := sendWatched(ctx, transport, test.target)
				if attempt.Step() != test.want || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the step is %q after error %v, want %q", attempt.Step(), err, test.want)
				}
				transport.CloseIdleConnections() // ends what is still dialed
			})
		})
	}
}

func TestStepOfATransportThatTellsNothing(t *testing.T) {
	t.Parallel()
	_, attempt := connect.Watch(t.Context())
	if got := attempt.Step(); got != "waiting for the response" {
		t.Errorf("the step is %q, want what is true in any case", got)
	}
}

// A connection that was dialed for nothing, because another one became free, tells nothing
// about the request any more.
func TestStepIsThatOfTheRequest(t *testing.T) {
	t.Parallel()
	ctx, attempt := connect.Watch(t.Context())
	trace := httptrace.ContextClientTrace(ctx)
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	trace.GetConn("ias.example:443")
	trace.GotConn(httptrace.GotConnInfo{Conn: client})
	trace.GotFirstResponseByte()
	trace.TLSHandshakeStart()                        // of the other connection
	trace.WroteRequest(httptrace.WroteRequestInfo{}) // late
	if got := attempt.Step(); got != "reading the response" {
		t.Errorf("the step is %q, want that of the request, which is being responded to", got)
	}
	trace.GetConn("ias.example:443") // again, because the connection was closed
	trace.TLSHandshakeStart()
	if got := attempt.Step(); got != "in the TLS handshake" {
		t.Errorf("the step is %q, want that of the second connection", got)
	}
}
