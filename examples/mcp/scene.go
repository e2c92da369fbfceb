package main

import (
	"net/url"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
)

// scene is what the program plays in: a gateway with MCP servers behind it, and the
// credentials of this program.
type scene struct {
	server  *agwtest.Server
	gateway *agw.Gateway
	mcp     []*mcp.Server
	mount   string
}

// newScene starts the services, puts a credentials file where a pod would find it,
// and obtains a gateway by the same detection.
func newScene(cfg agw.Config) (s *scene, err error) {
	s = &scene{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	dependencies := []agwtest.Dependency{
		{OrdID: "sap.s4:apiAccess:salesOrder:v1", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001"},
		{OrdID: "sap.sf:apiAccess:employee:v2", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c002"},
	}
	if s.server, err = agwtest.Start(agwtest.Options{Dependencies: dependencies}); err != nil {
		return nil, err
	}
	for _, d := range dependencies {
		m := newMCPServer(d.OrdID)
		s.mcp = append(s.mcp, m)
		s.server.Handle(path(d), handler(m))
	}
	if s.mount, err = os.MkdirTemp("", "mcp-"); err != nil {
		return nil, err
	}
	if err = s.server.WriteBinding(s.mount); err != nil {
		return nil, err
	}
	cfg.RootCAs = s.server.RootCAs()
	s.gateway, err = detect(s.mount, cfg)
	return s, err
}

// path is where the gateway has the MCP server of d.
func path(d agwtest.Dependency) string {
	return "/v1/mcp/" + url.PathEscape(d.OrdID) + "/" + url.PathEscape(d.GlobalTenantID)
}

// detect returns the gateway of the credentials mounted at root.
func detect(root string, cfg agw.Config) (*agw.Gateway, error) {
	const name = "SERVICE_BINDING_ROOT"
	before, had := os.LookupEnv(name)
	if err := os.Setenv(name, root); err != nil {
		return nil, err
	}
	defer func() {
		if had {
			_ = os.Setenv(name, before)
		} else {
			_ = os.Unsetenv(name)
		}
	}()
	return agw.New(cfg)
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
