package compat_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
)

// tracing records spans.
type tracing struct {
	*tracetest.SpanRecorder
	options []otelhttp.Option
}

func newTracing(t *testing.T) tracing {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return tracing{recorder, []otelhttp.Option{
		otelhttp.WithTracerProvider(provider), otelhttp.WithPropagators(propagation.TraceContext{}),
	}}
}

// address returns the server's address in a span, and checks that no token is there.
func address(t *testing.T, span sdktrace.ReadOnlySpan) (host string) {
	t.Helper()
	for _, a := range span.Attributes() {
		if a.Key == "server.address" {
			host = a.Value.AsString()
		}
	}
	if text := fmt.Sprint(span.Name(), span.Attributes(), span.Events(), span.Status()); strings.Contains(text, "eyJ") {
		t.Errorf("the span has a token: %s", text)
	}
	return host
}

// Beneath our transport, otelhttp traces what is really sent: each attempt, to the
// real gateway.
func TestTracingInside(t *testing.T) {
	t.Parallel()
	tr := newTracing(t)
	ctx, w := start(t, agwtest.Options{}, func(server *agwtest.Server, cfg *agw.Config) {
		cfg.Transport = otelhttp.NewTransport(newBase(t, server), tr.options...)
	})
	client := w.ClientFor(w.subject("alice"))
	echo := echoOf(t, client, newRequest(t, ctx, http.MethodPost, w.URL("orders"), strings.NewReader("body")))
	mustSee(t, echo, "alice")
	checkTraceparent(t, echo, tr, 0)

	w.server.RevokeAll()
	echo = echoOf(t, client, newRequest(t, ctx, http.MethodPost, w.URL("orders"), strings.NewReader("body")))
	mustSee(t, echo, "alice")
	if echo.Body != "body" {
		t.Errorf("the second attempt brought %q", echo.Body)
	}
	if n := len(tr.Ended()); n != 3 {
		t.Fatalf("%d spans, want one, and two for the call with two attempts", n)
	}
	checkTraceparent(t, echo, tr, 2)
	for _, span := range tr.Ended() {
		if host := address(t, span); host != "127.0.0.1" {
			t.Errorf("the span is of %q", host)
		}
	}
}

// Above our transport, otelhttp traces calls as the program makes them: one span
// for each, to the placeholder.
func TestTracingOutside(t *testing.T) {
	t.Parallel()
	tr := newTracing(t)
	ctx, w := start(t, agwtest.Options{})
	client := w.ClientFor(w.subject("alice"))
	client.Transport = otelhttp.NewTransport(client.Transport, tr.options...)
	mustSee(t, echoOf(t, client, newRequest(t, ctx, http.MethodGet, w.URL("orders"), nil)), "alice")
	w.server.RevokeAll()
	echo := echoOf(t, client, newRequest(t, ctx, http.MethodPost, w.URL("orders"), strings.NewReader("body")))
	mustSee(t, echo, "alice")
	if n := len(tr.Ended()); n != 2 {
		t.Fatalf("%d spans, want 2", n)
	}
	checkTraceparent(t, echo, tr, 1)
	for _, span := range tr.Ended() {
		if host := address(t, span); host != "agent-gateway.invalid" {
			t.Errorf("the span is of %q", host)
		}
	}
}

// checkTraceparent checks that the gateway was told of a span.
func checkTraceparent(t *testing.T, echo agwtest.Echo, tr tracing, number int) {
	t.Helper()
	c := tr.Ended()[number].SpanContext()
	want := fmt.Sprintf("00-%s-%s-01", c.TraceID(), c.SpanID())
	if got := echo.Header.Get("Traceparent"); got != want {
		t.Errorf("traceparent %q, want %q", got, want)
	}
}
