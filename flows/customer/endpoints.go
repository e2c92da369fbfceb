package customer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	mcpPath  = "/v1/mcp"
	a2aPath  = "/v1/a2a"
	cardPath = "/.well-known/agent-card.json"
)

// An Endpoint is an MCP server or an A2A agent behind the gateway.
type Endpoint struct {
	Name     string // to show; the ORD id
	ORDID    string // Open Resource Discovery id
	TenantID string // global tenant id
	URL      string // at the gateway
	CardURL  string // of the agent card; "" for an MCP server
}

// MCPServers returns the dependencies as MCP servers, in their order: at
// {gateway}/v1/mcp/{ORD id}/{global tenant id}, where a /v1/mcp that the gateway's
// URL already has is not repeated. They are those of the credentials in force.
func (f *Flow) MCPServers(ctx context.Context) ([]Endpoint, error) {
	return f.endpoints(ctx, mcpPath, "")
}

// Agents returns the dependencies as A2A agents, in their order: at
// {gateway}/v1/a2a/{ORD id}/{global tenant id}.
func (f *Flow) Agents(ctx context.Context) ([]Endpoint, error) {
	return f.endpoints(ctx, a2aPath, cardPath)
}

// endpoints returns the dependencies below path at the gateway; the card, if there
// is one, is at the given path below each.
func (f *Flow) endpoints(ctx context.Context, path, card string) ([]Endpoint, error) {
	current := f.current.Load()
	dependencies, err := f.dependencies(ctx, current.creds)
	if err != nil {
		return nil, err
	}
	base := current.identity.GatewayURL.String()
	if path != mcpPath || !strings.Contains(current.identity.GatewayURL.EscapedPath()+"/", mcpPath+"/") {
		base += path
	}
	endpoints := make([]Endpoint, len(dependencies))
	for i, d := range dependencies {
		e := Endpoint{Name: d.ORDID, ORDID: d.ORDID, TenantID: d.GlobalTenantID}
		e.URL = base + "/" + url.PathEscape(d.ORDID) + "/" + url.PathEscape(d.GlobalTenantID)
		if card != "" {
			e.CardURL = e.URL + card
		}
		endpoints[i] = e
	}
	return endpoints, nil
}

// dependencies returns what the caller's own resolver knows, or else what the
// credentials say.
func (f *Flow) dependencies(ctx context.Context, creds *Credentials) ([]Dependency, error) {
	if f.options.Dependencies == nil {
		if creds.Dependencies == nil {
			return nil, creds.errorIn(creds.names().dependencies, errMissing)
		}
		return creds.Dependencies, nil
	}
	dependencies, err := f.options.Dependencies(ctx)
	if err != nil {
		return nil, fmt.Errorf("agw: customer: resolving dependencies: %w", err)
	}
	own := &Credentials{Dependencies: dependencies, Source: "Options.Dependencies"}
	return dependencies, own.checkDependencies()
}

// checkDependencies checks that each dependency makes two segments of a path.
func (c *Credentials) checkDependencies() error {
	name := c.names().dependencies
	for i, d := range c.Dependencies {
		if err := checkSegment(d.ORDID); err != nil {
			return c.errorIn(fmt.Sprintf("%s[%d].ordId", name, i), err)
		}
		if err := checkSegment(d.GlobalTenantID); err != nil {
			return c.errorIn(fmt.Sprintf("%s[%d].globalTenantId", name, i), err)
		}
	}
	return nil
}

// checkSegment checks what is to be one segment of a path, which . and .. are not
// however they are written.
func checkSegment(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errEmpty
	case s == ".", s == "..":
		return errors.New("not a segment of a path")
	}
	return nil
}
