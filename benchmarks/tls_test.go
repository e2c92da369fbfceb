package benchmarks_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// world is a double of all services, with the customer's credentials mounted. It
// listens on the loopback interface and speaks TLS, to the token service with client
// certificates.
type world struct {
	*agwtest.Server
	mount string
}

func newWorld(b *testing.B) *world {
	b.Helper()
	server, err := agwtest.Start(agwtest.Options{KeepRequests: -1})
	if err != nil {
		b.Fatal(err)
	}
	server.Handle("/", http.HandlerFunc(noContent))
	b.Cleanup(server.Close)
	w := &world{server, b.TempDir()}
	if err := server.WriteBinding(w.mount); err != nil {
		b.Fatal(err)
	}
	return w
}

func noContent(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// source returns a new source of the mounted credentials, whose connections to the
// token service are kept or not.
func (w *world) source(b *testing.B, keepAlives bool) *tokensource.Source {
	b.Helper()
	creds, err := customer.LoadFile(w.mount)
	if err != nil {
		b.Fatal(err)
	}
	base := w.Transport()
	base.DisableKeepAlives = !keepAlives
	base.IdleConnTimeout = time.Second // for those of sources that are gone
	return newSource(b, creds, flows.Options{ServiceTransport: base, Tokens: tokensource.Options{Settings: roomFor(1)}})
}

// measure repeats work and reports the token requests it took and what they did to
// token service are kept or not.
func (w *world) measure(b *testing.B, work func()) {
	work()
	before, requests := w.Tokens.Meter(), w.Counts().Token
	b.ReportAllocs()
	defer processorTime(b)()
	for b.Loop() {
		work()
	}
	after, n := w.Tokens.Meter(), float64(b.N)
	b.ReportMetric(float64(w.Counts().Token-requests)/n, "requests/op")
	b.ReportMetric(float64(after.Connections-before.Connections)/n, "connections/op")
	b.ReportMetric(float64(after.Handshakes-before.Handshakes)/n, "handshakes/op")
	b.ReportMetric(float64(after.Resumed-before.Resumed)/n, "resumed/op")
}

// send sends a request to the gateway.
func send(b *testing.B, rt http.RoundTripper, req *http.Request) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		b.Fatal(resp.Status)
	}
}

// BenchmarkTLS is the whole flow, client and servers together: both ends work on the
// same processors.
func BenchmarkTLS(b *testing.B) {
	b.Run("call/floor", func(b *testing.B) { callDirectly(b, newWorld(b)) })
	b.Run("call/warm", func(b *testing.B) { callWarm(b, newWorld(b), false) })
	b.Run("call/warm/correlation", func(b *testing.B) { callWarm(b, newWorld(b), true) })
	b.Run("call/cold", func(b *testing.B) { callCold(b, newWorld(b)) })
	b.Run("renewal", func(b *testing.B) { renew(b, newWorld(b), true) })
	b.Run("renewal/connection=new", func(b *testing.B) { renew(b, newWorld(b), false) })
	b.Run("renewal/handshake=full", func(b *testing.B) { renewFromScratch(b, newWorld(b)) })
}

// callDirectly calls with a token that the caller has, over the same transport.
func callDirectly(b *testing.B, w *world) {
	token, err := w.source(b, true).AccessToken(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	base := w.Transport()
	defer base.CloseIdleConnections()
	req := newRequest(b, context.Background(), w.GatewayURL()+path)
	req.Header["Authorization"] = []string{token.Authorization()}
	w.measure(b, func() { send(b, base, req) })
}

// callWarm calls with a token that is cached.
func callWarm(b *testing.B, w *world, correlation bool) {
	rt := transport.New(w.source(b, true), options(w.Transport(), correlation))
	defer rt.CloseIdleConnections()
	req := newRequest(b, context.Background(), placeholder)
	w.measure(b, func() { send(b, rt, req) })
}

// callCold is what the first call of a program takes, from the credentials file to
// the answer.
func callCold(b *testing.B, w *world) {
	req := newRequest(b, context.Background(), placeholder)
	w.measure(b, func() {
		rt := transport.New(w.source(b, true), transport.Options{Base: w.Transport()})
		send(b, rt, req)
		rt.CloseIdleConnections()
	})
}

// renew obtains token after token, over one connection or over a new one each time.
func renew(b *testing.B, w *world, keepAlives bool) {
	src := w.source(b, keepAlives)
	w.measure(b, func() {
		src.Purge()
		if _, err := src.AccessToken(b.Context()); err != nil {
			b.Fatal(err)
		}
	})
}

// renewFromScratch obtains each token the way of a program that keeps neither
// connections nor TLS sessions.
func renewFromScratch(b *testing.B, w *world) {
	w.measure(b, func() {
		if _, err := w.source(b, false).AccessToken(b.Context()); err != nil {
			b.Fatal(err)
		}
	})
}
