package transport_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// eachProtocol runs a test over HTTP/1.1 and HTTP/2.
func eachProtocol(t *testing.T, test func(t *testing.T, start protocol, proto int)) {
	t.Helper()
	t.Run("HTTP1", func(t *testing.T) { t.Parallel(); test(t, http1, 1) })
	t.Run("HTTP2", func(t *testing.T) { t.Parallel(); test(t, http2, 2) })
}

func TestWire(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, start protocol, proto int) {
		s := newServer(t, start, func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d %s %s %s %s", r.ProtoMajor, r.Method, r.Host, r.RequestURI, content)
		})
		client, _ := gatewayClient(t, s, "/base", "secret")
		req := newRequest(t, "PUT", "https://agent-gateway.invalid/a%2Fb?q=%20", strings.NewReader("content"))
		req.Host = "other.example" // does not count
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%d PUT %s /base/a%%2Fb?q=%%20 content", proto, s.Listener.Addr())
		if got := readAll(t, resp); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if resp.Request != req || resp.TLS == nil {
			t.Error("Request or TLS of the response")
		}
	})
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

func TestWireOfARetry(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, start protocol, _ int) {
		s := newServer(t, start, func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body)
			if r.Header.Get("Authorization") == "Bearer old" {
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
				http.Error(w, "refused", http.StatusUnauthorized)
				return
			}
			_, _ = w.Write(content)
		})
		client, _ := gatewayClient(t, s, "", "old", "new")
		resp, err := client.Post("/x", "text/plain", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "content" {
			t.Errorf("got %q", got)
		}
		if got := strings.Join(s.seen(), ", "); got != "Bearer old, Bearer new" {
			t.Errorf("the gateway saw %s", got)
		}
	})
}

// An upload from a stream cannot be repeated: the caller gets the gateway's words.
func TestWireOfARefusedUpload(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, start protocol, _ int) {
		s := newServer(t, start, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "refused", http.StatusUnauthorized)
		})
		client, src := gatewayClient(t, s, "", "old", "new")
		resp, err := client.Post("/x", "text/plain", io.LimitReader(strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "refused\n" || resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("got %d %q %v", resp.StatusCode, got, resp.Header)
		}
		if len(src.invalidated) != 1 || len(s.seen()) != 1 {
			t.Errorf("%d tokens were dropped, %d requests arrived", len(src.invalidated), len(s.seen()))
		}
	})
}

func TestWireOfTrailers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, start protocol, _ int) {
		s := newServer(t, start, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Trailer", "Sum")
			fmt.Fprint(w, "content")
			w.Header().Set("Sum", r.Trailer.Get("Sum")+" back")
		})
		client, _ := gatewayClient(t, s, "", "secret")
		var req *http.Request
		// The trailer is set while the body is being sent: the copy must share it.
		content := io.MultiReader(strings.NewReader("content"), readFunc(func([]byte) (int, error) {
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
			t.Errorf("trailer %v", resp.Trailer)
		}
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestWireOfAStream(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, start protocol, _ int) {
		next := make(chan struct{})
		s := newServer(t, start, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n", i)
				_ = http.NewResponseController(w).Flush()
				<-next // until the client has read it
			}
		})
		client, _ := gatewayClient(t, s, "", "secret")
		resp, err := client.Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 {
			if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
				t.Errorf("event %d is %q, error %v", i, lines.Text(), lines.Err())
			}
			next <- struct{}{}
		}
		if lines.Scan() {
			t.Error("there is more")
		}
	})
}

func TestWireOfACancelledStream(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, start protocol, _ int) {
		left := make(chan struct{})
		s := newServer(t, start, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(left)
		})
		client, _ := gatewayClient(t, s, "", "secret")
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "/x", nil)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		_ = resp.Body.Close()
		<-left
	})
}

// The deprecated way to cancel a request still reaches the base.
func TestWireOfCancel(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, start protocol, _ int) {
		arrived := make(chan struct{})
		s := newServer(t, start, func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
		})
		client, _ := gatewayClient(t, s, "", "secret")
		req, cancel := newRequest(t, "GET", "/x", nil), make(chan struct{})
		//lint:ignore SA1019 it still has to be passed on
		req.Cancel = cancel
		go func() { <-arrived; close(cancel) }()
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("it was not cancelled")
		}
	})
}

// After a 101 the body is the connection itself: io.ReadWriteCloser.
func TestWireOfAnUpgrade(t *testing.T) {
	t.Parallel()
	s := newServer(t, http1, func(w http.ResponseWriter, r *http.Request) {
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
	client, _ := gatewayClient(t, s, "", "secret")
	req := newRequest(t, "GET", "/x", nil)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d, body %T", resp.StatusCode, resp.Body)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "echo hello\n" {
		t.Errorf("got %q, error %v", line, err)
	}
}

// The whole request as the base sees it, and nothing else.
func TestWireShape(t *testing.T) {
	t.Parallel()
	mock := httpmock.NewMockTransport()
	mock.RegisterMatcherResponder("POST", "https://gw.example/v1/mcp/sap.s4:apiAccess:salesOrder:v1/t1",
		httpmock.HeaderIs("Authorization", "Bearer secret").
			And(httpmock.HeaderIs("X-Correlation-Id", "id")).
			And(httpmock.BodyContainsString("tools/list")),
		httpmock.NewStringResponder(200, "{}"))
	client := transport.New(newSource(mustGrant(t, "secret", "https://gw.example/v1/mcp")),
		&transport.Options{Base: mock, NewCorrelationID: func() string { return "id" }}).Client()
	resp, err := client.Post("https://agent-gateway.invalid/v1/mcp/sap.s4:apiAccess:salesOrder:v1/t1", "application/json", strings.NewReader(`{"method":"tools/list"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "{}" || mock.GetTotalCallCount() != 1 {
		t.Errorf("got %q after %d calls", got, mock.GetTotalCallCount())
	}
}

// tenants has a gateway and a token for each tenant, named in the context.
type tenants struct {
	*source
	grants map[string]*tokensource.Grant
}

type tenantKey struct{}

func (s *tenants) Grant(ctx context.Context) (*tokensource.Grant, error) {
	tenant, _ := ctx.Value(tenantKey{}).(string)
	return s.grants[tenant], nil
}

// One client, many goroutines, a gateway per tenant: nobody's token goes to another's.
func TestConcurrentTenants(t *testing.T) {
	t.Parallel()
	const count, calls = 4, 100
	src := newTenants(t, count)
	mixed := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		tenant, _ := req.Context().Value(tenantKey{}).(string)
		if req.URL.Host != tenant+".example" || req.Header.Get("Authorization") != "Bearer token-of-"+tenant {
			t.Errorf("tenant %s: %s to %s", tenant, req.Header.Get("Authorization"), req.URL.Host)
		}
		return result{status: 200}.response(req), nil
	})
	client := transport.New(src, &transport.Options{Base: mixed}).Client()
	var wg sync.WaitGroup
	shared := http.Header{"Accept": {"a"}} // callers may share what they only read
	for i := range count * 4 {
		wg.Go(func() {
			tenant := fmt.Sprint("t", i%count)
			for range calls {
				ctx := context.WithValue(t.Context(), tenantKey{}, tenant)
				req, _ := http.NewRequestWithContext(ctx, "GET", "/x", nil)
				req.Header = shared
				if _, err := client.Transport.RoundTrip(req); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func newTenants(t *testing.T, n int) *tenants {
	t.Helper()
	s := &tenants{source: newSource(), grants: map[string]*tokensource.Grant{}}
	for i := range n {
		tenant := fmt.Sprint("t", i)
		s.grants[tenant] = mustGrant(t, "token-of-"+tenant, "https://"+tenant+".example")
	}
	return s
}
