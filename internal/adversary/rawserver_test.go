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
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// A rawServer answers each request with whatever a function writes, over TLS and HTTP/1.1.
type rawServer struct {
	url      string
	roots    *x509.CertPool
	requests atomic.Int64
	written  atomic.Int64 // bytes, before TLS
}

// serverIdentity returns a certificate for 127.0.0.1 and a pool that trusts it.
func serverIdentity(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv.TLS.Certificates[0], roots
}

// startRawServer starts a server that calls respond for each request that it has read.
func startRawServer(t *testing.T, respond func(io.Writer)) *rawServer {
	t.Helper()
	certificate, roots := serverIdentity(t)
	return startRawServerWith(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, roots, respond)
}

func startRawServerWith(t *testing.T, config *tls.Config, roots *x509.CertPool, respond func(io.Writer)) *rawServer {
	t.Helper()
	l, err := tls.Listen("tcp4", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{url: "https://" + l.Addr().String(), roots: roots}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			running.Go(func() { defer stop(); s.serve(conn, respond) })
		}
	})
	return s
}

func (s *rawServer) serve(conn net.Conn, respond func(io.Writer)) {
	defer conn.Close()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
	s.requests.Add(1)
	respond(countingWriter{conn, &s.written})
}

type countingWriter struct {
	to      io.Writer
	written *atomic.Int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.written.Add(int64(n))
	return n, err
}

// withText returns a function that responds with text.
func withText(text string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, text) }
}

// withJSON returns a function that responds with status 200 and a body.
func withJSON(body string) func(io.Writer) { return withText(headOf200 + body) }

const headOf200 = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

// withEndless returns a function that responds with a beginning, and then with the same
// text over and over until nobody listens.
func withEndless(beginning, text string) func(io.Writer) {
	return withRepeated(beginning, text, 0)
}

// withSlow is withEndless with a pause before each repetition.
func withSlow(beginning, text string) func(io.Writer) {
	return withRepeated(beginning, text, 5*time.Millisecond)
}

func withRepeated(beginning, text string, pause time.Duration) func(io.Writer) {
	return func(w io.Writer) {
		_, err := io.WriteString(w, beginning)
		for err == nil {
			time.Sleep(pause)
			_, err = io.WriteString(w, text)
		}
	}
}

// flow returns a customer's flow whose token service is s.
func (s *rawServer) flow(t *testing.T) flows.Flow {
	t.Helper()
	flow, err := (&customer.Credentials{
		TokenServiceURL: s.url + "/token", ClientID: "client", GatewayURL: "https://gateway.example",
	}).NewFlow(flows.Options{RootCAs: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	return flow
}

// fetchError returns err as the type that errors of fetches have, and checks that its text
// is one short line.
func fetchError(t *testing.T, name string, err error) *tokensource.Error {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: got error %v (%T), want a *tokensource.Error", name, err, err)
	}
	if len(e.Error()) > 1000 || strings.ContainsAny(e.Error(), "\r\n\x00\x1b") {
		t.Errorf("%s: the text of the error is not one short line: %q", name, e.Error())
	}
	return e
}
