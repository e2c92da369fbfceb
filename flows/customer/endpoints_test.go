package customer_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows/customer"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for gateway, want := range map[string][2]string{
		"https://g.example":               {"https://g.example/v1/mcp/", "https://g.example/v1/a2a/"},
		"https://g.example/":              {"https://g.example/v1/mcp/", "https://g.example/v1/a2a/"},
		"https://g.example:8443/base//":   {"https://g.example:8443/base/v1/mcp/", "https://g.example:8443/base/v1/a2a/"},
		"https://g.example/v1/mcp":        {"https://g.example/v1/mcp/", "https://g.example/v1/mcp/v1/a2a/"},
		"https://g.example/v1/mcp/":       {"https://g.example/v1/mcp/", "https://g.example/v1/mcp/v1/a2a/"},
		"https://g.example/b/v1/mcp/more": {"https://g.example/b/v1/mcp/more/", "https://g.example/b/v1/mcp/more/v1/a2a/"},
		"https://g.example/v1/mcps":       {"https://g.example/v1/mcps/v1/mcp/", "https://g.example/v1/mcps/v1/a2a/"},
		"https://g.example/a%2Fb":         {"https://g.example/a%2Fb/v1/mcp/", "https://g.example/a%2Fb/v1/a2a/"},
	} {
		flow := must(customer.NewFlow(parsed(t, map[string]any{"gatewayUrl": gateway}), nil))(t)
		servers, agents := must(flow.MCPServers(t.Context()))(t), must(flow.Agents(t.Context()))(t)
		server := customer.Endpoint{Name: ordID, ORDID: ordID, TenantID: "tenant-1", URL: want[0] + ordID + "/tenant-1"}
		if len(servers) != 1 || servers[0] != server {
			t.Errorf("%s: %+v", gateway, servers)
		}
		agent := server
		agent.URL = want[1] + ordID + "/tenant-1"
		agent.CardURL = agent.URL + "/.well-known/agent-card.json"
		if len(agents) != 1 || agents[0] != agent {
			t.Errorf("%s: %+v", gateway, agents)
		}
	}
}

// checkBelow checks that raw is a URL of two segments below prefix: those of d.
func checkBelow(t *testing.T, raw, prefix string, d customer.Dependency) {
	t.Helper()
	rest, ok := strings.CutPrefix(raw, prefix)
	segments := strings.Split(rest, "/")
	u, err := url.Parse(raw)
	if !ok || err != nil || len(segments) != 2 || u.RawQuery != "" || u.Fragment != "" {
		t.Fatalf("%q is not two segments below %q: %v", raw, prefix, err)
	}
	for i, want := range []string{d.ORDID, d.GlobalTenantID} {
		if got, err := url.PathUnescape(segments[i]); err != nil || got != want {
			t.Fatalf("%q has %q, want %q", raw, got, want)
		}
	}
}

func TestEndpointsAreEscaped(t *testing.T) {
	t.Parallel()
	d := customer.Dependency{ORDID: "a/b?c#d e%2F..", GlobalTenantID: "../ü"}
	creds := &customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Dependencies: []customer.Dependency{d}}
	flow := must(customer.NewFlow(creds, nil))(t)
	checkBelow(t, must(flow.MCPServers(t.Context()))(t)[0].URL, gatewayURL+"/v1/mcp/", d)
	checkBelow(t, must(flow.Agents(t.Context()))(t)[0].URL, gatewayURL+"/v1/a2a/", d)
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	type key struct{}
	creds := customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Source: "my vault"}
	_, err := must(customer.NewFlow(&creds, nil))(t).MCPServers(t.Context())
	checkConfigError(t, err, "my vault", "Dependencies", "missing")

	creds.Dependencies = []customer.Dependency{}
	if e, err := must(customer.NewFlow(&creds, nil))(t).MCPServers(t.Context()); err != nil || len(e) != 0 {
		t.Errorf("none: %v, %v", e, err)
	}

	failed := errors.New("no registry")
	var resolved []customer.Dependency
	resolve := func(ctx context.Context) ([]customer.Dependency, error) {
		if ctx.Value(key{}) == nil {
			return nil, failed
		}
		return resolved, nil
	}
	flow := must(customer.NewFlow(&creds, &customer.Options{Dependencies: resolve}))(t)
	if _, err := flow.MCPServers(t.Context()); !errors.Is(err, failed) {
		t.Error(err)
	}
	ctx := context.WithValue(t.Context(), key{}, true)
	resolved = []customer.Dependency{{ORDID: "a", GlobalTenantID: "b"}}
	if e, err := flow.Agents(ctx); err != nil || len(e) != 1 || e[0].URL != gatewayURL+"/v1/a2a/a/b" {
		t.Errorf("%v, %v", e, err)
	}
	resolved = []customer.Dependency{{ORDID: "a", GlobalTenantID: "."}}
	_, err = flow.MCPServers(ctx)
	checkConfigError(t, err, "Options.Dependencies", "Dependencies[0].globalTenantId", "not a segment")
}
