package customer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/jsonobject"
	"github.com/agwgo/agw/internal/route"
)

// MCPServers returns all dependencies, in their order, as MCP servers. They have no
// names.
func (f *flow) MCPServers(ctx context.Context) ([]flows.Endpoint, error) {
	return f.endpoints(ctx, route.MCP)
}

// Agents returns all dependencies, in their order, as A2A agents. They have no names.
func (f *flow) Agents(ctx context.Context) ([]flows.Endpoint, error) {
	agents, err := f.endpoints(ctx, route.Agent)
	for i := range agents {
		agents[i].CardURL = route.Card(agents[i].URL)
	}
	return agents, err
}

// endpoints returns the dependencies that Options.Dependencies resolves or, without that
// function, those of the credentials in force.
func (f *flow) endpoints(ctx context.Context, urlOf func(gateway *url.URL, ordID, tenantID string) string) ([]flows.Endpoint, error) {
	current := f.client.Load()
	dependencies := current.credentials.Dependencies
	if resolve := f.options.Dependencies; resolve != nil {
		var err error
		if dependencies, err = resolve(ctx); err != nil {
			return nil, fmt.Errorf("agw: customer: resolving dependencies: %w", err)
		}
		resolved := Credentials{Dependencies: dependencies, names: map[string]string{"Dependencies": "Dependencies()"}}
		if err := resolved.checkDependencies(); err != nil {
			return nil, err
		}
	} else if dependencies == nil {
		return nil, current.credentials.errorIn("Dependencies", jsonobject.ErrMissing)
	}
	endpoints := make([]flows.Endpoint, len(dependencies))
	for i, d := range dependencies {
		endpoints[i] = flows.Endpoint{
			ORDID: d.ORDID, TenantID: d.GlobalTenantID, URL: urlOf(current.identity.GatewayURL, d.ORDID, d.GlobalTenantID),
		}
	}
	return endpoints, nil
}

// checkDependencies checks that the ids of each dependency can be segments of a path.
func (c *Credentials) checkDependencies() error {
	check := func(id string) error {
		switch {
		case strings.TrimSpace(id) == "":
			return jsonobject.ErrEmpty
		case id == ".", id == "..": // no escaping makes these a segment
			return errors.New("not a segment of a path")
		}
		return nil
	}
	for i, d := range c.Dependencies {
		if err := check(d.ORDID); err != nil {
			return c.errorInDependency(i, "ORDID", err)
		}
		if err := check(d.GlobalTenantID); err != nil {
			return c.errorInDependency(i, "GlobalTenantID", err)
		}
	}
	return nil
}
