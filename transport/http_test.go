package transport_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/transport"
)

// The ways to start a server.
var (
	http1     = func(s *httptest.Server) { s.StartTLS() }
	http2     = func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }
	plainHTTP = func(s *httptest.Server) { s.Start() }
)

// recordingServer is an HTTP server that records the Authorization of each request.
type recordingServer struct {
	*httptest.Server
	mu       sync.Mutex
	received []string
}

func startServerWith(tb testing.TB, start func(*httptest.Server), handler http.HandlerFunc) *recordingServer {
	tb.Helper()
	s := new(recordingServer)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.received = append(s.received, strings.Join(r.Header.Values("Authorization"), ", "))
		s.mu.Unlock()
		handler(w, r)
	}))
	start(s.Server)
	tb.Cleanup(s.Close)
	return s
}

func (s *recordingServer) authorizations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// newBaseTrusting returns a base that trusts the certificate of s, and connects to the
// server in hosts if that has the address.
func newBaseTrusting(tb testing.TB, s *recordingServer, hosts map[string]*recordingServer) *http.Transport {
	tb.Helper()
	b := transport.NewBase()
	b.Proxy = nil
	b.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	b.TLSClientConfig.RootCAs.AddCert(s.Certificate())
	b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if s, ok := hosts[addr]; ok {
			addr = s.Listener.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	tb.Cleanup(b.CloseIdleConnections)
	return b
}

// newGatewayClient returns a client with tokens for s, below path, and their source.
func newGatewayClient(tb testing.TB, s *recordingServer, path string, accessTokens ...string) (*http.Client, *fakeSource) {
	tb.Helper()
	src := newSource()
	for _, accessToken := range accessTokens {
		src.tokens = append(src.tokens, newToken(tb, accessToken, s.URL+path))
	}
	client := transport.New(src, transport.Options{Base: newBaseTrusting(tb, s, nil)}).Client()
	tb.Cleanup(client.CloseIdleConnections)
	return client, src
}

// overEachProtocol runs a test with HTTP/1.1 and with HTTP/2.
func overEachProtocol(t *testing.T, test func(t *testing.T, start func(*httptest.Server), major int)) {
	t.Helper()
	t.Run("HTTP1", func(t *testing.T) { t.Parallel(); test(t, http1, 1) })
	t.Run("HTTP2", func(t *testing.T) { t.Parallel(); test(t, http2, 2) })
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

func TestRequestOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), major int) {
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d %s %s %s %s", r.ProtoMajor, r.Method, r.Host, r.RequestURI, content)
		})
		client, _ := newGatewayClient(t, s, "/base", "secret")
		req := newRequest(t, "PUT", "https://agent-gateway.invalid/a%2Fb?q=%20", strings.NewReader("content"))
		req.Host = "other.example" // does not count
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%d PUT %s /base/a%%2Fb?q=%%20 content", major, s.Listener.Addr())
		if got := readAll(t, resp); got != want {
			t.Errorf("the gateway got\n%s, want\n%s", got, want)
		}
		if got := s.authorizations(); !slices.Equal(got, []string{"Bearer secret"}) {
			t.Errorf("the gateway got requests with %q, want one with the token", got)
		}
		if resp.Request != req || resp.TLS == nil {
			t.Errorf("the response has Request %p and TLS %v, want Request %p and TLS", resp.Request, resp.TLS, req)
		}
	})
}

func TestRetryOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), _ int) {
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body)
			if r.Header.Get("Authorization") == "Bearer old" {
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
				http.Error(w, "rejected", http.StatusUnauthorized)
				return
			}
			_, _ = w.Write(content)
		})
		client, _ := newGatewayClient(t, s, "", "old", "new")
		resp, err := client.Post("/x", "text/plain", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "content" {
			t.Errorf("the second attempt got %q, want its own content", got)
		}
		if got := s.authorizations(); !slices.Equal(got, []string{"Bearer old", "Bearer new"}) {
			t.Errorf("the gateway got requests with %q, want one with each token", got)
		}
	})
}

// The body of the first response does not arrive before the second one is there.
func TestRetryAfterASlowRejectionOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), _ int) {
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer old" {
				w.Header().Set("Content-Length", "8")
				w.WriteHeader(http.StatusUnauthorized)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
		})
		client, _ := newGatewayClient(t, s, "", "old", "new")
		resp, err := client.Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		if readAll(t, resp); resp.StatusCode != 200 {
			t.Errorf("got status %d, want the second response", resp.StatusCode)
		}
	})
}

// An upload from a stream cannot be sent again: the caller gets the gateway's response.
func TestRejectedStreamOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), _ int) {
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "rejected", http.StatusUnauthorized)
		})
		client, src := newGatewayClient(t, s, "", "old", "new")
		resp, err := client.Post("/x", "text/plain", io.LimitReader(strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "rejected\n" || resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("got status %d, body %q and header %v, want the gateway's 401 response", resp.StatusCode, got, resp.Header)
		}
		if len(src.invalidated) != 1 || len(s.authorizations()) != 1 {
			t.Errorf("%d tokens were invalidated, and %d requests arrived; want 1 and 1", len(src.invalidated), len(s.authorizations()))
		}
	})
}

func TestTrailersOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), _ int) {
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Trailer", "Sum")
			fmt.Fprint(w, "content")
			w.Header().Set("Sum", r.Trailer.Get("Sum")+" back")
		})
		client, _ := newGatewayClient(t, s, "", "secret")
		var req *http.Request
		// The trailer is set while the body is being sent, so the copy must share it.
		content := io.MultiReader(strings.NewReader("content"), readerFunc(func([]byte) (int, error) {
			req.Trailer.Set("Sum", "42")
			return 0, io.EOF
		}))
		req = newRequest(t, "POST", "/x", content)
		req.Trailer = http.Header{"Sum": nil}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if readAll(t, resp); resp.Trailer.Get("Sum") != "42 back" {
			t.Errorf("the trailer of the response is %v, want the Sum of the request, 42, and back", resp.Trailer)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestStreamOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), _ int) {
		next := make(chan struct{})
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n", i)
				_ = http.NewResponseController(w).Flush()
				<-next // until the client has read it
			}
		})
		client, _ := newGatewayClient(t, s, "", "secret")
		resp, err := client.Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 {
			if want := fmt.Sprintf("data: %d", i); !lines.Scan() || lines.Text() != want {
				t.Errorf("event %d is %q (error %v), want %q before the next one is sent", i+1, lines.Text(), lines.Err(), want)
			}
			next <- struct{}{}
		}
		if lines.Scan() {
			t.Errorf("there is a fourth event: %q", lines.Text())
		}
	})
}

func TestCanceledStreamOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), _ int) {
		ended := make(chan struct{})
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(ended)
		})
		client, _ := newGatewayClient(t, s, "", "secret")
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := client.Do(newRequest(t, "GET", "/x", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v from the body of a canceled request, want %v", err, context.Canceled)
		}
		_ = resp.Body.Close()
		<-ended
	})
}

// The deprecated way to cancel a request reaches the base, too.
func TestCancelOverHTTP(t *testing.T) {
	t.Parallel()
	overEachProtocol(t, func(t *testing.T, start func(*httptest.Server), _ int) {
		arrived := make(chan struct{})
		s := startServerWith(t, start, func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
		})
		client, _ := newGatewayClient(t, s, "", "secret")
		req, cancel := newRequest(t, "GET", "/x", nil), make(chan struct{})
		//lint:ignore SA1019 it still has to be passed on
		req.Cancel = cancel
		go func() { <-arrived; close(cancel) }()
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("got status %d for a request that was canceled, want an error", resp.StatusCode)
		}
	})
}

// After a 101 response the body is the connection itself, an io.ReadWriteCloser.
func TestUpgradeOverHTTP(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, http1, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	})
	client, _ := newGatewayClient(t, s, "", "secret")
	req := newRequest(t, "GET", "/x", nil)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got status %d and a body of type %T, want 101 and an io.ReadWriteCloser", resp.StatusCode, resp.Body)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "echo hello\n" {
		t.Errorf("got %q (error %v) over the connection, want %q", line, err, "echo hello\n")
	}
}

// A mock in place of a base sees the whole request.
func TestRequestToAMock(t *testing.T) {
	t.Parallel()
	mock := httpmock.NewMockTransport()
	mock.RegisterMatcherResponder("POST", "https://gw.example/v1/mcp/sap.s4:apiAccess:salesOrder:v1/t1",
		httpmock.HeaderIs("Authorization", "Bearer secret").
			And(httpmock.HeaderIs("X-Correlation-Id", "id")).
			And(httpmock.BodyContainsString("tools/list")),
		httpmock.NewStringResponder(200, "{}"))
	src := newSource(newToken(t, "secret", "https://gw.example/v1/mcp"))
	client := transport.New(src, transport.Options{Base: mock, NewCorrelationID: func() string { return "id" }}).Client()
	resp, err := client.Post("https://agent-gateway.invalid/v1/mcp/sap.s4:apiAccess:salesOrder:v1/t1", "application/json", strings.NewReader(`{"method":"tools/list"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "{}" || mock.GetTotalCallCount() != 1 {
		t.Errorf("got %q after %d calls of the mock, want {} after 1", got, mock.GetTotalCallCount())
	}
}
