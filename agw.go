package agw

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// Config configures a [Gateway]. The zero value detects everything and means the
// defaults; a value out of range is an error of [New] that names the field.
type Config struct {
	// Flow is the flow to use; "" detects it by what the environment offers: a mounted
	// credentials file, then variables (both customer), then the Destination Service
	// (LoB).
	Flow FlowName

	// CustomerCredentials or LoBCredentials, if not nil, are used instead of what the
	// environment offers, and decide on the flow.
	CustomerCredentials *customer.Credentials
	LoBCredentials      *lob.Credentials

	// Tenant is the tenant of calls whose context names none; TenantFunc, if not nil,
	// is asked for it first. LoB only: a customer's credentials are of one tenant.
	Tenant     string
	TenantFunc func(context.Context) (string, error)

	// Dependencies, if not nil, is asked for the MCP servers and agents of a customer's
	// credentials instead of the list that came with them.
	Dependencies func(context.Context) ([]customer.Dependency, error)

	// RequireUser makes a call that names no user an error.
	RequireUser bool

	// Settings bound the token cache.
	Settings cache.Settings

	// MaxConcurrentRequests is how many requests to one token service, or the
	// Destination Service, are under way at once. Default 32.
	MaxConcurrentRequests int

	// Transport says how requests to the gateway are sent.
	Transport transport.Options

	// ServiceTransport sends the requests to token services and the Destination
	// Service. An *http.Transport is cloned and given RootCAs and the client
	// certificate; anything else is used as it is. Default: a transport with sane
	// timeouts and the proxies of the environment.
	ServiceTransport http.RoundTripper

	// RootCAs are the authorities to trust, for the gateway too if Transport.Base is
	// nil. Default: those of ServiceTransport, or the system's.
	RootCAs *x509.CertPool

	// DangerouslyAllowPlainHTTP lets secrets travel over plain http to other machines,
	// where something else, such as a service mesh, protects them.
	DangerouslyAllowPlainHTTP bool

	// Logger and OnEvent are told what happens to tokens. See tokensource.Options.
	Logger  *slog.Logger
	OnEvent func(tokensource.Event)
}

// A Gateway hands out clients for the Agent Gateway. It must be made by [New] and
// is safe for concurrent use; make one for a program, and share it.
type Gateway struct {
	flow   flow
	source *tokensource.Source
	opts   transport.Options // with one Base for all clients
}

// New finds the credentials and returns a gateway of them. It sends nothing: a
// wrong secret shows with the first request. Where no credentials are found, the
// error is a [tokensource.ErrNoCredentials] and says where they were looked for.
func New(cfg Config) (*Gateway, error) {
	f, err := newFlow(cfg)
	if err != nil {
		return nil, err
	}
	src, err := tokensource.New(f, tokensource.Options{
		Settings: cfg.Settings, RequireUser: cfg.RequireUser, Logger: cfg.Logger, OnEvent: cfg.OnEvent,
	})
	if err != nil {
		return nil, fmt.Errorf("agw: %w", err)
	}
	g := &Gateway{flow: f, source: src, opts: cfg.transport()}
	if url := f.Identity().GatewayURL; url != nil && !g.opts.DangerouslyAllowPlainHTTP && !origin.Secure(url) {
		return nil, fmt.Errorf("%w: the gateway is %q", tokensource.ErrInsecureURL, origin.String(url))
	}
	return g, nil
}

// transport returns the options of all clients, with one base transport for them.
func (cfg Config) transport() transport.Options {
	opts := cfg.Transport
	opts.DangerouslyAllowPlainHTTP = opts.DangerouslyAllowPlainHTTP || cfg.DangerouslyAllowPlainHTTP
	if opts.Base == nil {
		base := transport.NewBase()
		base.TLSClientConfig.RootCAs = cfg.RootCAs
		opts.Base = base
	}
	return opts
}

// Client returns a new client that acts for the subject of each request's context.
// It may be altered; all clients share their connections and tokens. It has no
// timeout, which would cut streams: use contexts. A cookie jar sees one host for all
// tenants, the placeholder of URL: give clients of different subjects jars of their
// own.
func (g *Gateway) Client() *http.Client { return g.client(g.source) }

// ClientFor returns a client like Client that acts for subject where a context does
// not say otherwise. Use it with MCP and other protocol libraries: they send pings
// and open streams with contexts of their own, which would act under the technical
// token.
func (g *Gateway) ClientFor(subject tokensource.Subject) *http.Client {
	return g.client(g.source.For(subject))
}

func (g *Gateway) client(src *tokensource.Source) *http.Client {
	return &http.Client{Transport: transport.New(src, &g.opts)}
}

// Forget drops the token of subject, for a user who logs out. It needs the JWT that
// the calls were made with: tokens for other ones of the same user stay. It fails, and
// drops nothing, if that is blank, or the tenant is not a valid one; name the tenant if
// Config.TenantFunc would read it off a context.
func (g *Gateway) Forget(subject tokensource.Subject) error { return g.source.Forget(subject) }

// Purge drops everything that is cached, down to the tokens for the services in
// between and what they answered.
func (g *Gateway) Purge() {
	if p, ok := g.flow.(interface{ Purge() }); ok {
		p.Purge()
	}
	g.source.Purge()
}

// Source returns the source of the tokens, for other OAuth tooling and for its
// counters (Stats). What caches in front of it, such as oauth2.ReuseTokenSource,
// does not learn that the gateway has refused a token. Unlike the types of this
// module, an oauth2.Token shows its secret when it is printed.
func (g *Gateway) Source() *tokensource.Source { return g.source }

// Flow returns the name of the flow that is in use.
func (g *Gateway) Flow() FlowName { return FlowName(g.flow.Identity().Flow) }

// URL returns a URL for the clients of this gateway: path below the gateway's base
// path, followed by segments, each of which is escaped as one. Its host is a
// placeholder that resolves nowhere; the transport puts the real one in its place.
// ("lookup agent-gateway.invalid: no such host" means that the request went through
// another client.)
//
//	gw.URL("v1/mcp", "sap.s4:apiAccess:salesOrder:v1", tenantID)
func (g *Gateway) URL(path string, segments ...string) string {
	var b strings.Builder
	if len(segments) > 0 {
		path = strings.TrimRight(path, "/")
	}
	b.WriteString("https://" + transport.PlaceholderHost + "/" + strings.TrimLeft(path, "/"))
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

// An Endpoint is an MCP server or an A2A agent behind the gateway.
type Endpoint struct {
	Name     string // as the landscape calls it; "" if it has no name
	ORDID    string // Open Resource Discovery id
	TenantID string // global tenant id; "" if only the URL tells
	URL      string // absolute
	CardURL  string // of an agent's card; "" for an MCP server
}

// MCPServers returns the MCP servers of ctx's tenant. Where some entries are
// unusable, it returns the others together with an error that names them.
func (g *Gateway) MCPServers(ctx context.Context) ([]Endpoint, error) { return g.flow.mcpServers(ctx) }

// Agents returns the A2A agents of ctx's tenant; otherwise like MCPServers.
func (g *Gateway) Agents(ctx context.Context) ([]Endpoint, error) { return g.flow.agents(ctx) }

// ClientID returns the client id that this program is known under to the identity
// service.
func (g *Gateway) ClientID(ctx context.Context) (string, error) { return g.flow.ClientID(ctx) }

// CloseIdleConnections closes all connections that are not in use, those to the
// token services included.
func (g *Gateway) CloseIdleConnections() {
	g.Client().CloseIdleConnections()
	g.flow.CloseIdleConnections()
}
