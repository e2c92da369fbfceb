package tokenservice_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

// newClientWithTimeout returns a client for a source with the given fetch timeout.
func newClientWithTimeout(base http.RoundTripper, fetchTimeout time.Duration, pacer *pace.Pacer) *tokenservice.Client {
	return tokenservice.New(flows.Options{
		ServiceTransport: base, Tokens: tokensource.Options{Settings: tokensource.Settings{FetchTimeout: fetchTimeout}},
	}, nil, pacer)
}

// silentBody is a body that never ends, as long as the request's context does not.
func silentBody(ctx context.Context) io.ReadCloser {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(context.Cause(ctx)) })
	return r
}

func TestRequestHasATimeOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		respond      roundTripper
		fetchTimeout time.Duration
		want         time.Duration
		status       int
	}{
		{"no response, default timeout", func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, 0, 20 * time.Second, 0},
		{"no response", func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, errors.New("some reason of its own")
		}, 30 * time.Second, 10 * time.Second, 0},
		{"a response that does not end", func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: silentBody(req.Context())}, nil
		}, 30 * time.Second, 10 * time.Second, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClientWithTimeout(test.respond, test.fetchTimeout, pace.New(0))
				start := time.Now()
				e := asError(t, get(contextLasting(t, time.Minute), c, endpoint))
				if took := time.Since(start); took != test.want {
					t.Errorf("the request failed after %v, want a third of the fetch timeout: %v", took, test.want)
				}
				if e.Kind != tokensource.Temporary || e.StatusCode != test.status || !errors.Is(e, context.DeadlineExceeded) {
					t.Errorf("got %v (%v, status %d), want a temporary DeadlineExceeded with status %d", e, e.Kind, e.StatusCode, test.status)
				}
				for _, want := range []string{endpoint, fmt.Sprintf("gave up after %v waiting for the response", test.want)} {
					if !strings.Contains(e.Error(), want) {
						t.Errorf("error %q does not say %q", e, want)
					}
				}
			})
		})
	}
}

// A dialer hands out connections to a server that responds to each request on them.
type dialer struct {
	conns     atomic.Int64
	forgotten atomic.Int64 // how often; a connection that was made before the last time is lost
}

func (d *dialer) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	d.conns.Add(1)
	made := d.forgotten.Load()
	go func() {
		defer server.Close()
		for in := bufio.NewReader(server); ; {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if made != d.forgotten.Load() {
				_, _ = io.Copy(io.Discard, in) // until the client has closed it
				return
			}
			time.Sleep(time.Second)
			_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	}()
	return client, nil
}

// A NAT between here and the service has forgotten its connections. That costs one
// request, and not one for each connection.
func TestConnectionsThatHaveDiedSilently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(dialer)
		base := &http.Transport{DialContext: d.dial, MaxIdleConnsPerHost: 10}
		c := newClientWithTimeout(base, time.Minute, pace.New(0))
		defer c.CloseIdleConnections()
		const service = "http://tokens.example/"
		var requests sync.WaitGroup
		for range 4 {
			requests.Go(func() {
				if err := get(t.Context(), c, service); err != nil {
					t.Error(err)
				}
			})
		}
		requests.Wait()
		if n := d.conns.Load(); n != 4 {
			t.Fatalf("%d connections were made, want 4", n)
		}
		d.forgotten.Add(1)
		start := time.Now()
		e := asError(t, get(contextLasting(t, time.Minute), c, service))
		if took := time.Since(start); took != 20*time.Second || e.Kind != tokensource.Temporary {
			t.Errorf("the first request failed after %v with %v (%v), want a temporary error after 20s", took, e, e.Kind)
		}
		if err := get(contextLasting(t, time.Minute), c, service); err != nil || d.conns.Load() != 5 {
			t.Errorf("the second request: got error %v and %d connections in all, want success on another connection, the fifth", err, d.conns.Load())
		}
	})
}

// An idleCloser counts how often its idle connections were closed.
type idleCloser struct {
	roundTripper
	closed atomic.Int64
}

func (c *idleCloser) CloseIdleConnections() { c.closed.Add(1) }

// A caller without patience says nothing about connections, and closing them would make
// the next call slower still.
func TestIdleConnectionsAreClosedAfterATimeout(t *testing.T) {
	t.Parallel()
	waits := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	}
	for _, test := range []struct {
		name    string
		respond roundTripper
		lasting time.Duration // of the caller's context
		want    int64
	}{
		{"the request's own time is over", waits, time.Hour, 1},
		{"a timeout of the transport", func(*http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Get", URL: endpoint + "?hidden", Err: os.ErrDeadlineExceeded}
		}, time.Hour, 1},
		{"the caller's time is over", waits, time.Second, 0},
		{"another failure", func(*http.Request) (*http.Response, error) { return nil, errors.New("lost") }, time.Hour, 0},
		{"a response", func(*http.Request) (*http.Response, error) { return response(400, ""), nil }, time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				base := &idleCloser{roundTripper: test.respond}
				e := asError(t, get(contextLasting(t, test.lasting), newClientWithTimeout(base, time.Minute, pace.New(0)), endpoint))
				if n := base.closed.Load(); n != test.want {
					t.Errorf("after %v: idle connections were closed %d times, want %d", e, n, test.want)
				}
			})
		})
	}
}

func TestWaitForASlotDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := roundTripper(func(req *http.Request) (*http.Response, error) {
			select {
			case <-time.After(9 * time.Second):
				return response(200, "{}"), nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		})
		c := newClientWithTimeout(slow, 30*time.Second, pace.New(1))
		var requests sync.WaitGroup
		for i := range 3 {
			requests.Go(func() {
				if err := get(t.Context(), c, endpoint); err != nil {
					t.Errorf("request %d, which has 10s and takes 9s: %v", i, err)
				}
			})
		}
		requests.Wait()
	})
}

// A caller's context may have anything in it, such as a trace that would be told the
// secrets that are sent.
func TestOnlyCancellationIsTakenFromTheContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "of the caller")
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:          func(string) { t.Error("the caller's trace was told of a connection") },
		WroteHeaderField: func(name string, _ []string) { t.Errorf("the caller's trace was told of the header %s", name) },
	})
	deadline := time.Now().Add(time.Second)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	c, server := startServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "{}") })
	if _, err := c.Do(ctx, tokenservice.Request{URL: server, Header: http.Header{"Authorization": {"Bearer hidden"}}}); err != nil {
		t.Error(err)
	}
	own := newClient(roundTripper(func(req *http.Request) (*http.Response, error) {
		if value := req.Context().Value(key{}); value != nil {
			t.Errorf("the request's context has the value %v", value)
		}
		if got, ok := req.Context().Deadline(); !ok || !got.Equal(deadline) {
			t.Errorf("the request's context ends at %v, want the caller's deadline, %v", got, deadline)
		}
		cancel()
		<-req.Context().Done()
		return nil, errors.New("some reason of its own")
	}))
	if err := get(ctx, own, endpoint); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that of the caller's context, which was canceled", err)
	}
}
