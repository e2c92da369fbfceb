package agw

import (
	"context"
	"strings"

	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
)

// customerFlow is the customer's flow with the endpoints of this package.
type customerFlow struct{ *customer.Flow }

func newCustomer(cfg Config) (flow, error) {
	creds, err := orLoad(cfg.CustomerCredentials, customer.Load)
	if err != nil {
		return nil, err
	}
	f, err := customer.NewFlow(creds, &customer.Options{
		RootCAs:                   cfg.RootCAs,
		Base:                      cfg.ServiceTransport,
		MaxConcurrentRequests:     cfg.MaxConcurrentRequests,
		DangerouslyAllowPlainHTTP: cfg.DangerouslyAllowPlainHTTP,
		Dependencies:              cfg.Dependencies,
	})
	if err != nil {
		return nil, err
	}
	return customerFlow{f}, nil
}

func (f customerFlow) mcpServers(ctx context.Context) ([]Endpoint, error) {
	of, err := f.MCPServers(ctx)
	return endpoints(of, err, fromCustomer)
}

func (f customerFlow) agents(ctx context.Context) ([]Endpoint, error) {
	of, err := f.Agents(ctx)
	return endpoints(of, err, fromCustomer)
}

func fromCustomer(e customer.Endpoint) Endpoint { return Endpoint(e) }

// lobFlow is the LoB flow with the endpoints of this package.
type lobFlow struct{ *lob.Flow }

func newLoB(cfg Config) (flow, error) {
	creds, err := orLoad(cfg.LoBCredentials, lob.Load)
	if err != nil {
		return nil, err
	}
	f, err := lob.NewFlow(creds, &lob.Options{
		Tenant:                    cfg.Tenant,
		TenantFunc:                cfg.TenantFunc,
		RootCAs:                   cfg.RootCAs,
		Base:                      cfg.ServiceTransport,
		MaxConcurrentRequests:     cfg.MaxConcurrentRequests,
		DangerouslyAllowPlainHTTP: cfg.DangerouslyAllowPlainHTTP,
		Settings:                  cfg.Settings,
		Logger:                    cfg.Logger,
		OnEvent:                   cfg.OnEvent,
	})
	if err != nil {
		return nil, err
	}
	return lobFlow{f}, nil
}

func (f lobFlow) mcpServers(ctx context.Context) ([]Endpoint, error) {
	of, err := f.MCPServers(ctx)
	return endpoints(of, err, fromLoB)
}

func (f lobFlow) agents(ctx context.Context) ([]Endpoint, error) {
	of, err := f.Agents(ctx)
	return endpoints(of, err, fromLoBAgent)
}

func fromLoB(e lob.Endpoint) Endpoint {
	return Endpoint{Name: e.Name, ORDID: e.ORDID, TenantID: e.TenantID, URL: e.URL}
}

func fromLoBAgent(e lob.Endpoint) Endpoint {
	agent := fromLoB(e)
	agent.CardURL = strings.TrimRight(e.URL, "/") + cardPath
	return agent
}

// orLoad returns creds, or, if they are nil, what load finds.
func orLoad[C any](creds *C, load func() (*C, error)) (*C, error) {
	if creds != nil {
		return creds, nil
	}
	return load()
}

// cardPath is where an agent's card is, below its URL.
const cardPath = "/.well-known/agent-card.json"

// endpoints converts what a flow returns, its error included.
func endpoints[E any](of []E, err error, convert func(E) Endpoint) ([]Endpoint, error) {
	if of == nil {
		return nil, err
	}
	list := make([]Endpoint, len(of))
	for i, e := range of {
		list[i] = convert(e)
	}
	return list, err
}
