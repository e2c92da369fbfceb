package main

import (
	"os"

	"github.com/a2aproject/a2a-go/a2asrv"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
)

// scene is what the program plays in: a gateway with an agent behind it, and the
// credentials of this program.
type scene struct {
	server  *agwtest.Server
	gateway *agw.Gateway
	mount   string
}

// newScene starts the services, puts a credentials file where a pod would find it,
// and obtains a gateway by the same detection.
func newScene(cfg agw.Config, executor a2asrv.AgentExecutor) (s *scene, err error) {
	s = &scene{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	agent := agwtest.Dependency{ORDID: "sap.s4:agent:orderAssistant:v1", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001"}
	if s.server, err = agwtest.Start(agwtest.Options{Dependencies: []agwtest.Dependency{agent}}); err != nil {
		return nil, err
	}
	mount(s.server, agent, executor)
	if s.mount, err = os.MkdirTemp("", "a2a-"); err != nil {
		return nil, err
	}
	if err = s.server.WriteBinding(s.mount); err != nil {
		return nil, err
	}
	cfg.RootCAs = s.server.RootCAs()
	s.gateway, err = detect(s.mount, cfg)
	return s, err
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
