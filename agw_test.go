package agw_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestMain(m *testing.M) {
	clearEnvironment()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		os.Exit(code)
	}))
}

// clearEnvironment removes the variables that detection reads, should this machine have
// them.
func clearEnvironment() {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if name == "SERVICE_BINDING_ROOT" || name == "APPFND_CONHOS_LANDSCAPE" ||
			strings.HasPrefix(name, "INTEGRATION_") || strings.HasPrefix(name, "CLOUD_SDK_CFG_") {
			os.Unsetenv(name)
		}
	}
}

func startServer(t *testing.T, opts agwtest.Options) *agwtest.Server {
	t.Helper()
	server, err := agwtest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func setenv(t *testing.T, vars map[string]string) {
	t.Helper()
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

// mountCustomerFile puts the customer's credentials file where detection finds it.
func mountCustomerFile(t *testing.T, server *agwtest.Server) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := server.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SERVICE_BINDING_ROOT", root)
	return root
}

// configFor returns a configuration that reaches the double: it trusts the double's
// authority and resolves its host names.
func configFor(server *agwtest.Server) agw.Config {
	return agw.Config{RootCAs: server.RootCAs(), ServiceTransport: server.Transport(), Transport: server.Transport()}
}

func newGateway(t *testing.T, cfg agw.Config) *agw.Gateway {
	t.Helper()
	gw, err := agw.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gw.CloseIdleConnections)
	return gw
}

// get sends a request and returns what the gateway saw of it.
func get(ctx context.Context, t *testing.T, client *http.Client, url string) agwtest.Echo {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	echo, err := agwtest.DecodeEcho(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: status %s: %v", url, resp.Status, err)
	}
	return echo
}

// lastTokenRequest returns the last request to the customer's token service.
func lastTokenRequest(t *testing.T, server *agwtest.Server) agwtest.Request {
	t.Helper()
	for _, r := range slices.Backward(server.Requests()) {
		if r.Service == agwtest.ServiceToken {
			return r
		}
	}
	t.Fatal("no request reached the token service")
	return agwtest.Request{}
}

// Detection takes the first flow that has credentials: a customer's file, then a
// customer's variables, then LoB.
func TestDetectionOrder(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	call := func(step, wantFlow string, wantCertificate bool) {
		t.Helper()
		cfg := configFor(server)
		cfg.Tenant = ""
		gw := newGateway(t, cfg)
		if got := gw.Flow(); got != wantFlow {
			t.Fatalf("with %s: detected the flow %q, want %q", step, got, wantFlow)
		}
		if wantFlow != "customer" {
			return
		}
		get(t.Context(), t, gw.Client(), gw.URL("x"))
		if got := lastTokenRequest(t, server).CertificateSerial != ""; got != wantCertificate {
			t.Errorf("with %s: a client certificate was presented: %t, want %t", step, got, wantCertificate)
		}
	}
	setenv(t, server.LoBEnv())
	call("a destination binding", "lob", false)
	setenv(t, server.CustomerEnv())
	call("a destination binding and the customer's variables", "customer", false)
	mountCustomerFile(t, server)
	call("all that and a credentials file", "customer", true)
}

func TestNothingFoundListsAllPlacesInOrder(t *testing.T) {
	t.Setenv("SERVICE_BINDING_ROOT", t.TempDir())
	_, err := agw.New(agw.Config{})
	if !errors.Is(err, flows.ErrNoCredentials) {
		t.Fatalf("got %v, want an ErrNoCredentials", err)
	}
	text, at := err.Error(), 0
	for _, part := range []string{
		"SERVICE_BINDING_ROOT", "INTEGRATION_CLIENT_ID", "INTEGRATION_AUTH_URL", "INTEGRATION_GATEWAY_URL",
		filepath.Join("destination", "default"), "CLOUD_SDK_CFG_DESTINATION_DEFAULT_",
	} {
		i := strings.Index(text[at:], part)
		if i < 0 {
			t.Fatalf("the error does not name %s in its place:\n%s", part, text)
		}
		at += i
	}
	if !strings.Contains(text, "APPFND_CONHOS_LANDSCAPE") {
		t.Errorf("the error does not name APPFND_CONHOS_LANDSCAPE:\n%s", text)
	}
}

// Broken credentials must not make way for others: the program would run under an
// identity that nobody meant it to have.
func TestBrokenCredentialsAreNotPassedOver(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	setenv(t, server.CustomerEnv())
	setenv(t, server.LoBEnv())
	root := mountCustomerFile(t, server)
	if err := agwtest.WriteMount(filepath.Join(root, "agent-gateway"), map[string][]byte{
		"type": []byte("integration-credentials"), "credentials": []byte(`{"clientid":`),
	}); err != nil {
		t.Fatal(err)
	}
	_, err := agw.New(configFor(server))
	if broken := (*tokensource.ConfigError)(nil); !errors.As(err, &broken) || !strings.Contains(broken.Source, root) {
		t.Errorf("a credentials file that is not JSON: got %v, want a ConfigError that names the file below %s", err, root)
	}
}

func TestBadConfigIsRefusedByName(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	mountCustomerFile(t, server)
	setenv(t, server.LoBEnv())
	lobCredentials, err := lob.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field string
		cfg   agw.Config
	}{
		{"Settings.FallbackTTL", agw.Config{Settings: tokensource.Settings{FallbackTTL: 1}}},
		{"Settings.ExpiryBuffer", agw.Config{Credentials: lobCredentials, Settings: tokensource.Settings{ExpiryBuffer: -2}}},
		{"MaxConcurrentRequests", agw.Config{MaxConcurrentRequests: -1}},
		{"MaxConcurrentRequests", agw.Config{Credentials: lobCredentials, MaxConcurrentRequests: -1}},
		{"Tenant", agw.Config{Credentials: lobCredentials, Tenant: "a.b"}},
	} {
		_, err := agw.New(c.cfg)
		if bad := (*tokensource.ConfigError)(nil); !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("a bad %s: got %v, want a ConfigError that names it", c.field, err)
		}
	}
}

func TestCustomer(t *testing.T) {
	server := startServer(t, agwtest.Options{GatewayPath: "/base"})
	mountCustomerFile(t, server)
	gw := newGateway(t, configFor(server))
	alice := tokensource.UserSubject(server.UserToken(agwtest.User{Name: "alice"}))

	echo := get(t.Context(), t, gw.Client(), gw.URL("v1/mcp", "sap.s4:apiAccess:salesOrder:v1", "a/b"))
	if want := "/base/v1/mcp/sap.s4:apiAccess:salesOrder:v1/a%2Fb"; echo.Path != want || echo.User != "" {
		t.Errorf("a call of the system: the gateway saw %s as %q, want %s as nobody", echo.Path, echo.User, want)
	}
	if echo := get(t.Context(), t, gw.ClientFor(alice), gw.URL("/x/")); echo.User != "alice" || echo.Path != "/base/x/" {
		t.Errorf("a call of alice's client: the gateway saw %s as %q, want /base/x/ as alice", echo.Path, echo.User)
	}
	if id, err := gw.ClientID(t.Context()); err != nil || id != server.ClientID() {
		t.Errorf("ClientID: got %q and %v, want %q", id, err, server.ClientID())
	}
	checkEndpoints(t, gw, server.GatewayURL())
}

func TestLoB(t *testing.T) {
	server := startServer(t, agwtest.Options{SecondGateway: []string{"umbrella"}})
	setenv(t, server.LoBEnv())
	cfg := configFor(server)
	cfg.TenantFunc = func(context.Context) (string, error) { return "acme", nil }
	gw := newGateway(t, cfg)

	if echo := get(t.Context(), t, gw.Client(), gw.URL("x")); echo.Tenant != "acme" {
		t.Errorf("a call that names no tenant: the gateway saw tenant %q, want that of TenantFunc, acme", echo.Tenant)
	}
	ctx := tokensource.WithTenant(t.Context(), "umbrella")
	if echo := get(ctx, t, gw.Client(), gw.URL("x")); echo.Tenant != "umbrella" || !strings.HasSuffix(server.TenantGatewayURL("umbrella"), echo.Host) {
		t.Errorf("a call in umbrella: the gateway at %s saw tenant %q, want umbrella at %s", echo.Host, echo.Tenant, server.TenantGatewayURL("umbrella"))
	}
	if id, err := gw.ClientID(t.Context()); err != nil || id == "" {
		t.Errorf("ClientID: got %q and %v, want an id", id, err)
	}
	checkEndpoints(t, gw, server.TenantGatewayURL("acme"))

	server.SetFragments("acme", "agw.mcp.server", "{}")
	if servers, err := gw.MCPServers(t.Context()); err == nil || servers != nil {
		t.Errorf("a response that is not a list: got servers %v and error %v, want an error only", servers, err)
	}
}

// checkEndpoints checks that what gw lists is at the gateway and can be called.
func checkEndpoints(t *testing.T, gw *agw.Gateway, gateway string) {
	t.Helper()
	servers, err := gw.MCPServers(t.Context())
	if err != nil || len(servers) == 0 {
		t.Fatalf("MCPServers: got %v and %v, want some servers", servers, err)
	}
	agents, err := gw.Agents(t.Context())
	if err != nil || len(agents) == 0 {
		t.Fatalf("Agents: got %v and %v, want some agents", agents, err)
	}
	for _, e := range slices.Concat(servers, agents) {
		if e.ORDID == "" || !strings.HasPrefix(e.URL, gateway+"/") {
			t.Errorf("endpoint %+v: want an ORD id and a URL below %s", e, gateway)
		}
		get(t.Context(), t, gw.Client(), e.URL)
	}
	if card := agents[0].CardURL; card != agents[0].URL+"/.well-known/agent-card.json" {
		t.Errorf("the card of the agent at %s is at %s", agents[0].URL, card)
	}
	if card := servers[0].CardURL; card != "" {
		t.Errorf("an MCP server has a card at %s, want none", card)
	}
}

func TestLoBWithoutTenantSendsNothing(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	setenv(t, server.LoBEnv())
	gw := newGateway(t, configFor(server))
	if _, err := gw.Client().Get(gw.URL("x")); !errors.Is(err, lob.ErrNoTenant) {
		t.Errorf("a call without a tenant: got %v, want lob.ErrNoTenant", err)
	}
	if n := server.Counts().Services(); n != 0 {
		t.Errorf("%d requests were sent for a call without a tenant, want none", n)
	}
}

func TestRequireUser(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	mountCustomerFile(t, server)
	cfg := configFor(server)
	cfg.RequireUser = true
	gw := newGateway(t, cfg)
	if _, err := gw.Client().Get(gw.URL("x")); !errors.Is(err, tokensource.ErrNoUserToken) {
		t.Errorf("a call without a user under RequireUser: got %v, want ErrNoUserToken", err)
	}
}

func TestDependenciesOfOnesOwn(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	mountCustomerFile(t, server)
	cfg := configFor(server)
	cfg.Dependencies = func(context.Context) ([]flows.Dependency, error) {
		return []flows.Dependency{{ORDID: "own:ns:thing:v1", GlobalTenantID: "t"}}, nil
	}
	want := server.GatewayURL() + "/v1/mcp/own:ns:thing:v1/t"
	servers, err := newGateway(t, cfg).MCPServers(t.Context())
	if err != nil || len(servers) != 1 || servers[0].URL != want {
		t.Errorf("got %+v and %v, want the one of Config.Dependencies, %s", servers, err, want)
	}
}

func TestClientsShareConnectionsAndTokens(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	mountCustomerFile(t, server)
	gw := newGateway(t, agw.Config{RootCAs: server.RootCAs()})
	for range 5 {
		client := gw.Client()
		if client.Timeout != 0 {
			t.Errorf("the client has a timeout of %v, which would cut streams", client.Timeout)
		}
		get(t.Context(), t, client, gw.URL("x"))
	}
	if n := server.Counts().Token; n != 1 {
		t.Errorf("five clients caused %d token requests, want 1", n)
	}
	if n := server.Gateway.Meter().Connections; n != 1 {
		t.Errorf("five clients opened %d connections to the gateway, want 1", n)
	}
}

func TestForgetAndPurge(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	setenv(t, server.LoBEnv())
	cfg := configFor(server)
	cfg.Tenant = "acme"
	gw := newGateway(t, cfg)
	alice := tokensource.UserSubject(server.UserToken(agwtest.User{Name: "alice", Tenant: "acme"})).In("acme")
	client := gw.ClientFor(alice)
	expectRequests := func(when string, want int) {
		t.Helper()
		server.ResetCounts()
		get(t.Context(), t, client, gw.URL("x"))
		if got := server.Counts().Services(); got != want {
			t.Errorf("%s: a call of alice's caused %d requests to services, want %d", when, got, want)
		}
	}
	expectRequests("first", 3)
	expectRequests("again", 0)
	if err := gw.Forget(alice); err != nil {
		t.Error(err)
	}
	if err := gw.Forget(tokensource.SystemSubject().In("a.b")); err == nil {
		t.Error("Forget accepted a tenant that is not a DNS label")
	}
	expectRequests("after Forget", 1)
	gw.Purge()
	expectRequests("after Purge", 3)
}

// Credentials that are given do not depend on the environment, so that one program can be
// several agents.
func TestGivenCredentials(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	mountCustomerFile(t, server)
	setenv(t, server.LoBEnv())
	fromFile, err := customer.Load()
	if err != nil {
		t.Fatal(err)
	}
	fromBinding, err := lob.Load()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SERVICE_BINDING_ROOT", t.TempDir())
	t.Setenv("APPFND_CONHOS_LANDSCAPE", "")

	for _, c := range []struct {
		flow, tenant string
		credentials  flows.Credentials
	}{
		{"customer", "", fromFile},
		{"lob", "acme", fromBinding},
	} {
		cfg := configFor(server)
		cfg.Credentials, cfg.Tenant = c.credentials, c.tenant
		gw := newGateway(t, cfg)
		if gw.Flow() != c.flow {
			t.Errorf("with credentials of %s: the flow is %s", c.flow, gw.Flow())
		}
		if echo := get(t.Context(), t, gw.Client(), gw.URL("x")); c.tenant != "" && echo.Tenant != c.tenant {
			t.Errorf("with credentials of %s: the gateway saw tenant %q, want %q", c.flow, echo.Tenant, c.tenant)
		}
	}
}

// tokenFile is a flow of a user's own: tokens that something else writes to a file.
type tokenFile struct{ identity tokensource.Identity }

func (f *tokenFile) NewFlow(flows.Options) (flows.Flow, error)            { return f, nil }
func (f *tokenFile) Identity() *tokensource.Identity                      { return &f.identity }
func (f *tokenFile) Tenant(context.Context, string) (string, error)       { return "", nil }
func (f *tokenFile) ClientID(context.Context) (string, error)             { return "own", nil }
func (f *tokenFile) MCPServers(context.Context) ([]flows.Endpoint, error) { return nil, nil }
func (f *tokenFile) Agents(context.Context) ([]flows.Endpoint, error)     { return nil, nil }
func (f *tokenFile) Purge()                                               {}
func (f *tokenFile) CloseIdleConnections()                                {}

func (f *tokenFile) Fetch(context.Context, tokensource.Subject) (*tokensource.Response, error) {
	return &tokensource.Response{AccessToken: "from-a-file", ExpiresIn: []byte("60")}, nil
}

func TestFlowOfOnesOwn(t *testing.T) {
	gateway, err := tokensource.ParseGatewayURL("https://gateway.example")
	if err != nil {
		t.Fatal(err)
	}
	own := &tokenFile{tokensource.Identity{Flow: "file", GatewayURL: gateway}}
	gw := newGateway(t, agw.Config{Credentials: own})
	if gw.Flow() != "file" {
		t.Errorf("the flow is %q, want that of the given credentials, file", gw.Flow())
	}
	token, err := gw.Source().Token()
	if err != nil || token.AccessToken != "from-a-file" || time.Until(token.Expiry) <= 0 {
		t.Errorf("got token %v and %v, want that of the flow", token, err)
	}
}
