// Package flows has what all flows have in common. A flow is one way to obtain tokens for
// the Agent Gateway: [github.com/agwgo/agw/flows/customer] or
// [github.com/agwgo/agw/flows/lob]. A third one implements [Credentials] and [Flow], and
// is given to agw.New as agw.Config.Credentials.
package flows

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/agwgo/agw/tokensource"
)

// Credentials are what a program has to obtain tokens.
type Credentials interface {
	// NewFlow checks the credentials and the options, and returns a flow of both. It
	// sends nothing. What is wrong is a [*tokensource.ConfigError], or several of them
	// joined.
	NewFlow(Options) (Flow, error)
}

// A Flow obtains tokens, and lists what can be called with them. Its methods are safe for
// concurrent use.
type Flow interface {
	tokensource.Flow

	// ClientID returns the client id that the identity service knows this program by.
	ClientID(context.Context) (string, error)

	// MCPServers and Agents return the MCP servers and the A2A agents of the context's
	// tenant. If some of them cannot be used, the others are returned together with an
	// error that names those. A tenant that has none gets an empty slice. With any other
	// error the slice is nil.
	MCPServers(context.Context) ([]Endpoint, error)
	Agents(context.Context) ([]Endpoint, error)

	// Purge drops what the flow remembers.
	Purge()

	// CloseIdleConnections closes the connections to the flow's services that no request
	// is using.
	CloseIdleConnections()
}

// An Endpoint is an MCP server or an A2A agent behind the gateway.
type Endpoint struct {
	Name     string // as the landscape calls it; "" if it has no name
	ORDID    string // Open Resource Discovery id, such as sap.s4:apiAccess:salesOrder:v1
	TenantID string // global tenant id; "" if only the URL tells
	URL      string // absolute
	CardURL  string // of an agent's card; "" for an MCP server
}

// A Dependency is something that a customer's agent may call through the gateway.
type Dependency struct {
	ORDID          string // Open Resource Discovery id, such as sap.s4:apiAccess:salesOrder:v1
	GlobalTenantID string // the tenant that it runs in
}

// Options configure a flow. The zero value means the defaults. Each field but
// Tokens has the same name and meaning in agw.Config.
type Options struct {
	// TenantFunc and Tenant are the tenant of calls that name none. The function is asked
	// first, for every call and possibly by several at once, so it must be quick; if it
	// returns "", Tenant counts. LoB only: a customer's credentials are of one tenant, and
	// their NewFlow fails if one of these is set.
	TenantFunc func(context.Context) (string, error)
	Tenant     string

	// Dependencies, if not nil, is asked for what the agent may call, instead of the
	// list that came with the credentials. It is called for each list of endpoints. A panic
	// in it is an error of that call. Customer only: the NewFlow of LoB credentials fails if
	// it is set.
	Dependencies func(context.Context) ([]Dependency, error)

	// ServiceTransport sends the requests to token services, with contexts that have none
	// of the caller's values. An [*http.Transport] is cloned, and the clone given RootCAs
	// and the client certificate; it shares no connections with the original. The original
	// must have no DialTLSContext or DialTLS, since these would decide on certificates
	// instead. Anything else is used as it is, and must present the client certificate by
	// itself. Default: a transport of the flow's own.
	ServiceTransport http.RoundTripper

	// RootCAs are the authorities that a service's certificate may come from. Default:
	// those of ServiceTransport, or the system's.
	RootCAs *x509.CertPool

	// MaxConcurrentRequests is how many requests to one service (scheme, host and port)
	// are under way at once. More wait in line. At least 0; 0 means the default, 32.
	MaxConcurrentRequests int

	// DangerouslyAllowPlainHTTP lets secrets and tokens travel over plain http to other
	// machines, where something else, such as a service mesh, protects them.
	DangerouslyAllowPlainHTTP bool

	// Tokens are the options of the source of this flow's tokens. A flow that caches
	// tokens of its own on the way, as LoB does, takes over Settings, Logger and OnEvent.
	// A single request to a service may take a third of Settings.FetchTimeout.
	Tokens tokensource.Options
}

// Check returns a [*tokensource.ConfigError] for the first option that no flow can use, and
// nil if there is none. [Credentials.NewFlow] calls it, and checks what else it uses.
func (o *Options) Check() error {
	if _, err := o.Tokens.Settings.WithDefaults(); err != nil {
		return err
	}
	if n := o.MaxConcurrentRequests; n < 0 {
		return &tokensource.ConfigError{Field: "MaxConcurrentRequests", Err: fmt.Errorf("%d, must be at least 0", n)}
	}
	//lint:ignore SA1019 the transport may have nothing else
	if t, ok := o.ServiceTransport.(*http.Transport); ok && t != nil && (t.DialTLSContext != nil || t.DialTLS != nil) {
		return &tokensource.ConfigError{Field: "ServiceTransport", Err: errors.New(
			"RootCAs and the client certificate have no effect on connections of its DialTLSContext or DialTLS; use DialContext, or a RoundTripper of your own that presents the certificate")}
	}
	return nil
}

// ErrNoCredentials: no credentials were found. See [NotFoundError].
var ErrNoCredentials = errors.New("agw: no credentials found")

// A NotFoundError is an [ErrNoCredentials] that says where credentials were looked for.
type NotFoundError struct {
	Places []Place // in the order in which they were tried
}

// A Place is one where credentials can be.
type Place struct {
	Flow    string // name of the flow that looks there
	Name    string // a directory, or "environment"
	Problem string // why there are none, in one or more lines, such as "not set: INTEGRATION_AUTH_URL"
}

// Error lists the places, each with its problem on the lines below it.
func (e *NotFoundError) Error() string {
	var b strings.Builder
	b.WriteString(ErrNoCredentials.Error() + "; looked in this order:")
	for i, p := range e.Places {
		fmt.Fprintf(&b, "\n%d. %s: %s", i+1, p.Flow, p.Name)
		for line := range strings.SplitSeq(p.Problem, "\n") {
			b.WriteString("\n   " + line)
		}
	}
	return b.String()
}

// Unwrap returns ErrNoCredentials.
func (e *NotFoundError) Unwrap() error { return ErrNoCredentials }
