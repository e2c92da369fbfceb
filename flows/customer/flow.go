package customer

import (
	"context"
	"crypto/x509"
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

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

const (
	flowName = "customer"

	// resource names the Agent Gateway to SAP Cloud Identity Services (RFC 8707).
	resource = "urn:sap:identity:application:provider:name:agent-gateway"

	grantClientCredentials = "client_credentials"                          // RFC 6749, section 4.4
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523, section 2.1
)

// Options configure a [Flow]. The zero value means the defaults.
type Options struct {
	// RootCAs are the authorities that the token service's certificate may come from.
	// Default: the system's.
	RootCAs *x509.CertPool

	// Base sends the token requests. Default: a transport of the flow's own. An
	// [*http.Transport] is cloned. Anything else is used as it is: RootCAs have no
	// effect on it, and it must present the client certificate by itself.
	Base http.RoundTripper

	// MaxConcurrentRequests is how many token requests are under way at once; more
	// wait in line. Default 32.
	MaxConcurrentRequests int

	// DangerouslyAllowPlainHTTP accepts a token service at an http URL that is not on
	// this machine: assertions and tokens can be read on their way.
	DangerouslyAllowPlainHTTP bool

	// Dependencies returns what the agent may call, in place of the credentials'
	// Dependencies. It is called for each list of endpoints.
	Dependencies func(context.Context) ([]Dependency, error)
}

// A Flow obtains tokens of a customer's agent: it is a [tokensource.Flow] and a
// [tokensource.Reloader]. It caches no tokens. It is safe for concurrent use.
type Flow struct {
	options Options
	pacer   *wire.Pacer

	current   atomic.Pointer[session]
	reloading sync.Mutex // held by whoever is about to replace current
}

// A session is a set of credentials in force. It is immutable.
type session struct {
	creds    *Credentials
	identity *tokensource.Identity
	client   *wire.Client
}

var (
	_ tokensource.Flow     = (*Flow)(nil)
	_ tokensource.Reloader = (*Flow)(nil)
)

// NewFlow returns a flow with the given credentials, which it copies. If they came
// from a file, they are read again when that has changed. opts may be nil. An error
// is a [*ConfigError].
func NewFlow(creds *Credentials, opts *Options) (*Flow, error) {
	if creds == nil {
		return nil, &ConfigError{Err: errors.New("the credentials are nil")}
	}
	if opts == nil {
		opts = new(Options)
	}
	if opts.MaxConcurrentRequests < 0 {
		return nil, &ConfigError{Field: "MaxConcurrentRequests", Err: errors.New("negative")}
	}
	f := &Flow{options: *opts, pacer: wire.NewPacer(opts.MaxConcurrentRequests)}
	c := *creds
	c.Dependencies = slices.Clone(c.Dependencies)
	s, err := f.newSession(&c)
	if err != nil {
		return nil, err
	}
	f.current.Store(s)
	return f, nil
}

// newSession checks creds and makes a session of them.
func (f *Flow) newSession(creds *Credentials) (*session, error) {
	identity, err := creds.identity(f.options.DangerouslyAllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	cert, err := creds.certificate(time.Now())
	if err != nil {
		return nil, err
	}
	if err := creds.checkDependencies(); err != nil {
		return nil, err
	}
	client := wire.NewClient(wire.Config{
		Base: f.options.Base, RootCAs: f.options.RootCAs, Certificate: cert, Pacer: f.pacer,
	})
	return &session{creds, identity, client}, nil
}

// identity checks who and where, and returns it.
func (c *Credentials) identity(allowPlainHTTP bool) (*tokensource.Identity, error) {
	names := c.names()
	if strings.TrimSpace(c.ClientID) == "" {
		return nil, c.errorIn(names.clientID, errEmpty)
	}
	endpoint, err := wire.ParseEndpoint("", c.TokenServiceURL, allowPlainHTTP)
	if err != nil {
		return nil, c.errorIn(names.tokenServiceURL, err)
	}
	gateway, err := tokensource.ParseGatewayURL(c.GatewayURL)
	if err != nil {
		return nil, c.errorIn(names.gatewayURL, err)
	}
	return &tokensource.Identity{
		Flow: flowName, TokenEndpoint: endpoint.String(), ClientID: c.ClientID, Resource: resource, GatewayURL: gateway,
	}, nil
}

// Identity returns the credentials in force.
func (f *Flow) Identity() *tokensource.Identity { return f.current.Load().identity }

// ClientID returns the OAuth client id of the credentials in force.
func (f *Flow) ClientID(context.Context) (string, error) { return f.current.Load().creds.ClientID, nil }

// Tenant returns "": credentials of this flow belong to one tenant, so a requested
// one has no meaning. It is not an error, so that programs for tenants of their
// own run here too.
func (f *Flow) Tenant(context.Context, string) (string, error) { return "", nil }

// Fetch obtains a system token (RFC 6749, section 4.4), or, if s has a user, one in
// exchange for the user's (RFC 7523). Errors are of type [*tokensource.Error].
func (f *Flow) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	current := f.current.Load()
	r := wire.Request{
		Op:     "fetch system token",
		Method: http.MethodPost,
		URL:    current.identity.TokenEndpoint,
		Form:   url.Values{"client_id": {current.identity.ClientID}, "resource": {resource}},
	}
	if s.UserToken == "" {
		r.Form.Set("grant_type", grantClientCredentials)
		r.Form.Set("response_type", "token")
	} else {
		r.Op = "exchange user token"
		r.Form.Set("grant_type", grantJWTBearer)
		r.Form.Set("assertion", s.UserToken)
		r.Form.Set("token_format", "jwt")
		r.Secrets = []string{s.UserToken}
	}
	token, err := current.client.Token(ctx, r)
	if err != nil {
		return nil, err
	}
	return &tokensource.Response{TokenResponse: token, GatewayURL: current.identity.GatewayURL}, nil
}

// CloseIdleConnections closes the connections that no request is using.
func (f *Flow) CloseIdleConnections() { f.current.Load().client.CloseIdleConnections() }

// Reload reads the credentials file again if it is another one than before, or if
// refused is set. New credentials are in force at once, with new connections; an
// error names the file, and the old credentials stay. It does nothing for
// credentials that came from no file.
func (f *Flow) Reload(_ context.Context, refused bool) error {
	f.reloading.Lock()
	defer f.reloading.Unlock()
	old := f.current.Load()
	if old.creds.file == nil {
		return nil
	}
	path := old.creds.file.path
	changed, err := old.creds.file.changed()
	if err != nil {
		return unreadable(path, err)
	}
	if !changed && !refused {
		return nil
	}
	creds, err := load(path)
	if err != nil {
		return err
	}
	return f.replace(old, creds)
}

// replace puts creds in force. As far as they are those of old, its identity and
// its connections stay.
func (f *Flow) replace(old *session, creds *Credentials) error {
	if creds.sameAccess(old.creds) {
		if err := creds.checkDependencies(); err != nil {
			return err
		}
		f.current.Store(&session{creds, old.identity, old.client})
		return nil
	}
	s, err := f.newSession(creds)
	if err != nil {
		return err
	}
	f.current.Store(s)
	old.client.CloseIdleConnections()
	return nil
}

// Format prints the credentials in force without their secrets, whatever the verb.
func (f *Flow) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.describe()) }

// LogValue returns what Format prints.
func (f *Flow) LogValue() slog.Value { return slog.StringValue(f.describe()) }

func (f *Flow) describe() string {
	if f == nil {
		return "customer.Flow{none}"
	}
	return "customer.Flow{" + f.current.Load().creds.describe() + "}"
}
