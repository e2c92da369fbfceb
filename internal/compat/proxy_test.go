package compat_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// newSidecar returns a sidecar: whoever calls it with a user's token reaches the
// gateway as that user, at the same path.
func newSidecar(gw *agw.Gateway) *httputil.ReverseProxy {
	rewrite := func(r *httputil.ProxyRequest) {
		r.Out = r.Out.WithContext(tokensource.WithUserToken(r.Out.Context(), r.In.Header.Get("Authorization")))
	}
	return &httputil.ReverseProxy{Rewrite: rewrite, Transport: gw.Client().Transport}
}

// serveSidecar starts a sidecar and returns its URL and a client for it. Errors of
// the proxy come out of the channel.
func serveSidecar(t *testing.T, w world) (string, *http.Client, <-chan error) {
	t.Helper()
	failed := make(chan error, 10)
	proxy := newSidecar(w.Gateway)
	proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, err error) {
		failed <- err
		rw.WriteHeader(http.StatusBadGateway)
	}
	sidecar := httptest.NewServer(proxy)
	t.Cleanup(sidecar.Close)
	return sidecar.URL, sidecar.Client(), failed
}

func TestSidecar(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		ctx, w := start(t, options)
		at, client, _ := serveSidecar(t, w)
		for _, user := range []string{"alice", "bob", "alice"} {
			req := newRequest(t, ctx, http.MethodPost, at+"/v1/mcp/sap.s4:apiAccess:order:v1/tenant%2Fid?x=1", strings.NewReader("body"))
			req.Header.Set("Authorization", "Bearer "+w.jwt(user))
			echo := echoOf(t, client, req)
			mustSee(t, echo, user)
			if echo.Path != "/v1/mcp/sap.s4:apiAccess:order:v1/tenant%2Fid" || echo.RawQuery != "x=1" || echo.Body != "body" {
				t.Errorf("the gateway got %s?%s with %q", echo.Path, echo.RawQuery, echo.Body)
			}
			if gateway, _ := url.Parse(w.server.GatewayURL()); echo.Host != gateway.Host {
				t.Errorf("the gateway was called %q", echo.Host)
			}
		}
	})
}

// A call without a user is refused and does not go out under another identity.
func TestSidecarWithoutUser(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	at, client, failed := serveSidecar(t, w)
	resp, err := client.Do(newRequest(t, ctx, http.MethodGet, at+"/orders", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := failure(ctx, failed); !errors.Is(err, tokensource.ErrNoUserToken) {
		t.Errorf("status %s, %v", resp.Status, err)
	}
}

// The sidecar is no open proxy.
func TestSidecarRefusesForeignHosts(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	at, _, failed := serveSidecar(t, w)
	proxy, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	base := &http.Transport{Proxy: http.ProxyURL(proxy)}
	t.Cleanup(base.CloseIdleConnections)
	req := newRequest(t, ctx, http.MethodGet, "http://foreign.example/", nil) // asks the sidecar for this very URL
	req.Header.Set("Authorization", "Bearer "+w.jwt("alice"))
	resp, err := base.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := failure(ctx, failed); !errors.Is(err, transport.ErrForeignHost) {
		t.Errorf("status %s, %v", resp.Status, err)
	}
}

// failure returns what a sidecar failed with.
func failure(ctx context.Context, failed <-chan error) error {
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Streams, trailers and upgrades pass the sidecar.
func TestSidecarStreams(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{HTTP1: true})
	at, client, _ := serveSidecar(t, w)
	get := func(path string) *http.Response {
		req := newRequest(t, ctx, http.MethodGet, at+path, nil)
		req.Header.Set("Authorization", w.jwt("alice"))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	t.Run("events", func(t *testing.T) {
		resp := get("/sse?events=2&hold=true")
		mustReadEvents(t, resp.Body, 2)
	})
	t.Run("trailer", func(t *testing.T) {
		resp := get("/trailers")
		mustSee(t, decode(t, resp), "alice")
		if got := resp.Trailer.Get("Agwtest-Trailer"); got != "the end" {
			t.Errorf("trailer %q", got)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		conn := dial(t, ctx, strings.TrimPrefix(at, "http://"))
		_, _ = io.WriteString(conn, "GET /upgrade HTTP/1.1\r\nHost: sidecar\r\nAuthorization: "+w.jwt("alice")+
			"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the sidecar said %v, %v", resp, err)
		}
		mustEcho(t, in, conn)
	})
}

func dial(t *testing.T, ctx context.Context, address string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
