package main

import (
	"fmt"
	"os"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
)

const (
	calls   = 1000
	workers = 8
)

// scene is everything that the loop plays in: the services on the other side, this
// program's environment, and who calls.
type scene struct {
	flow    string
	server  *agwtest.Server
	gateway *agw.Gateway
	callers []caller
	users   int
	restore func()
	mount   string
}

// who is somebody that the agent acts for.
type who struct {
	tenant, user string // user "" is the system identity
}

func (w who) name() string {
	if w.user == "" {
		return "(system)"
	}
	return w.user
}

// caller is somebody with the proof of it.
type caller struct {
	who
	jwt string // "" for the system identity
}

// newScene starts the services, puts credentials where a pod would find them, and
// obtains a gateway by the same detection.
func newScene(flow string) (*scene, error) {
	s := &scene{flow: flow, restore: func() {}}
	if err := s.set(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *scene) set() (err error) {
	if s.server, err = agwtest.Start(agwtest.Options{}); err != nil {
		return err
	}
	if s.mount, err = os.MkdirTemp("", "quickstart-"); err != nil {
		return err
	}
	switch s.flow {
	case "customer":
		return s.asCustomer()
	case "lob":
		return s.asLoB()
	default:
		return fmt.Errorf("-flow %q, must be %q or %q", s.flow, "customer", "lob")
	}
}

// asCustomer mounts a credentials file and invites 20 users.
func (s *scene) asCustomer() (err error) {
	if err = s.server.WriteBinding(s.mount); err != nil {
		return err
	}
	s.setenv(map[string]string{"SERVICE_BINDING_ROOT": s.mount})
	s.invite("", 20)
	s.gateway, err = agw.New(agw.Config{RootCAs: s.server.RootCAs()})
	return err
}

// asLoB binds the Destination Service and invites 10 users of each of 5 tenants. The
// host names of tenants exist in the test double only, so its transport dials them.
func (s *scene) asLoB() (err error) {
	env := s.server.LoBEnv()
	env["SERVICE_BINDING_ROOT"] = s.mount
	env["INTEGRATION_CLIENT_ID"] = "" // a customer's would come first
	s.setenv(env)
	for _, tenant := range []string{"tenant1", "tenant2", "tenant3", "tenant4", "tenant5"} {
		s.invite(tenant, 10)
	}
	s.gateway, err = agw.New(agw.Config{
		ServiceTransport: s.server.Transport(),
		Transport:        s.server.Transport(),
	})
	return err
}

// invite adds n users of tenant, and its system identity, to the callers.
func (s *scene) invite(tenant string, n int) {
	s.callers = append(s.callers, caller{who: who{tenant: tenant}})
	for i := range n {
		name := fmt.Sprintf("user%02d", i+1)
		jwt := s.server.UserToken(agwtest.User{Name: name, Tenant: tenant})
		s.callers = append(s.callers, caller{who{tenant, name}, jwt})
	}
	s.users += n
}

// setenv sets variables for detection to find; close restores them.
func (s *scene) setenv(vars map[string]string) {
	old := make(map[string]string)
	for name, value := range vars {
		if before, ok := os.LookupEnv(name); ok {
			old[name] = before
		}
		os.Setenv(name, value)
	}
	s.restore = func() {
		for name := range vars {
			os.Unsetenv(name)
		}
		for name, value := range old {
			os.Setenv(name, value)
		}
	}
}

func (s *scene) close() {
	s.restore()
	if s.gateway != nil {
		s.gateway.CloseIdleConnections()
	}
	if s.server != nil {
		s.server.Close()
	}
	if s.mount != "" {
		os.RemoveAll(s.mount)
	}
}
