package customer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/jsonobject"
	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

const (
	flowName = "customer"

	// resource names the Agent Gateway to SAP Cloud Identity Services (RFC 8707).
	resource = "urn:sap:identity:application:provider:name:agent-gateway"
)

// A flow is a [flows.Flow] and a [tokensource.Reloader]. It caches no tokens.
type flow struct {
	options flows.Options
	pacer   *pace.Pacer // of all clients

	client    atomic.Pointer[client] // in force
	reloading sync.Mutex             // held by whoever replaces client
}

// A client is the OAuth client that credentials make. It is immutable.
type client struct {
	credentials *Credentials
	identity    *tokensource.Identity
	service     *tokenservice.Client
}

var (
	_ flows.Credentials    = (*Credentials)(nil)
	_ flows.Flow           = (*flow)(nil)
	_ tokensource.Reloader = (*flow)(nil)
)

// NewFlow returns a flow with a copy of the credentials. An error is a
// [*tokensource.ConfigError].
//
// If the credentials came from a file, a [tokensource.Source] of the flow has it read
// again before each token request. Once its content is another one, that takes the place
// of the credentials, including what was altered by hand.
//
// The credentials belong to one tenant: a tenant that the context of a call names has no
// effect, nor have Tenant and TenantFunc of opts.
func (c *Credentials) NewFlow(opts flows.Options) (flows.Flow, error) {
	if c == nil {
		return nil, &tokensource.ConfigError{Field: "Credentials", Err: errors.New("nil")}
	}
	if n := opts.MaxConcurrentRequests; n < 0 {
		return nil, &tokensource.ConfigError{Field: "MaxConcurrentRequests", Err: fmt.Errorf("%d, must be at least 0", n)}
	}
	own := *c
	own.Dependencies = slices.Clone(c.Dependencies)
	f := &flow{options: opts, pacer: pace.New(opts.MaxConcurrentRequests)}
	first, err := f.newClient(&own)
	if err != nil {
		return nil, err
	}
	f.client.Store(first)
	return f, nil
}

// newClient checks credentials, and makes a client of them.
func (f *flow) newClient(c *Credentials) (*client, error) {
	allowPlainHTTP := f.options.DangerouslyAllowPlainHTTP
	if strings.TrimSpace(c.ClientID) == "" {
		return nil, c.errorIn("ClientID", jsonobject.ErrEmpty)
	}
	endpoint, err := tokenservice.ParseURL(c.TokenServiceURL, allowPlainHTTP)
	if err != nil {
		return nil, c.errorIn("TokenServiceURL", err)
	}
	gateway, err := tokensource.ParseGatewayURL(c.GatewayURL)
	if err == nil { // tokens travel there, so plain http is as bad as for the token service
		_, err = tokenservice.ParseURL(gateway.String(), allowPlainHTTP)
	}
	if err != nil {
		return nil, c.errorIn("GatewayURL", err)
	}
	certificate, err := c.certificate(time.Now())
	if err != nil {
		return nil, err
	}
	if err := c.checkDependencies(); err != nil {
		return nil, err
	}
	return &client{
		credentials: c,
		identity: &tokensource.Identity{
			Flow: flowName, TokenEndpoint: endpoint.String(), ClientID: c.ClientID, Resource: resource, GatewayURL: gateway,
		},
		service: tokenservice.New(f.options, certificate, f.pacer),
	}, nil
}

// Identity returns the client in force.
func (f *flow) Identity() *tokensource.Identity { return f.client.Load().identity }

// ClientID returns the client id of the credentials in force.
func (f *flow) ClientID(context.Context) (string, error) { return f.Identity().ClientID, nil }

// Tenant returns "" whatever is requested, so that programs for tenants of their own run
// here, too.
func (f *flow) Tenant(context.Context, string) (string, error) { return "", nil }

// Fetch obtains a system token (RFC 6749, section 4.4) or, if s is a user, one in
// exchange for the user's (RFC 7523, section 2.1). Errors are of type
// [*tokensource.Error].
func (f *flow) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	current := f.client.Load()
	r := tokenservice.Request{
		Op:     "fetch system token",
		Method: http.MethodPost,
		URL:    current.identity.TokenEndpoint,
		Form:   url.Values{"client_id": {current.identity.ClientID}, "resource": {resource}},
	}
	if jwt := s.UserToken(); jwt == "" {
		r.Form.Set("grant_type", "client_credentials")
		r.Form.Set("response_type", "token")
	} else {
		r.Op = "exchange user token"
		r.Form.Set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
		r.Form.Set("assertion", jwt)
		r.Form.Set("token_format", "jwt")
		r.Secrets = []string{jwt}
	}
	resp, err := current.service.Token(ctx, r)
	if err != nil {
		return nil, err
	}
	resp.GatewayURL = current.identity.GatewayURL
	return resp, nil
}

// Reload reads the credentials file again, and puts its credentials in force if its
// content has changed. If they make another client or have another certificate, there is
// another Identity, with connections of its own. After an error, a
// [*tokensource.ConfigError], the old credentials stay in force. Reload does nothing for
// credentials that came from no file.
func (f *flow) Reload(context.Context) error {
	f.reloading.Lock()
	defer f.reloading.Unlock()
	old := f.client.Load()
	if old.credentials.binding == "" {
		return nil
	}
	content, err := readBinding(old.credentials.binding)
	if err != nil || content == old.credentials.content {
		return err
	}
	creds, err := parseBinding(old.credentials.binding, content)
	if err != nil {
		return err
	}
	if creds.sameAccess(old.credentials) {
		if err := creds.checkDependencies(); err != nil {
			return err
		}
		f.client.Store(&client{credentials: creds, identity: old.identity, service: old.service})
		return nil
	}
	next, err := f.newClient(creds)
	if err != nil {
		return err
	}
	f.client.Store(next)
	old.service.CloseIdleConnections()
	return nil
}

// sameAccess reports whether c and d differ in nothing that tokens are obtained with.
func (c *Credentials) sameAccess(d *Credentials) bool {
	return c.TokenServiceURL == d.TokenServiceURL && c.ClientID == d.ClientID &&
		c.Certificate == d.Certificate && c.PrivateKey == d.PrivateKey && c.GatewayURL == d.GatewayURL
}

// Purge does nothing: the flow remembers nothing that can be dropped.
func (f *flow) Purge() {}

// CloseIdleConnections closes the connections to the token service that no request is
// using.
func (f *flow) CloseIdleConnections() { f.client.Load().service.CloseIdleConnections() }

// Format prints the credentials in force without their secrets, whatever the verb.
func (f *flow) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.describe()) }

// LogValue returns what Format prints.
func (f *flow) LogValue() slog.Value { return slog.StringValue(f.describe()) }

func (f *flow) describe() string {
	return "customer.flow{" + f.client.Load().credentials.describe() + "}"
}
