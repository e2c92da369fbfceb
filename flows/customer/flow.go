package customer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/jsonobject"
	"github.com/agwgo/agw/internal/mount"
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

	client atomic.Pointer[client] // in force
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
// The credentials are of one tenant: Tenant and TenantFunc of opts, and a tenant that the
// context of a call names, are errors.
func (c *Credentials) NewFlow(opts flows.Options) (flows.Flow, error) {
	switch {
	case c == nil:
		return nil, &tokensource.ConfigError{Field: "Credentials", Err: errors.New("nil")}
	case opts.TenantFunc != nil:
		return nil, &tokensource.ConfigError{Field: "TenantFunc", Err: c.ofOneTenant()}
	case opts.Tenant != "":
		return nil, &tokensource.ConfigError{Field: "Tenant", Err: c.ofOneTenant()}
	}
	if err := opts.Check(); err != nil {
		return nil, err
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

// ofOneTenant returns the error of whoever names a tenant. It says which credentials these
// are: they may be left over in the environment of a program that is meant to use others.
func (c *Credentials) ofOneTenant() error {
	from := ""
	if c.Source != "" {
		from = " from " + c.Source
	}
	return fmt.Errorf("the credentials%s are a customer's, of one tenant; only LoB credentials act in several", from)
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
	if err != nil {
		return nil, c.errorIn("GatewayURL", fmt.Errorf("%w; it looks like https://host/path", err))
	}
	// Tokens travel there, so plain http is as bad as for the token service.
	if _, err = tokenservice.ParseURL(gateway.String(), allowPlainHTTP); err != nil {
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

// Tenant returns "". It fails if a tenant is requested, since the call would reach another
// one.
func (f *flow) Tenant(_ context.Context, requested string) (string, error) {
	if requested == "" {
		return "", nil
	}
	err := f.client.Load().credentials.ofOneTenant()
	return "", &tokensource.ConfigError{Err: fmt.Errorf("the call names the tenant %.63q, but %w", requested, err)}
}

// Fetch obtains a system token (RFC 6749, section 4.4) or, if s is a user, one in
// exchange for the user's (RFC 7523, section 2.1). Errors are of type
// [*tokensource.Error].
func (f *flow) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	if err := s.Err(); err != nil {
		return nil, &tokensource.Error{Op: "fetch token", Err: err}
	}
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
// content has changed, and stays changed for 100 ms. If they make another client or have
// another certificate, there is another Identity, with connections of its own. After an
// error, a [*tokensource.ConfigError], the old credentials stay in force. Reload does
// nothing for credentials that came from no file.
func (f *flow) Reload(ctx context.Context) error {
	for {
		old := f.client.Load()
		binding, known := old.credentials.binding, old.credentials.content
		if binding == "" {
			return nil
		}
		files, err := mount.ReadAgain(ctx, binding, mount.Files{credentialsFile: known}, credentialsFile)
		content, err := contentOf(binding, files, err)
		if err != nil || content == known {
			return err
		}
		next, err := f.successor(old, content)
		if err != nil {
			return err
		}
		if !f.client.CompareAndSwap(old, next) {
			continue // somebody else has replaced it, perhaps by what has been read here
		}
		if next.service != old.service {
			old.service.CloseIdleConnections()
		}
		return nil
	}
}

// successor returns the client that takes the place of old, once the credentials file has
// the given content.
func (f *flow) successor(old *client, content string) (*client, error) {
	creds, err := parseBinding(old.credentials.binding, content)
	if err != nil {
		return nil, err
	}
	if !creds.sameAccess(old.credentials) {
		return f.newClient(creds)
	}
	if err := creds.checkDependencies(); err != nil {
		return nil, err
	}
	return &client{credentials: creds, identity: old.identity, service: old.service}, nil
}

// sameAccess reports whether c and d differ in their dependencies at most, which tokens are
// not obtained with.
func (c *Credentials) sameAccess(d *Credentials) bool {
	x, y := *c, *d
	x.Dependencies, y.Dependencies = nil, nil
	x.content, y.content = "", ""
	return reflect.DeepEqual(x, y)
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
