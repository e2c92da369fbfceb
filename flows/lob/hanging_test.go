package lob_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

// roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

const (
	authHost        = "acme.authentication.example.com"
	providerHost    = "provider.authentication.example.com"
	destinationHost = "destination.example.com"
)

func bySource(ctx context.Context, flow reloadableFlow) error {
	src, err := tokensource.New(flow, tokensource.Options{Settings: tokensource.Settings{FetchTimeout: hangTimeout}})
	if err == nil {
		_, err = src.AccessToken(tokensource.WithTenant(ctx, "acme"))
	}
	return err
}

func byFetch(ctx context.Context, flow reloadableFlow) error {
	_, err := flow.Fetch(ctx, subject("acme", ""))
	return err
}

func byMCPServers(ctx context.Context, flow reloadableFlow) error {
	_, err := flow.MCPServers(tokensource.WithTenant(ctx, "acme"))
	return err
}

func byAgents(ctx context.Context, flow reloadableFlow) error {
	_, err := flow.Agents(tokensource.WithTenant(ctx, "acme"))
	return err
}

func byClientID(ctx context.Context, flow reloadableFlow) error {
	_, err := flow.ClientID(ctx)
	return err
}

const hangTimeout = 30 * time.Second // FetchTimeout where a service hangs

// Whatever is asked for, a service that hangs keeps nobody waiting for longer than the
// FetchTimeout, although the caller sets no deadline. The error says what hung, and where.
func TestServiceHangs(t *testing.T) {
	t.Parallel()
	const token, search, get = "fetch service token", "find fragment", "get destination"
	tests := []struct {
		name    string
		ask     func(context.Context, reloadableFlow) error
		service string // that hangs
		after   int    // so many responses
		op      string
		host    string
	}{
		{"source, service token", bySource, "auth", 0, token, authHost},
		{"source, fragments", bySource, "fragments", 0, search, destinationHost},
		{"source, destination", bySource, "destination", 0, get, destinationHost},
		{"source, second service token", bySource, "auth", 1, token, authHost},
		{"source, fragments after a refused service token", bySource, "fragments", 1, search, destinationHost},
		{"fetch, service token", byFetch, "auth", 0, token, authHost},
		{"fetch, fragments", byFetch, "fragments", 0, search, destinationHost},
		{"fetch, destination", byFetch, "destination", 0, get, destinationHost},
		{"fetch, second service token", byFetch, "auth", 1, token, authHost},
		{"MCP servers, service token", byMCPServers, "auth", 0, token, authHost},
		{"MCP servers, fragments", byMCPServers, "fragments", 0, search, destinationHost},
		{"MCP servers, second service token", byMCPServers, "auth", 1, token, authHost},
		{"agents, service token", byAgents, "auth", 0, token, authHost},
		{"agents, fragments", byAgents, "fragments", 0, search, destinationHost},
		{"client id, service token", byClientID, "auth", 0, token, providerHost},
		{"client id, destination", byClientID, "destination", 0, get, destinationHost},
	}
	for _, tt := range tests {
		for _, ends := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, transport ends with its context %v", tt.name, ends), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newServicesWithNumberedTokens()
					if tt.after > 0 { // the first service token is refused
						s.fragments = func(n int, _ request) httpResponse {
							time.Sleep(time.Second)
							if n == 1 {
								return revoked()
							}
							return httpResponse{200, `[{"FragmentName":"frag"}]`}
						}
					}
					flow, release := s.newHangingFlow(t, tt.service, tt.after, ends)
					defer release()
					e := errorWithin(t, hangTimeout, func() error { return tt.ask(context.Background(), flow) })
					if u, err := url.Parse(e.URL); err != nil || e.Op != tt.op || u.Host != tt.host {
						t.Errorf("got op %q and URL %q, want %q and one at %s", e.Op, e.URL, tt.op, tt.host)
					}
					if !errors.Is(e, context.DeadlineExceeded) || errors.Is(e, context.Canceled) || e.Kind != tokensource.Temporary {
						t.Errorf("got %v error %v, want a temporary DeadlineExceeded", e.Kind, e)
					}
					assertError(t, e, tt.op+": https://"+tt.host)
					if !ends { // the end of the request does not tell why
						assertError(t, e, "no result in time")
					}
				})
			})
		}
	}
}

// newHangingFlow returns a flow one of whose services does not respond any more after so
// many responses. Its requests end with their contexts or, if ends is false, when release
// is called.
func (s *services) newHangingFlow(t *testing.T, service string, after int, ends bool) (flow reloadableFlow, release func()) {
	t.Helper()
	released := make(chan struct{})
	responding := s.transport()
	var received atomic.Int64
	opts := flows.Options{
		Tokens: tokensource.Options{Settings: tokensource.Settings{FetchTimeout: hangTimeout}},
		ServiceTransport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if (request{URL: req.URL.String()}).service() != service || received.Add(1) <= int64(after) {
				return responding.RoundTrip(req)
			}
			done := req.Context().Done()
			if !ends {
				done = nil
			}
			select {
			case <-done:
				return nil, req.Context().Err()
			case <-released:
				return nil, errors.New("connection reset")
			}
		}),
	}
	f, err := credentials().NewFlow(opts)
	if err != nil {
		t.Fatalf("NewFlow: %v", err)
	}
	return f.(reloadableFlow), func() {
		close(released)
		time.Sleep(2 * hangTimeout) // until everything has ended
	}
}

// errorWithin returns the error of ask, and fails the test unless it comes in time.
func errorWithin(t *testing.T, limit time.Duration, ask func() error) *tokensource.Error {
	t.Helper()
	begin := time.Now()
	failed := make(chan error, 1)
	go func() { failed <- ask() }()
	select {
	case err := <-failed:
		if waited := time.Since(begin); waited > limit {
			t.Errorf("the error came after %v, want it within %v: %v", waited, limit, err)
		}
		return requestError(t, err)
	case <-time.After(10 * limit):
		t.Fatalf("no error after %v, want one within %v", 10*limit, limit)
		return nil
	}
}

// A caller with little time waits for what others have begun. Its error also says what that
// was waiting for.
func TestCallerWithADeadlineOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ service, op, host string }{
		{"auth", "fetch service token", authHost}, {"fragments", "find fragment", destinationHost}, {"destination", "get destination", destinationHost},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServices()
			flow, release := s.newHangingFlow(t, tt.service, 0, true)
			defer release()
			go func() { _ = byFetch(context.Background(), flow) }()
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			e := errorWithin(t, time.Second, func() error { return byFetch(ctx, flow) })
			if !errors.Is(e, context.DeadlineExceeded) || e.Op != tt.op || !strings.Contains(e.URL, "//"+tt.host+"/") {
				t.Errorf("%s hangs: got %v, want a DeadlineExceeded that names %q and %s", tt.service, e, tt.op, tt.host)
			}
			time.Sleep(hangTimeout) // until the first caller has given up
		})
	}
}

// Requests to services have nothing of the caller's context but its end. A trace in it would
// be told the service token.
func TestRequestsHaveNoValuesOfTheCaller(t *testing.T) {
	t.Parallel()
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	type key struct{}
	for name, ask := range map[string]func(context.Context, reloadableFlow) error{
		"source": bySource, "fetch": byFetch, "MCP servers": byMCPServers, "agents": byAgents, "client id": byClientID,
	} {
		base := srv.Transport()
		var requests, values atomic.Int64
		flow, err := credentialsOf(srv).NewFlow(flows.Options{ServiceTransport: roundTripper(func(req *http.Request) (*http.Response, error) {
			requests.Add(1)
			if req.Context().Value(key{}) != nil {
				values.Add(1)
			}
			return base.RoundTrip(req)
		})})
		if err != nil {
			t.Fatal(err)
		}
		ctx := httptrace.WithClientTrace(context.WithValue(t.Context(), key{}, "value"), &httptrace.ClientTrace{
			WroteHeaderField: func(field string, _ []string) { t.Errorf("%s: the caller's trace is told the header %s", name, field) },
			GotConn:          func(httptrace.GotConnInfo) { t.Errorf("%s: the caller's trace is told of a connection", name) },
		})
		if err := ask(ctx, flow.(reloadableFlow)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := requests.Load(); n < 2 || values.Load() != 0 {
			t.Errorf("%s: %d of %d requests have a value of the caller's context, want none of at least two", name, values.Load(), n)
		}
		base.CloseIdleConnections()
	}
}

// A caller that leaves takes its request with it, unless others may wait for it too.
func TestRequestEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ask     func(context.Context, reloadableFlow) error
		service string
	}{
		"MCP servers": {byMCPServers, "fragments"}, "agents": {byAgents, "fragments"}, "destination": {byFetch, "destination"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServices()
			ended := false
			responding := s.transport()
			flow, err := credentials().NewFlow(flows.Options{ServiceTransport: roundTripper(func(req *http.Request) (*http.Response, error) {
				if (request{URL: req.URL.String()}).service() != tt.service {
					return responding.RoundTrip(req)
				}
				<-req.Context().Done()
				ended = true
				return nil, req.Context().Err()
			})})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			if err := tt.ask(ctx, flow.(reloadableFlow)); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want context.Canceled", name, err)
			}
			synctest.Wait()
			if !ended {
				t.Errorf("%s: the caller left, and its request goes on", name)
			}
		})
	}
}

// A transport that panics is an error, whatever is asked for.
func TestTransportPanics(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(context.Context, reloadableFlow) error{
		"fetch": byFetch, "MCP servers": byMCPServers, "client id": byClientID,
	} {
		responding := newServices().transport()
		flow, err := credentials().NewFlow(flows.Options{ServiceTransport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if (request{URL: req.URL.String()}).service() != "auth" {
				panic(secret)
			}
			return responding.RoundTrip(req)
		})})
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() != nil {
					t.Errorf("%s: the panic reaches the caller", name)
				}
			}()
			assertError(t, ask(t.Context(), flow.(reloadableFlow)), "https://"+destinationHost, "panic with a string")
		}()
	}
}
