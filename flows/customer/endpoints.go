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
	"github.com/agwgo/agw/tokensource"
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
	subject, _ := tokensource.SubjectFromContext(ctx)
	if _, err := f.Tenant(ctx, subject.Tenant()); err != nil {
		return nil, err
	}
	current := f.client.Load()
	dependencies := current.credentials.Dependencies
	if resolve := f.options.Dependencies; resolve != nil {
		var err error
		if dependencies, err = resolved(ctx, resolve); err != nil {
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

// resolved returns what the function of the user's returns, checked. A panic in it is an
// error, which does not show the value: that could be a secret.
func resolved(ctx context.Context, resolve func(context.Context) ([]flows.Dependency, error)) (dependencies []flows.Dependency, err error) {
	defer func() {
		if r := recover(); r != nil {
			dependencies, err = nil, &tokensource.ConfigError{Field: "Dependencies", Err: fmt.Errorf("the function panicked with a %T", r)}
		}
	}()
	if dependencies, err = resolve(ctx); err != nil {
		return nil, fmt.Errorf("agw: customer: resolving dependencies: %w", err)
	}
	c := Credentials{Dependencies: dependencies, names: map[string]string{"Dependencies": "Dependencies()"}}
	return dependencies, c.checkDependencies()
}

// What the ids of a dependency are.
const (
	wantORDID    = "the Open Resource Discovery id of an API, such as sap.s4:apiAccess:salesOrder:v1"
	wantTenantID = "the global id of the tenant that the API runs in"
)

// checkDependencies checks that the ids of each dependency can be segments of a path.
func (c *Credentials) checkDependencies() error {
	check := func(id, want string) error {
		switch {
		case strings.TrimSpace(id) == "":
			return fmt.Errorf("%w; it must be %s", jsonobject.ErrEmpty, want)
		case id == ".", id == "..": // no escaping makes these a segment
			return errors.New("not a segment of a path")
		}
		return nil
	}
	for i, d := range c.Dependencies {
		if err := check(d.ORDID, wantORDID); err != nil {
			return c.errorInDependency(i, "ORDID", err)
		}
		if err := check(d.GlobalTenantID, wantTenantID); err != nil {
			return c.errorInDependency(i, "GlobalTenantID", err)
		}
	}
	return nil
}
