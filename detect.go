package agw

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agwgo/agw/tokensource"
)

// A FlowName says by which way tokens are obtained.
type FlowName string

// The flows.
const (
	Customer FlowName = "customer" // one customer's agent: credentials of that customer's identity tenant
	LoB      FlowName = "lob"      // line of business, an agent for many tenants: the BTP Destination Service
)

// flow is what the flows have in common, beyond tokens.
type flow interface {
	tokensource.Flow
	ClientID(context.Context) (string, error)
	CloseIdleConnections()
	mcpServers(context.Context) ([]Endpoint, error)
	agents(context.Context) ([]Endpoint, error)
}

// newFlow makes the flow that cfg names, or else the first one that finds its
// credentials. Credentials that are found, but broken, are an error: they do not
// make way for the next flow.
func newFlow(cfg Config) (flow, error) {
	if cfg.CustomerCredentials != nil && cfg.LoBCredentials != nil {
		return nil, errors.New("agw: Config has both CustomerCredentials and LoBCredentials")
	}
	switch {
	case cfg.Flow != "" && cfg.Flow != Customer && cfg.Flow != LoB:
		return nil, fmt.Errorf("agw: Config.Flow is %q, must be %q, %q or empty", cfg.Flow, Customer, LoB)
	case cfg.CustomerCredentials != nil && cfg.Flow == LoB, cfg.LoBCredentials != nil && cfg.Flow == Customer:
		return nil, fmt.Errorf("agw: Config.Flow is %q, but the credentials are of the other flow", cfg.Flow)
	case cfg.CustomerCredentials != nil, cfg.Flow == Customer:
		return newCustomer(cfg)
	case cfg.LoBCredentials != nil, cfg.Flow == LoB:
		return newLoB(cfg)
	default:
		return detect(cfg)
	}
}

func detect(cfg Config) (flow, error) {
	c, errCustomer := newCustomer(cfg)
	if !errors.Is(errCustomer, tokensource.ErrNoCredentials) {
		return c, errCustomer
	}
	l, errLoB := newLoB(cfg)
	if !errors.Is(errLoB, tokensource.ErrNoCredentials) {
		return l, errLoB
	}
	return nil, &notFoundError{errCustomer, errLoB}
}

// notFoundError says what each flow looked for, in the order in which they did.
type notFoundError struct{ customer, lob error }

func (e *notFoundError) Error() string {
	const prefix = "agw: "
	return prefix + "no flow has credentials, tried in this order:" +
		"\n1. customer: " + strings.TrimPrefix(e.customer.Error(), prefix) +
		"\n2. LoB: " + strings.TrimPrefix(e.lob.Error(), prefix)
}

func (e *notFoundError) Unwrap() []error { return []error{e.customer, e.lob} }
