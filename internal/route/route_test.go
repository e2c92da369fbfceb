package route_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/route"
)

const (
	ordID  = "sap.s4:apiAccess:salesOrder:v1"
	tenant = "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001"
)

func mustURL(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestMCPAndAgent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, gateway, mcp, agent string }{
		{"no path", "https://g.example", "https://g.example/v1/mcp/", "https://g.example/v1/a2a/"},
		{"a slash", "https://g.example/", "https://g.example/v1/mcp/", "https://g.example/v1/a2a/"},
		{"a port and a path with slashes", "https://g.example:8443/base//", "https://g.example:8443/base/v1/mcp/", "https://g.example:8443/base/v1/a2a/"},
		{"v1/mcp", "https://g.example/v1/mcp", "https://g.example/v1/mcp/", "https://g.example/v1/mcp/v1/a2a/"},
		{"v1/mcp with a slash", "https://g.example/v1/mcp/", "https://g.example/v1/mcp/", "https://g.example/v1/mcp/v1/a2a/"},
		{"v1/mcp and more", "https://g.example/b/v1/mcp/more", "https://g.example/b/v1/mcp/more/", "https://g.example/b/v1/mcp/more/v1/a2a/"},
		{"v1/mcp is not a segment", "https://g.example/v1/mcps", "https://g.example/v1/mcps/v1/mcp/", "https://g.example/v1/mcps/v1/a2a/"},
		{"an escaped path", "https://g.example/a%2Fb", "https://g.example/a%2Fb/v1/mcp/", "https://g.example/a%2Fb/v1/a2a/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gateway := mustURL(t, test.gateway)
			if got, want := route.MCP(gateway, ordID, tenant), test.mcp+ordID+"/"+tenant; got != want {
				t.Errorf("MCP:\n got %s\nwant %s", got, want)
			}
			if got, want := route.Agent(gateway, ordID, tenant), test.agent+ordID+"/"+tenant; got != want {
				t.Errorf("Agent:\n got %s\nwant %s", got, want)
			}
			if gateway.String() != test.gateway {
				t.Errorf("the gateway's URL was modified: it is %s now", gateway)
			}
		})
	}
}

// A caller who spells out the path of an MCP server or an agent, with the placeholder,
// gets to the same URL.
func TestMCPAndAgentAgreeWithJoin(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"https://g.example", "https://g.example:8443/base", "https://g.example/v1/mcp", "https://g.example/b/v1/mcp/more", "https://g.example/a%2Fb",
	} {
		gateway := mustURL(t, raw)
		for prefix, endpoint := range map[string]string{
			"/v1/mcp/": route.MCP(gateway, ordID, tenant),
			"/v1/a2a/": route.Agent(gateway, ordID, tenant),
		} {
			joined, err := route.Join(gateway, mustURL(t, "https://agent-gateway.invalid"+prefix+ordID+"/"+tenant))
			if err != nil || joined.String() != endpoint {
				t.Errorf("gateway %s: a request for %s... goes to %v (error %v), the endpoint is at %s", raw, prefix, joined, err, endpoint)
			}
			if joined, err := route.Join(gateway, mustURL(t, endpoint)); err != nil || joined.String() != endpoint {
				t.Errorf("gateway %s: a request for %s goes to %v (error %v)", raw, endpoint, joined, err)
			}
		}
	}
}

func FuzzIDsAreEscaped(f *testing.F) {
	f.Add(ordID, tenant)
	f.Add("a/b?c#d e%2F..", "../ü")
	f.Add("%", ";=&:@")
	f.Fuzz(func(t *testing.T, ordID, tenant string) {
		gateway := mustURL(t, "https://g.example/base")
		for prefix, raw := range map[string]string{
			"https://g.example/base/v1/mcp/": route.MCP(gateway, ordID, tenant),
			"https://g.example/base/v1/a2a/": route.Agent(gateway, ordID, tenant),
		} {
			rest, ok := strings.CutPrefix(raw, prefix)
			segments := strings.Split(rest, "/")
			u, err := url.Parse(raw)
			if !ok || err != nil || len(segments) != 2 || u.RawQuery != "" || u.Fragment != "" {
				t.Fatalf("%q is not two segments below %q (error %v)", raw, prefix, err)
			}
			for i, want := range []string{ordID, tenant} {
				if got, err := url.PathUnescape(segments[i]); err != nil || got != want {
					t.Fatalf("segment %d of %q is %q (error %v), want %q", i, raw, got, err, want)
				}
			}
		}
	})
}

func TestCard(t *testing.T) {
	t.Parallel()
	const card = "/.well-known/agent-card.json"
	for _, test := range []struct{ name, agent, want string }{
		{"an agent's URL", "https://g.example/v1/a2a/o/t", "https://g.example/v1/a2a/o/t" + card},
		{"a slash at the end", "https://g.example/v1/a2a/o/t/", "https://g.example/v1/a2a/o/t" + card},
		{"more than one slash", "https://g.example/a//", "https://g.example/a" + card},
		{"no path", "https://g.example", "https://g.example" + card},
		{"a path of a slash", "https://g.example/", "https://g.example" + card},
		{"a query", "https://g.example/a?sap-client=100", "https://g.example/a" + card + "?sap-client=100"},
		{"a slash and a query", "https://g.example/a/?b=c/", "https://g.example/a" + card + "?b=c/"},
		{"a query without a path", "https://g.example?b=c", "https://g.example" + card + "?b=c"},
		{"a fragment", "https://g.example/a/#b?c", "https://g.example/a" + card + "#b?c"},
		{"an escaped path", "https://g.example/a%2F%3F/", "https://g.example/a%2F%3F" + card},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := route.Card(test.agent)
			if got != test.want {
				t.Errorf("the card of %s:\n got %s\nwant %s", test.agent, got, test.want)
			}
			if query := mustURL(t, got).RawQuery; query != mustURL(t, test.agent).RawQuery {
				t.Errorf("the card of %s has the query %q", test.agent, query)
			}
		})
	}
}

func TestIsRelative(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"/v1/mcp":                               true,
		"v1/mcp":                                true,
		"":                                      true,
		"?query":                                true,
		"https://agent-gateway.invalid":         true,
		"https://agent-gateway.invalid:443/x":   true,
		"HTTPS://AGENT-GATEWAY.invalid/x":       true,
		"https://agent-gateway.invalid:8443/x":  false,
		"http://agent-gateway.invalid/x":        false,
		"//agent-gateway.invalid/x":             false,
		"https://x.agent-gateway.invalid/":      false,
		"https://agent-gateway.invalid.example": false,
		"https://gw.example/x":                  false,
		"https:/x":                              false,
		"sap.s4:apiAccess:order:v1":             false,
	} {
		if got := route.IsRelative(mustURL(t, raw)); got != want {
			t.Errorf("IsRelative(%q) is %v, want %v", raw, got, want)
		}
	}
}
