package agw

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/route"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// Config configures a [Gateway]. The zero value detects the credentials and means the
// defaults. A value that cannot be used is a [*tokensource.ConfigError] of [New] that
// names the field.
type Config struct {
	// Credentials decide on the flow: a [*customer.Credentials], a [*lob.Credentials] or
	// those of a flow of your own. nil means those that the environment offers: a mounted
	// credentials file, else variables (both customer), else the Destination Service
	// (LoB).
	Credentials flows.Credentials

	// Tenant is the tenant of calls whose context names none. TenantFunc, if not nil, is
	// asked first. LoB only: a customer's credentials are of one tenant, and New fails if one
	// of these is set for them. See [flows.Options].
	Tenant     string
	TenantFunc func(context.Context) (string, error)

	// Dependencies, if not nil, is asked for the MCP servers and agents of a customer's
	// agent, instead of the list that came with the credentials. Customer only: New fails if
	// it is set for LoB.
	Dependencies func(context.Context) ([]flows.Dependency, error)

	// RequireUser makes a call that names no user an error.
	RequireUser bool

	// Settings bound the token cache.
	Settings tokensource.Settings

	// Logger and OnEvent are told what happens to tokens. See [tokensource.Options].
	Logger  *slog.Logger
	OnEvent func(tokensource.Event)

	// Transport, PassForeignHosts and NewCorrelationID say how requests are sent to the
	// gateway. See [transport.Options], whose Base is Transport. Default: a transport of
	// the gateway's own, which trusts RootCAs.
	Transport        http.RoundTripper
	PassForeignHosts bool
	NewCorrelationID func() string

	// ServiceTransport, RootCAs and MaxConcurrentRequests say how requests are sent to
	// token services. See [flows.Options].
	ServiceTransport      http.RoundTripper
	RootCAs               *x509.CertPool
	MaxConcurrentRequests int

	// DangerouslyAllowPlainHTTP lets secrets and tokens travel over plain http to other
	// machines, where something else, such as a service mesh, protects them.
	DangerouslyAllowPlainHTTP bool
}

// A Gateway hands out clients for the Agent Gateway. It must be made by [New], and is safe
// for concurrent use. Make one for a program, and share it.
type Gateway struct {
	flow    flows.Flow
	source  *tokensource.Source
	options transport.Options // with one Base for all clients
}

// New finds the credentials and returns a gateway of them. It sends nothing: a wrong
// secret shows with the first request. If there are no credentials, the error is a
// [*flows.NotFoundError] and says where they were looked for.
func New(cfg Config) (*Gateway, error) {
	creds := cfg.Credentials
	if creds == nil {
		var err error
		if creds, err = detect(); err != nil {
			return nil, err
		}
	}
	tokens := tokensource.Options{Settings: cfg.Settings, RequireUser: cfg.RequireUser, Logger: cfg.Logger, OnEvent: cfg.OnEvent}
	flow, err := creds.NewFlow(flows.Options{
		Tenant: cfg.Tenant, TenantFunc: cfg.TenantFunc, Dependencies: cfg.Dependencies,
		ServiceTransport: cfg.ServiceTransport, RootCAs: cfg.RootCAs, MaxConcurrentRequests: cfg.MaxConcurrentRequests,
		DangerouslyAllowPlainHTTP: cfg.DangerouslyAllowPlainHTTP, Tokens: tokens,
	})
	if err != nil {
		return nil, err
	}
	source, err := tokensource.New(flow, tokens)
	if err != nil {
		return nil, err
	}
	base := cfg.Transport
	if base == nil {
		own := transport.NewBase()
		own.TLSClientConfig.RootCAs = cfg.RootCAs
		base = own
	}
	return &Gateway{flow: flow, source: source, options: transport.Options{
		Base: base, PassForeignHosts: cfg.PassForeignHosts, NewCorrelationID: cfg.NewCorrelationID,
		DangerouslyAllowPlainHTTP: cfg.DangerouslyAllowPlainHTTP,
	}}, nil
}

// Client returns a new client that acts for the subject of each request's context. It may
// be altered; all clients share their connections and tokens. It has no timeout, because
// that would cut streams: use contexts. A cookie jar sees one host for all tenants, the
// placeholder of URL, so give clients of different subjects jars of their own.
func (g *Gateway) Client() *http.Client { return transport.New(g.source, g.options).Client() }

// ClientFor returns a client like Client that acts for subject where a context does not
// say otherwise. Use it with MCP and other protocol libraries: they send pings and open
// streams with contexts of their own, which would act with the system token.
func (g *Gateway) ClientFor(subject tokensource.Subject) *http.Client {
	return transport.New(g.source.For(subject), g.options).Client()
}

// Forget drops the token of subject, for a user who logs out. See
// [tokensource.Source.Forget].
func (g *Gateway) Forget(subject tokensource.Subject) error { return g.source.Forget(subject) }

// Purge drops everything that is cached, including the tokens for the services in between
// and what those answered.
func (g *Gateway) Purge() {
	g.flow.Purge()
	g.source.Purge()
}

// Source returns the source of the tokens, for other OAuth tooling and for its counters
// (Stats). A cache in front of it, such as oauth2.ReuseTokenSource, does not learn that
// the gateway has rejected a token. Unlike the types of this module, an oauth2.Token shows
// its secret when it is printed.
func (g *Gateway) Source() *tokensource.Source { return g.source }

// Flow returns the name of the flow that is in use: "customer", "lob" or that of a flow of
// your own.
func (g *Gateway) Flow() string { return g.flow.Identity().Flow }

// URL returns a URL for the clients of this gateway: path below the gateway's base path,
// followed by segments, each of which is escaped as one. Its host is a placeholder that
// resolves nowhere; the transport replaces it. (The error "lookup agent-gateway.invalid:
// no such host" means that the request went through another client.)
//
//	gw.URL("v1/mcp", "sap.s4:apiAccess:salesOrder:v1", tenantID)
//
// path is one that is escaped already. It may be "", which is the base path, have a slash in
// front, and, if no segments follow, end in a slash, a query or a fragment.
//
// A segment that is empty, "." or "..", a path that has one of those (so that two slashes
// are in a row), and an absolute URL in place of a part are mistakes: an id that was not
// set, a URL that is complete already. A request for what URL then returns is not sent, and
// fails with a [transport.ErrInvalidURL] that says which part it is.
func (g *Gateway) URL(path string, segments ...string) string { return route.URL(path, segments...) }

// MCPServers returns the MCP servers of ctx's tenant. If some of them cannot be used, the
// others are returned together with an error that names those.
func (g *Gateway) MCPServers(ctx context.Context) ([]flows.Endpoint, error) {
	return g.flow.MCPServers(ctx)
}

// Agents returns the A2A agents of ctx's tenant; otherwise it is like MCPServers.
func (g *Gateway) Agents(ctx context.Context) ([]flows.Endpoint, error) { return g.flow.Agents(ctx) }

// ClientID returns the client id that the identity service knows this program by.
func (g *Gateway) ClientID(ctx context.Context) (string, error) { return g.flow.ClientID(ctx) }

// CloseIdleConnections closes all connections that are not in use, including those to
// token services.
func (g *Gateway) CloseIdleConnections() {
	g.Client().CloseIdleConnections()
	g.flow.CloseIdleConnections()
}
