package adversary_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// A raw is a server that says whatever a function writes, over TLS and HTTP/1.1.
type raw struct {
	url      string
	roots    *x509.CertPool
	requests atomic.Int64
	written  atomic.Int64 // bytes, before TLS
}

// identityOf returns a certificate for 127.0.0.1 and a pool that trusts it.
func identityOf(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv.TLS.Certificates[0], roots
}

// startRaw starts a server that calls say for each request that it has read.
func startRaw(t *testing.T, say func(w io.Writer)) *raw {
	t.Helper()
	certificate, roots := identityOf(t)
	return startWith(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, roots, say)
}

func startWith(t *testing.T, config *tls.Config, roots *x509.CertPool, say func(w io.Writer)) *raw {
	t.Helper()
	l, err := tls.Listen("tcp4", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	s := &raw{url: "https://" + l.Addr().String(), roots: roots}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			all.Go(func() { defer stop(); s.serve(conn, say) })
		}
	})
	return s
}

func (s *raw) serve(conn net.Conn, say func(io.Writer)) {
	defer conn.Close()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
	s.requests.Add(1)
	say(counting{conn, &s.written})
}

// counting counts what is written.
type counting struct {
	io.Writer
	n *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// saying returns a function that says text.
func saying(text string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, text) }
}

// ok returns a complete answer with a body.
func ok(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body
}

// endless says begin once, and then the same thing over and over until nobody
// listens.
func endless(begin, over string) func(io.Writer) {
	return func(w io.Writer) {
		_, err := io.WriteString(w, begin)
		for err == nil {
			_, err = io.WriteString(w, over)
		}
	}
}

// flowOf returns a customer's flow whose token service is s.
func (s *raw) flowOf(t *testing.T) *customer.Flow {
	t.Helper()
	flow, err := customer.NewFlow(&customer.Credentials{
		TokenServiceURL: s.url + "/token", ClientID: "client", GatewayURL: "https://gateway.example",
	}, &customer.Options{RootCAs: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	return flow
}

// typed returns err as the type that errors of fetches have.
func typed(t *testing.T, err error) *tokensource.Error {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is not a *tokensource.Error", err, err)
	}
	if len(e.Error()) > 1000 || strings.ContainsAny(e.Error(), "\r\n\x00\x1b") {
		t.Errorf("the error is no short line: %q", e.Error())
	}
	return e
}
