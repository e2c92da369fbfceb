package main

import (
	"fmt"
	"maps"
	"net/url"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
)

// scene is what the program plays in: a gateway with MCP servers behind it, and the
// credentials of this program.
type scene struct {
	flow    string
	server  *agwtest.Server
	gateway *agw.Gateway
	mcp     []*mcp.Server
	mount   string
}

// newScene starts the services, puts credentials where a pod would find them, and
// obtains a gateway by the same detection.
func newScene(flow string, cfg agw.Config) (s *scene, err error) {
	s = &scene{flow: flow}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	dependencies := []agwtest.Dependency{
		{ORDID: "sap.s4:apiAccess:salesOrder:v1", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001"},
		{ORDID: "sap.sf:apiAccess:employee:v2", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c002"},
	}
	if s.server, err = agwtest.Start(agwtest.Options{Dependencies: dependencies}); err != nil {
		return nil, err
	}
	for _, d := range dependencies {
		m := newMCPServer(d.ORDID)
		s.mcp = append(s.mcp, m)
		s.server.Handle(path(d), handler(m))
	}
	if s.mount, err = os.MkdirTemp("", "mcp-"); err != nil {
		return nil, err
	}
	return s, s.detect(cfg)
}

// tenants returns those that the agent acts in; "" is its own.
func (s *scene) tenants() []string {
	if s.flow == "lob" {
		return []string{"tenant1", "tenant2"}
	}
	return []string{""}
}

// detect obtains the gateway from the credentials of the flow.
func (s *scene) detect(cfg agw.Config) (err error) {
	env := map[string]string{"SERVICE_BINDING_ROOT": s.mount}
	switch s.flow {
	case "customer":
		if err := s.server.WriteBinding(s.mount); err != nil {
			return err
		}
		cfg.RootCAs = s.server.RootCAs()
	case "lob": // the hosts of tenants exist in the test double only
		maps.Copy(env, s.server.LoBEnv())
		cfg.ServiceTransport, cfg.Transport = s.server.Transport(), s.server.Transport()
	default:
		return fmt.Errorf("-flow %q, must be %q or %q", s.flow, "customer", "lob")
	}
	defer setenv(env)()
	s.gateway, err = agw.New(cfg)
	return err
}

// setenv sets variables and returns a function that restores them.
func setenv(vars map[string]string) (restore func()) {
	before := make(map[string]string)
	for name, value := range vars {
		if old, ok := os.LookupEnv(name); ok {
			before[name] = old
		}
		_ = os.Setenv(name, value)
	}
	return func() {
		for name := range vars {
			_ = os.Unsetenv(name)
		}
		for name, value := range before {
			_ = os.Setenv(name, value)
		}
	}
}

// path is where the gateway has the MCP server of d.
func path(d agwtest.Dependency) string {
	return "/v1/mcp/" + url.PathEscape(d.ORDID) + "/" + url.PathEscape(d.GlobalTenantID)
}

func (s *scene) close() {
	for _, m := range s.mcp {
		for session := range m.Sessions() {
			_ = session.Close()
		}
	}
	if s.gateway != nil {
		s.gateway.CloseIdleConnections()
	}
	if s.server != nil {
		s.server.Close()
	}
	if s.mount != "" {
		_ = os.RemoveAll(s.mount)
	}
}
