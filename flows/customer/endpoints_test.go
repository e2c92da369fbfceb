package customer_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for gateway, want := range map[string]struct{ mcp, a2a string }{
		"https://g.example":               {"https://g.example/v1/mcp/", "https://g.example/v1/a2a/"},
		"https://g.example/":              {"https://g.example/v1/mcp/", "https://g.example/v1/a2a/"},
		"https://g.example:8443/base//":   {"https://g.example:8443/base/v1/mcp/", "https://g.example:8443/base/v1/a2a/"},
		"https://g.example/v1/mcp":        {"https://g.example/v1/mcp/", "https://g.example/v1/mcp/v1/a2a/"},
		"https://g.example/v1/mcp/":       {"https://g.example/v1/mcp/", "https://g.example/v1/mcp/v1/a2a/"},
		"https://g.example/b/v1/mcp/more": {"https://g.example/b/v1/mcp/more/", "https://g.example/b/v1/mcp/more/v1/a2a/"},
		"https://g.example/v1/mcps":       {"https://g.example/v1/mcps/v1/mcp/", "https://g.example/v1/mcps/v1/a2a/"},
		"https://g.example/a%2Fb":         {"https://g.example/a%2Fb/v1/mcp/", "https://g.example/a%2Fb/v1/a2a/"},
	} {
		flow := newFlow(t, parseWith(t, map[string]any{"gatewayUrl": gateway}), flows.Options{})
		server := flows.Endpoint{ORDID: ordID, TenantID: "tenant-1", URL: want.mcp + ordID + "/tenant-1"}
		if servers, err := flow.MCPServers(t.Context()); err != nil || len(servers) != 1 || servers[0] != server {
			t.Errorf("gateway %s: got MCP servers %+v and error %v, want %+v", gateway, servers, err, server)
		}
		agent := server
		agent.URL = want.a2a + ordID + "/tenant-1"
		agent.CardURL = agent.URL + "/.well-known/agent-card.json"
		if agents, err := flow.Agents(t.Context()); err != nil || len(agents) != 1 || agents[0] != agent {
			t.Errorf("gateway %s: got agents %+v and error %v, want %+v", gateway, agents, err, agent)
		}
	}
}

// assertTwoSegmentsBelow fails unless raw is the URL of two segments below prefix: the
// ids of d.
func assertTwoSegmentsBelow(t *testing.T, raw, prefix string, d flows.Dependency) {
	t.Helper()
	rest, ok := strings.CutPrefix(raw, prefix)
	segments := strings.Split(rest, "/")
	u, err := url.Parse(raw)
	if !ok || err != nil || len(segments) != 2 || u.RawQuery != "" || u.Fragment != "" {
		t.Fatalf("%q is not a URL of two segments below %q (%v)", raw, prefix, err)
	}
	for i, want := range []string{d.ORDID, d.GlobalTenantID} {
		if got, err := url.PathUnescape(segments[i]); err != nil || got != want {
			t.Fatalf("segment %d of %q is %q, want %q", i, raw, got, want)
		}
	}
}

func TestIDsAreEscaped(t *testing.T) {
	t.Parallel()
	d := flows.Dependency{ORDID: "a/b?c#d e%2F..", GlobalTenantID: "../ü"}
	creds := &customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Dependencies: []flows.Dependency{d}}
	flow := newFlow(t, creds, flows.Options{})
	assertTwoSegmentsBelow(t, must(flow.MCPServers(t.Context()))(t)[0].URL, gatewayURL+"/v1/mcp/", d)
	assertTwoSegmentsBelow(t, must(flow.Agents(t.Context()))(t)[0].URL, gatewayURL+"/v1/a2a/", d)
}

func TestDependenciesOfTheCredentials(t *testing.T) {
	t.Parallel()
	creds := customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Source: "my vault"}
	flow := newFlow(t, &creds, flows.Options{})
	for name, list := range map[string]func(context.Context) ([]flows.Endpoint, error){"MCPServers": flow.MCPServers, "Agents": flow.Agents} {
		endpoints, err := list(t.Context())
		assertConfigError(t, name+" without dependencies", err, "my vault", "Dependencies", "missing")
		if endpoints != nil {
			t.Errorf("%s without dependencies: got %v together with the error, want nil", name, endpoints)
		}
	}
	creds.Dependencies = []flows.Dependency{}
	if e, err := newFlow(t, &creds, flows.Options{}).MCPServers(t.Context()); err != nil || e == nil || len(e) != 0 {
		t.Errorf("an empty list of dependencies: got %#v and error %v, want an empty slice", e, err)
	}
}

func TestDependenciesThatAreResolved(t *testing.T) {
	t.Parallel()
	type key struct{}
	noRegistry := errors.New("no registry")
	var resolved []flows.Dependency
	opts := flows.Options{Dependencies: func(ctx context.Context) ([]flows.Dependency, error) {
		if ctx.Value(key{}) == nil {
			return nil, noRegistry
		}
		return resolved, nil
	}}
	flow := newFlow(t, parseWith(t, nil), opts) // whose own dependencies do not count
	if _, err := flow.MCPServers(t.Context()); !errors.Is(err, noRegistry) {
		t.Errorf("got error %v, want that of the function", err)
	}
	ctx := context.WithValue(t.Context(), key{}, true)
	if e, err := flow.MCPServers(ctx); err != nil || e == nil || len(e) != 0 {
		t.Errorf("the function returned nil: got %#v and error %v, want an empty slice", e, err)
	}
	resolved = []flows.Dependency{{ORDID: "a", GlobalTenantID: "b"}}
	if e, err := flow.Agents(ctx); err != nil || len(e) != 1 || e[0].URL != gatewayURL+"/v1/a2a/a/b" {
		t.Errorf("got %v and error %v, want what the function returned", e, err)
	}
	resolved = []flows.Dependency{{ORDID: "a", GlobalTenantID: "."}}
	_, err := flow.MCPServers(ctx)
	assertConfigError(t, "an id that cannot be used", err, "", "Dependencies()[0].GlobalTenantID", "not a segment")
}

type secretValue struct{ key string }

// A function of the user's is to harm one call at most.
func TestDependenciesFunctionThatPanics(t *testing.T) {
	t.Parallel()
	var value any
	opts := flows.Options{Dependencies: func(context.Context) ([]flows.Dependency, error) { panic(value) }}
	flow := newFlow(t, parseWith(t, nil), opts)
	for want, v := range map[string]any{
		"string":                    "hidden",
		"customer_test.secretValue": secretValue{"hidden"},
		"*errors.errorString":       errors.New("hidden"),
		"*runtime.PanicNilError":    nil,
	} {
		value = v
		for name, list := range map[string]func(context.Context) ([]flows.Endpoint, error){"MCPServers": flow.MCPServers, "Agents": flow.Agents} {
			endpoints, err := list(t.Context())
			assertConfigError(t, name+", panic with "+want, err, "", "Dependencies", "the function panicked with a "+want)
			if endpoints != nil {
				t.Errorf("%s, panic with %s: got %v along with the error, want nil", name, want, endpoints)
			}
		}
	}
}
