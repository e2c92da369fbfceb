package agw_test

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// pod starts the services on the other side and mounts credentials the way a pod
// has them. What the examples show besides is all the code that a program needs.
func pod() (*agwtest.Server, func()) {
	server, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		panic(err)
	}
	mount, err := os.MkdirTemp("", "agw-")
	if err != nil {
		panic(err)
	}
	if err := server.WriteBinding(mount); err != nil {
		panic(err)
	}
	os.Setenv("SERVICE_BINDING_ROOT", mount)
	return server, func() {
		os.Unsetenv("SERVICE_BINDING_ROOT")
		os.RemoveAll(mount)
		server.Close()
	}
}

// call sends a request and prints whom the gateway saw.
func call(client *http.Client, req *http.Request, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	echo, err := agwtest.DecodeEcho(resp.Body)
	if err != nil {
		fmt.Println(resp.Status, err)
		return
	}
	fmt.Printf("%s %s as %q\n", echo.Method, echo.Path, echo.User)
}

// The credentials are found where the platform puts them, and a plain *http.Client
// is all that the rest of the program sees.
func Example() {
	server, stop := pod()
	defer stop()

	gw, err := agw.New(agw.Config{RootCAs: server.RootCAs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := gw.Client()

	req, err := http.NewRequest("GET", gw.URL("v1/mcp", "sap.s4:apiAccess:salesOrder:v1", "tenant-id"), nil)
	call(client, req, err)
	// Output: GET /v1/mcp/sap.s4:apiAccess:salesOrder:v1/tenant-id as ""
}

// A call acts for a user if its context says so.
func Example_actForUser() {
	server, stop := pod()
	defer stop()
	gw, err := agw.New(agw.Config{RootCAs: server.RootCAs(), RequireUser: true})
	if err != nil {
		fmt.Println(err)
		return
	}

	// In a handler: once for an inbound request, whose Authorization header will do.
	inbound := httptest.NewRequest("POST", "/chat", nil)
	inbound.Header.Set("Authorization", "Bearer "+server.UserToken(agwtest.User{Name: "alice"}))
	ctx := tokensource.WithUserToken(inbound.Context(), inbound.Header.Get("Authorization"))

	req, err := http.NewRequestWithContext(ctx, "GET", gw.URL("v1/orders"), nil)
	call(gw.Client(), req, err)
	// Output: GET /v1/orders as "alice"
}

// A protocol library sends pings and opens streams with contexts of its own. A client
// for a fixed subject acts for the same user there.
func ExampleGateway_ClientFor() {
	server, stop := pod()
	defer stop()
	gw, err := agw.New(agw.Config{RootCAs: server.RootCAs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := gw.ClientFor(tokensource.UserSubject(server.UserToken(agwtest.User{Name: "bob"})))

	req, err := http.NewRequest("GET", "https://agent-gateway.invalid/v1/ping", nil)
	call(client, req, err)
	// Output: GET /v1/ping as "bob"
}

// A client that exists already, with its timeout, jar and redirect policy, gets a
// new transport and keeps everything else.
func Example_wrapExistingClient() {
	server, stop := pod()
	defer stop()
	gw, err := agw.New(agw.Config{RootCAs: server.RootCAs()})
	if err != nil {
		fmt.Println(err)
		return
	}

	existing := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	existing.Transport = gw.Client().Transport

	req, err := http.NewRequest("GET", gw.URL("v1/orders"), nil)
	call(existing, req, err)
	// Output: GET /v1/orders as ""
}

// Each part can be used alone. A source is an oauth2.TokenSource, so any OAuth
// tooling takes it.
func Example_composeWithOAuth2() {
	server, stop := pod()
	defer stop()

	creds, err := customer.Load()
	if err != nil {
		fmt.Println(err)
		return
	}
	flow, err := creds.NewFlow(flows.Options{RootCAs: server.RootCAs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	src, err := tokensource.New(flow, tokensource.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	base := transport.NewBase()
	base.TLSClientConfig.RootCAs = server.RootCAs()

	// golang.org/x/oauth2 puts the token into every request, wherever that goes.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: base})
	req, err := http.NewRequest("GET", server.GatewayURL()+"/v1/orders", nil)
	call(oauth2.NewClient(ctx, src), req, err)

	// This module's transport sends it to the gateway only.
	client := &http.Client{Transport: transport.New(src, transport.Options{Base: base})}
	_, err = client.Get("https://example.com/")
	fmt.Println(errors.Is(err, transport.ErrForeignHost))
	// Output:
	// GET /v1/orders as ""
	// true
}

// With the Destination Service, one program serves many tenants. The tenant of a
// call is in its context.
func Example_manyTenants() {
	server, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	for name, value := range server.LoBEnv() {
		os.Setenv(name, value)
		defer os.Unsetenv(name)
	}

	gw, err := agw.New(agw.Config{
		// Only for the test double, whose host names no resolver knows:
		ServiceTransport: server.Transport(),
		Transport:        server.Transport(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, tenant := range []string{"acme", "umbrella"} {
		jwt := server.UserToken(agwtest.User{Name: "alice", Tenant: tenant})
		ctx := tokensource.WithUserToken(tokensource.WithTenant(context.Background(), tenant), jwt)
		req, err := http.NewRequestWithContext(ctx, "GET", gw.URL("v1", tenant), nil)
		call(gw.Client(), req, err)
	}
	// Output:
	// GET /v1/acme as "alice"
	// GET /v1/umbrella as "alice"
}

// Errors tell what failed, whether it is temporary, and when the next attempt is due.
func Example_handleErrors() {
	server, stop := pod()
	defer stop()
	gw, err := agw.New(agw.Config{RootCAs: server.RootCAs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	server.Tokens.RefuseUser("mallory", true)
	ctx := tokensource.WithUserToken(context.Background(), server.UserToken(agwtest.User{Name: "mallory"}))

	req, err := http.NewRequestWithContext(ctx, "GET", gw.URL("v1/orders"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = gw.Client().Do(req)

	var failed *tokensource.Error
	switch {
	case errors.Is(err, tokensource.ErrNoUserToken):
		fmt.Println("ask the user to log in")
	case errors.As(err, &failed) && failed.Code == "invalid_grant":
		fmt.Println("ask the user to log in again")
	case errors.As(err, &failed) && failed.Temporary():
		fmt.Println("try again at", failed.NextAttempt)
	default:
		fmt.Println("page somebody:", err)
	}
	// Output: ask the user to log in again
}

// Stats are counters for any metrics system, and events say what happens to the
// token of which subject.
func Example_observe() {
	server, stop := pod()
	defer stop()
	var fetched atomic.Int32
	gw, err := agw.New(agw.Config{
		RootCAs: server.RootCAs(),
		OnEvent: func(ev tokensource.Event) {
			if ev.Kind == tokensource.EventFetchEnd && ev.Err == nil {
				fetched.Add(1)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 10 {
		req, err := http.NewRequest("GET", gw.URL("v1/orders"), nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp, err := gw.Client().Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if expvar.Get("agw") == nil { // Publish panics if the name is taken
		expvar.Publish("agw", expvar.Func(func() any { return gw.Source().Stats() }))
	}
	stats := gw.Source().Stats()
	fmt.Printf("%d hits, %d misses, %d fetches\n", stats.Hits, stats.Misses, fetched.Load())
	// Output: 9 hits, 1 misses, 1 fetches
}

// A reverse proxy with this transport is a sidecar: a program in any language calls
// it, and it calls the gateway.
func Example_sidecar() {
	server, stop := pod()
	defer stop()
	gw, err := agw.New(agw.Config{RootCAs: server.RootCAs()})
	if err != nil {
		fmt.Println(err)
		return
	}

	proxy := &httputil.ReverseProxy{
		Transport:     gw.Client().Transport,
		FlushInterval: -1, // streams pass at once
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", transport.PlaceholderHost
			// The call acts for the user who made it; without this line, for nobody in particular.
			r.Out = r.Out.WithContext(tokensource.WithUserToken(r.Out.Context(), r.In.Header.Get("Authorization")))
		},
	}
	sidecar := httptest.NewServer(proxy)
	defer sidecar.Close()

	req, err := http.NewRequest("POST", sidecar.URL+"/v1/orders", strings.NewReader("{}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+server.UserToken(agwtest.User{Name: "alice"}))
	call(http.DefaultClient, req, err)
	// Output: POST /v1/orders as "alice"
}

// testGateway returns a gateway whose other side is server, with credentials mounted
// in dir. It leaves the environment alone, so that tests can run in parallel.
func testGateway(server *agwtest.Server, dir string) (*agw.Gateway, error) {
	if err := server.WriteBinding(dir); err != nil {
		return nil, err
	}
	creds, err := customer.LoadFile(dir)
	if err != nil {
		return nil, err
	}
	return agw.New(agw.Config{Credentials: creds, RootCAs: server.RootCAs()})
}

// A test of an agent lets the services fail.
func Example_testYourAgent() {
	server, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	dir, err := os.MkdirTemp("", "agw-") // in a test: t.TempDir()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	gw, err := testGateway(server, dir)
	if err != nil {
		fmt.Println(err)
		return
	}

	server.Tokens.Inject(agwtest.Fault{Status: 503, Times: 3}) // a fetch is tried three times
	_, err = gw.Client().Get(gw.URL("v1/orders"))
	var failed *tokensource.Error
	fmt.Println(errors.As(err, &failed) && failed.Temporary())
	// Output: true
}
