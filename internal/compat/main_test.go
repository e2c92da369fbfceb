package compat_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway and all that is on the other side of it.
type world struct {
	*agw.Gateway
	server *agwtest.Server
}

// detecting is held while the environment is that of one test's credentials.
var detecting sync.Mutex

// start returns a new world for a test, and a context that bounds all waiting.
func start(t *testing.T, options agwtest.Options, configure ...func(*agwtest.Server, *agw.Config)) (context.Context, world) {
	t.Helper()
	server, err := agwtest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	mount := t.TempDir()
	if err := server.WriteBinding(mount); err != nil {
		t.Fatal(err)
	}
	cfg := agw.Config{RootCAs: server.RootCAs()}
	for _, c := range configure {
		c(server, &cfg)
	}
	detecting.Lock()
	defer detecting.Unlock()
	if err := os.Setenv("SERVICE_BINDING_ROOT", mount); err != nil {
		t.Fatal(err)
	}
	gw, err := agw.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gw.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx, world{gw, server}
}

// base returns a transport that trusts the double, for libraries that want one.
func (w world) base(t *testing.T) *http.Transport { return newBase(t, w.server) }

func newBase(t *testing.T, server *agwtest.Server) *http.Transport {
	base := transport.NewBase()
	base.TLSClientConfig.RootCAs = server.RootCAs()
	t.Cleanup(base.CloseIdleConnections)
	return base
}

func (w world) jwt(user string) string { return w.server.UserToken(agwtest.User{Name: user}) }

func (w world) subject(user string) tokensource.Subject {
	return tokensource.UserSubject(w.jwt(user))
}

// protocols runs a test over HTTP/1.1 and over HTTP/2.
func protocols(t *testing.T, test func(t *testing.T, options agwtest.Options)) {
	t.Parallel()
	for name, options := range map[string]agwtest.Options{"HTTP/1.1": {HTTP1: true}, "HTTP/2.0": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, options)
		})
	}
}

func newRequest(t *testing.T, ctx context.Context, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// doer is an *http.Client, or what stands in for one.
type doer interface {
	Do(*http.Request) (*http.Response, error)
}

// echoOf returns what the gateway saw of the request.
func echoOf(t *testing.T, client doer, req *http.Request) agwtest.Echo {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, resp)
}

func decode(t *testing.T, resp *http.Response) agwtest.Echo {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s", resp.Status)
	}
	echo, err := agwtest.DecodeEcho(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // up to the trailer
	return echo
}

// mustSee fails the test unless the gateway saw user.
func mustSee(t *testing.T, echo agwtest.Echo, user string) {
	t.Helper()
	if echo.User != user {
		t.Errorf("the gateway saw %q, want %q", echo.User, user)
	}
}

// unrewindable is a body that net/http makes no GetBody for. It counts what is read.
type unrewindable struct {
	io.Reader
	mu   sync.Mutex
	read int
}

func (u *unrewindable) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.read += n
	return n, err
}

func (u *unrewindable) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.read
}
