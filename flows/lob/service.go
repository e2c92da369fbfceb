package lob

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// minServiceTokens is how many service tokens are kept at least, one a tenant.
const minServiceTokens = 1024

// opServiceToken is the Op of errors of the authorization server.
const opServiceToken = "fetch service token"

// An authServer is the authorization server. Each tenant has a host of its own,
// which differs from the provider's in one label.
type authServer struct {
	provider      url.URL // the token endpoint of the provider
	before, after string  // what surrounds the tenant's label in the host
}

// newAuthServer returns the authorization server at base, whose host has the label
// zone. At least one more label must follow it: a tenant never decides on the
// whole host, nor on its top-level domain.
func newAuthServer(base *url.URL, zone string) (*authServer, error) {
	a := &authServer{provider: *base}
	a.provider.Path = strings.TrimRight(base.Path, "/") + "/oauth/token"
	a.provider.RawPath = ""
	if base.RawPath != "" {
		a.provider.RawPath = strings.TrimRight(base.RawPath, "/") + "/oauth/token"
	}
	at := labelIndex(base.Hostname(), zone)
	if at < 0 {
		return nil, errors.New("the host has no label that is the identityzone, followed by a domain")
	}
	a.before, a.after = base.Host[:at], base.Host[at+len(zone):]
	return a, nil
}

// labelIndex returns where host has the label, whatever its case, followed by
// another one; -1 if it has not. An IP address has no labels.
func labelIndex(host, label string) int {
	if _, err := netip.ParseAddr(host); err == nil || label == "" {
		return -1
	}
	at := 0
	for rest := host; ; {
		first, others, _ := strings.Cut(rest, ".")
		switch {
		case strings.TrimRight(others, ".") == "":
			return -1
		case strings.EqualFold(first, label):
			return at
		}
		at += len(first) + 1
		rest = others
	}
}

// tokenURL returns the token endpoint of a tenant, or of the provider for "".
func (a *authServer) tokenURL(tenant string) string {
	u := a.provider
	if tenant != "" {
		u.Host = a.before + tenant + a.after
	}
	return u.String()
}

// A serviceFlow obtains service tokens: what the agent shows to the Destination
// Service when it acts for a tenant, or for itself where there is none. It is
// immutable.
type serviceFlow struct {
	client   *wire.Client
	server   *authServer
	identity *tokensource.Identity
	secret   string
}

func (f *serviceFlow) Identity() *tokensource.Identity { return f.identity }

// Tenant checks the tenant once more: this is where it becomes a part of a host.
func (f *serviceFlow) Tenant(_ context.Context, requested string) (string, error) {
	if requested == "" { // the provider
		return "", nil
	}
	return requested, checkTenant(requested)
}

// Fetch is the client credentials grant (RFC 6749, section 4.4), with the secret in
// the body (section 2.3.1).
func (f *serviceFlow) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	token, err := f.client.Token(ctx, wire.Request{
		Op:     opServiceToken,
		Method: http.MethodPost,
		URL:    f.server.tokenURL(s.Tenant),
		Form: url.Values{
			"grant_type":    {"client_credentials"},
			"client_id":     {f.identity.ClientID},
			"client_secret": {f.secret},
		},
		Secrets: []string{f.secret},
	})
	if err != nil {
		return nil, err
	}
	return &tokensource.Response{TokenResponse: token}, nil
}

// newServiceTokens returns the source of the service tokens of b.
func newServiceTokens(b *Binding, client *wire.Client, o *options) (*tokensource.Source, error) {
	base, err := endpoint(b, "url", b.URL, o.DangerouslyAllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	server, err := newAuthServer(base, b.IdentityZone)
	if err != nil {
		return nil, b.wrong("url", err)
	}
	flow := &serviceFlow{
		client: client, server: server, secret: b.ClientSecret,
		identity: &tokensource.Identity{Flow: "lob-service", TokenEndpoint: server.tokenURL(""), ClientID: b.ClientID},
	}
	return tokensource.New(flow, tokensource.Options{
		Settings: o.serviceSettings(), Logger: o.Logger, OnEvent: o.OnEvent, Clock: o.Clock,
	})
}

// endpoint returns the URL that a key of b names.
func endpoint(b *Binding, key, raw string, allowPlainHTTP bool) (*url.URL, error) {
	u, err := wire.ParseEndpoint("", raw, allowPlainHTTP)
	switch {
	case err != nil:
		return nil, b.wrong(key, err)
	case u.RawQuery != "" || u.ForceQuery:
		return nil, b.wrong(key, errors.New("the URL has a query"))
	}
	return u, nil
}
