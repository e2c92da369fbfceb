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

	"go.uber.org/goleak"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

func TestMain(m *testing.M) {
	clearEnvironment()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		os.Exit(code)
	}))
}

// clearEnvironment removes what detection looks at, should this machine have it.
func clearEnvironment() {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if name == "SERVICE_BINDING_ROOT" || name == "APPFND_CONHOS_LANDSCAPE" ||
			strings.HasPrefix(name, "INTEGRATION_") || strings.HasPrefix(name, "CLOUD_SDK_CFG_") {
			os.Unsetenv(name)
		}
	}
}

func start(t *testing.T, opts agwtest.Options) *agwtest.Server {
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

// mount puts the customer's credentials file where detection finds it.
func mount(t *testing.T, server *agwtest.Server) string {
	t.Helper()
	root := t.TempDir()
	if err := server.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SERVICE_BINDING_ROOT", root)
	return root
}

// config is one for the test double: its authority, and its host names.
func config(server *agwtest.Server) agw.Config {
	return agw.Config{
		RootCAs:          server.RootCAs(),
		ServiceTransport: server.Transport(),
		Transport:        transport.Options{Base: server.Transport()},
	}
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
		t.Fatal(resp.Status, err)
	}
	return echo
}

func TestDetectionOrder(t *testing.T) {
	server := start(t, agwtest.Options{})
	setenv(t, server.LoBEnv())
	if got := newGateway(t, config(server)).Flow(); got != agw.LoB {
		t.Errorf("with a destination binding only: %s", got)
	}
	setenv(t, server.CustomerEnv())
	gw := newGateway(t, config(server))
	if got := gw.Flow(); got != agw.Customer {
		t.Errorf("with the customer's variables as well: %s", got)
	}
	get(t.Context(), t, gw.Client(), gw.URL("x"))
	if last := last(server.Requests(), agwtest.ServiceToken); last.CertificateSerial != "" {
		t.Error("the variables led to a client certificate")
	}
	mount(t, server)
	gw = newGateway(t, config(server))
	get(t.Context(), t, gw.Client(), gw.URL("x"))
	if last := last(server.Requests(), agwtest.ServiceToken); last.CertificateSerial == "" {
		t.Error("with a credentials file as well, the file was not used")
	}
}

// last returns the last request to a service.
func last(requests []agwtest.Request, service string) agwtest.Request {
	for _, r := range slices.Backward(requests) {
		if r.Service == service {
			return r
		}
	}
	return agwtest.Request{}
}

func TestNothingFound(t *testing.T) {
	t.Setenv("SERVICE_BINDING_ROOT", t.TempDir())
	_, err := agw.New(agw.Config{})
	if !errors.Is(err, tokensource.ErrNoCredentials) {
		t.Fatalf("got %v", err)
	}
	at := -1
	for _, part := range []string{
		"SERVICE_BINDING_ROOT", "INTEGRATION_CLIENT_ID", "INTEGRATION_AUTH_URL", "INTEGRATION_GATEWAY_URL",
		filepath.Join("destination", "default"), "CLOUD_SDK_CFG_DESTINATION_DEFAULT_", "APPFND_CONHOS_LANDSCAPE",
	} {
		i := strings.Index(err.Error(), part)
		if i <= at {
			t.Errorf("%s is not named, or not in its place, in: %v", part, err)
		}
		at = i
	}
}

// Broken credentials must not make way for others: the program would run under an
// identity that nobody meant it to have.
func TestBrokenCredentialsAreNotPassedOver(t *testing.T) {
	server := start(t, agwtest.Options{})
	setenv(t, server.CustomerEnv())
	setenv(t, server.LoBEnv())
	root := mount(t, server)
	if err := agwtest.WriteMount(filepath.Join(root, agwtest.BindingName), map[string][]byte{
		"type": []byte("integration-credentials"), "credentials": []byte(`{"clientid":`),
	}); err != nil {
		t.Fatal(err)
	}
	_, err := agw.New(config(server))
	if broken := (*customer.ConfigError)(nil); !errors.As(err, &broken) || !strings.Contains(broken.Source, root) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func TestBadConfig(t *testing.T) {
	server := start(t, agwtest.Options{})
	mount(t, server)
	setenv(t, server.LoBEnv())
	for name, cfg := range map[string]agw.Config{
		"Flow":                  {Flow: "other"},
		"FallbackTTL":           {Settings: cache.Settings{FallbackTTL: 1}},
		"ExpiryBuffer":          {Flow: agw.LoB, Settings: cache.Settings{ExpiryBuffer: -2}},
		"both":                  {CustomerCredentials: new(customer.Credentials), LoBCredentials: new(lob.Credentials)},
		"other flow":            {Flow: agw.LoB, CustomerCredentials: new(customer.Credentials)},
		"MaxConcurrentRequests": {MaxConcurrentRequests: -1},
		"Tenant":                {Flow: agw.LoB, Tenant: "a.b"},
	} {
		if _, err := agw.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCustomer(t *testing.T) {
	server := start(t, agwtest.Options{GatewayPath: "/base"})
	mount(t, server)
	gw := newGateway(t, config(server))
	alice := tokensource.Subject{UserToken: server.UserToken(agwtest.User{Name: "alice"})}

	echo := get(t.Context(), t, gw.Client(), gw.URL("v1/mcp", "sap.s4:apiAccess:salesOrder:v1", "a/b"))
	if want := "/base/v1/mcp/sap.s4:apiAccess:salesOrder:v1/a%2Fb"; echo.Path != want || echo.User != "" {
		t.Errorf("the gateway saw %s as %q, want %s as nobody", echo.Path, echo.User, want)
	}
	if echo := get(t.Context(), t, gw.ClientFor(alice), gw.URL("/x/")); echo.User != "alice" || echo.Path != "/base/x/" {
		t.Errorf("the gateway saw %s as %q", echo.Path, echo.User)
	}
	if id, err := gw.ClientID(t.Context()); err != nil || id != server.ClientID() {
		t.Errorf("client id %q, %v", id, err)
	}
	checkEndpoints(t, gw, server.GatewayURL())
}

func TestLoB(t *testing.T) {
	server := start(t, agwtest.Options{SecondGateway: []string{"umbrella"}})
	setenv(t, server.LoBEnv())
	cfg := config(server)
	cfg.TenantFunc = func(context.Context) (string, error) { return "acme", nil }
	gw := newGateway(t, cfg)

	if echo := get(t.Context(), t, gw.Client(), gw.URL("x")); echo.Tenant != "acme" {
		t.Errorf("the gateway saw tenant %q", echo.Tenant)
	}
	ctx := tokensource.WithTenant(t.Context(), "umbrella")
	if echo := get(ctx, t, gw.Client(), gw.URL("x")); echo.Tenant != "umbrella" || !strings.HasSuffix(server.TenantGatewayURL("umbrella"), echo.Host) {
		t.Errorf("the gateway at %s saw tenant %q", echo.Host, echo.Tenant)
	}
	if id, err := gw.ClientID(t.Context()); err != nil || id == "" {
		t.Errorf("client id %q, %v", id, err)
	}
	checkEndpoints(t, gw, server.TenantGatewayURL("acme"))

	server.SetRawFragments("acme", agwtest.LabelMCP, "{}")
	if servers, err := gw.MCPServers(t.Context()); err == nil || servers != nil {
		t.Errorf("got %v, %v for a list that is none", servers, err)
	}
}

// checkEndpoints checks that what gw lists is at the gateway and can be called.
func checkEndpoints(t *testing.T, gw *agw.Gateway, gateway string) {
	t.Helper()
	servers, err := gw.MCPServers(t.Context())
	if err != nil || len(servers) == 0 {
		t.Fatalf("MCP servers: %v, %v", servers, err)
	}
	agents, err := gw.Agents(t.Context())
	if err != nil || len(agents) == 0 {
		t.Fatalf("agents: %v, %v", agents, err)
	}
	for _, e := range slices.Concat(servers, agents) {
		if e.ORDID == "" || !strings.HasPrefix(e.URL, gateway+"/") {
			t.Errorf("endpoint %+v", e)
		}
		get(t.Context(), t, gw.Client(), e.URL)
	}
	if card := agents[0].CardURL; card != agents[0].URL+"/.well-known/agent-card.json" {
		t.Errorf("card at %s", card)
	}
	if card := servers[0].CardURL; card != "" {
		t.Errorf("an MCP server has a card at %s", card)
	}
}

func TestLoBWithoutTenant(t *testing.T) {
	server := start(t, agwtest.Options{})
	setenv(t, server.LoBEnv())
	gw := newGateway(t, config(server))
	if _, err := gw.Client().Get(gw.URL("x")); !errors.Is(err, lob.ErrNoTenant) {
		t.Errorf("got %v", err)
	}
	if n := server.Counts().Services(); n != 0 {
		t.Errorf("%d requests were sent without a tenant", n)
	}
}

func TestRequireUser(t *testing.T) {
	server := start(t, agwtest.Options{})
	mount(t, server)
	cfg := config(server)
	cfg.RequireUser = true
	gw := newGateway(t, cfg)
	if _, err := gw.Client().Get(gw.URL("x")); !errors.Is(err, tokensource.ErrNoUserToken) {
		t.Errorf("got %v", err)
	}
}

func TestOwnDependencies(t *testing.T) {
	server := start(t, agwtest.Options{})
	mount(t, server)
	cfg := config(server)
	cfg.Dependencies = func(context.Context) ([]customer.Dependency, error) {
		return []customer.Dependency{{ORDID: "own:ns:thing:v1", GlobalTenantID: "t"}}, nil
	}
	servers, err := newGateway(t, cfg).MCPServers(t.Context())
	if err != nil || len(servers) != 1 || servers[0].URL != server.GatewayURL()+"/v1/mcp/own:ns:thing:v1/t" {
		t.Errorf("got %+v, %v", servers, err)
	}
}

func TestClientsShareConnectionsAndTokens(t *testing.T) {
	server := start(t, agwtest.Options{})
	mount(t, server)
	gw := newGateway(t, agw.Config{RootCAs: server.RootCAs()})
	for range 5 {
		client := gw.Client()
		if client.Timeout != 0 {
			t.Errorf("the client has a timeout of %v", client.Timeout)
		}
		get(t.Context(), t, client, gw.URL("x"))
	}
	if n := server.Counts().Token; n != 1 {
		t.Errorf("%d token requests", n)
	}
	if n := server.Gateway.Meter().Connections; n != 1 {
		t.Errorf("%d connections to the gateway", n)
	}
}

func TestForgetAndPurge(t *testing.T) {
	server := start(t, agwtest.Options{})
	setenv(t, server.LoBEnv())
	cfg := config(server)
	cfg.Tenant = "acme"
	gw := newGateway(t, cfg)
	alice := tokensource.Subject{Tenant: "acme", UserToken: server.UserToken(agwtest.User{Name: "alice", Tenant: "acme"})}
	client := gw.ClientFor(alice)
	spent := func() int {
		server.ResetCounts()
		get(t.Context(), t, client, gw.URL("x"))
		return server.Counts().Services()
	}
	if n := spent(); n != 3 {
		t.Errorf("%d requests for the first call", n)
	}
	if n := spent(); n != 0 {
		t.Errorf("%d requests for the next one", n)
	}
	if err := gw.Forget(alice); err != nil {
		t.Error(err)
	}
	if err := gw.Forget(tokensource.Subject{Tenant: "a.b"}); err == nil {
		t.Error("a subject that cannot be was forgotten")
	}
	if n := spent(); n != 1 {
		t.Errorf("%d requests after the user was forgotten", n)
	}
	gw.Purge()
	if n := spent(); n != 3 {
		t.Errorf("%d requests after everything was dropped", n)
	}
}

// Credentials that are given do not depend on the environment, so that one program
// can be several agents.
func TestGivenCredentials(t *testing.T) {
	server := start(t, agwtest.Options{})
	mount(t, server)
	setenv(t, server.LoBEnv())
	fromFile, err := customer.Load()
	if err != nil {
		t.Fatal(err)
	}
	fromEnv, err := lob.Load()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SERVICE_BINDING_ROOT", t.TempDir())
	t.Setenv("APPFND_CONHOS_LANDSCAPE", "")

	cfg := config(server)
	cfg.CustomerCredentials = fromFile
	gw := newGateway(t, cfg)
	if get(t.Context(), t, gw.Client(), gw.URL("x")); gw.Flow() != agw.Customer {
		t.Errorf("the flow is %s", gw.Flow())
	}
	cfg = config(server)
	cfg.LoBCredentials, cfg.Tenant = fromEnv, "acme"
	gw = newGateway(t, cfg)
	if echo := get(t.Context(), t, gw.Client(), gw.URL("x")); gw.Flow() != agw.LoB || echo.Tenant != "acme" {
		t.Errorf("the flow is %s, the tenant %q", gw.Flow(), echo.Tenant)
	}
}

func TestGatewayOverPlainHTTP(t *testing.T) {
	server := start(t, agwtest.Options{})
	setenv(t, server.CustomerEnv())
	t.Setenv("INTEGRATION_GATEWAY_URL", "http://gateway.example")
	if _, err := agw.New(agw.Config{}); !errors.Is(err, tokensource.ErrInsecureURL) || !strings.Contains(err.Error(), "gateway.example") {
		t.Errorf("got %v", err)
	}
	newGateway(t, agw.Config{DangerouslyAllowPlainHTTP: true})
	newGateway(t, agw.Config{Transport: transport.Options{DangerouslyAllowPlainHTTP: true}})
}
