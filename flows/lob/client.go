package lob

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/redact"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

// A client is the OAuth client that the credentials describe, with all that follows from
// them. It is immutable. When the credentials change, another one comes into force.
type client struct {
	credentials     Credentials
	identity        *tokensource.Identity // of the access tokens
	serviceIdentity *tokensource.Identity // of the service tokens
	auth            *authServer
	fragmentsURL    string
	destinationURL  string
}

// newClient checks the credentials.
func newClient(c Credentials, allowPlainHTTP bool) (*client, error) {
	c.Landscape = strings.TrimSpace(c.Landscape)
	err := c.checkComplete()
	if c.Landscape == "" {
		err = errors.Join(err, &tokensource.ConfigError{Field: "Landscape", Err: errors.New("missing or empty")})
	}
	if err != nil {
		return nil, err
	}
	authURL, err := c.parseURL("url", c.URL, allowPlainHTTP)
	if err != nil {
		return nil, err
	}
	destinationsURL, err := c.parseURL("uri", c.URI, allowPlainHTTP)
	if err != nil {
		return nil, err
	}
	auth, err := newAuthServer(authURL, c.IdentityZone)
	if err != nil {
		return nil, c.invalid("url", err)
	}
	base := strings.TrimRight(destinationsURL.String(), "/")
	destination := base + "/destination-configuration/v2/destinations/" +
		url.PathEscape("sap-managed-runtime-ias-"+c.Landscape) + "@provider_subaccount"
	// The wildcard stands for the label that differs from tenant to tenant. Both identities
	// cover everything but the secret: only that may change without a new generation.
	endpoint := auth.tokenURL("*")
	return &client{
		credentials:     c,
		identity:        &tokensource.Identity{Flow: flowName, TokenEndpoint: endpoint, ClientID: c.ClientID, Resource: destination},
		serviceIdentity: &tokensource.Identity{Flow: "lob-service", TokenEndpoint: endpoint, ClientID: c.ClientID, Resource: base},
		auth:            auth,
		fragmentsURL:    base + "/destination-configuration/v1/instanceDestinationFragments",
		destinationURL:  destination,
	}, nil
}

// parseURL returns the value of the given key, which is a URL without a query.
func (c *Credentials) parseURL(key, value string, allowPlainHTTP bool) (*url.URL, error) {
	u, err := tokenservice.ParseURL(value, allowPlainHTTP)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) {
		err = errors.New("the URL has a query")
	}
	if err != nil {
		return nil, c.invalid(key, err)
	}
	return u, nil
}

// same reports whether what was obtained for c is good for other.
func (c *client) same(other *client) bool { return *c.identity == *other.identity }

// key returns the key of something that is remembered for c.
func (c *client) key(parts ...string) cache.Key {
	id := c.identity
	return cache.NewKey(append([]string{id.TokenEndpoint, id.ClientID, id.Resource}, parts...)...)
}

// errReplaced ends what was begun for a client that is not in force any more.
var errReplaced = errors.New("agw: the credentials were replaced meanwhile")

// A response is one of the Destination Service's with status 200.
type response struct {
	op, url string // of the request; the URL without its query
	body    []byte
	secrets []string // of the request
}

// unusable returns the error of a response that cannot be used. The description is the
// Destination Service's own, or "".
func (r *response) unusable(kind tokensource.Kind, description string, err error) error {
	if description != "" {
		description = redact.New(r.secrets...).Clean(description)
	}
	return &tokensource.Error{
		Op: r.op, URL: r.url, StatusCode: http.StatusOK,
		Description: description, Kind: kind, Err: err,
	}
}

// ask sends a GET to the Destination Service, on behalf of a tenant or, if tenant is "", of
// the provider. A service token that is refused is replaced once.
func (f *flow) ask(ctx context.Context, c *client, tenant, op, rawURL string, header http.Header) (*response, error) {
	token, err := f.serviceToken(ctx, c, tenant)
	if err != nil {
		return nil, err
	}
	resp, err := f.send(ctx, c, token, op, rawURL, header)
	if !hasStatus(err, op, http.StatusUnauthorized) {
		return resp, err
	}
	f.serviceTokens.Invalidate(token)
	next, failed := f.serviceToken(ctx, c, tenant)
	switch {
	case failed != nil:
		return nil, failed
	case next == token:
		// It was replaced a moment ago, and will be again in a moment. Until then, the tokens
		// of users are left alone.
		e := *asError(err)
		e.Kind = tokensource.Temporary
		return nil, &e
	}
	return f.send(ctx, c, next, op, rawURL, header)
}

// send sends a GET with the given service token.
func (f *flow) send(ctx context.Context, c *client, token *tokensource.Token, op, rawURL string, header http.Header) (*response, error) {
	h := header.Clone()
	if h == nil {
		h = make(http.Header, 1)
	}
	h.Set("Authorization", token.Authorization())
	secrets := []string{token.AccessToken(), c.credentials.ClientSecret, h.Get("X-User-Token")}
	body, err := f.service.Do(ctx, tokenservice.Request{Op: op, Method: http.MethodGet, URL: rawURL, Header: h, Secrets: secrets})
	if err != nil {
		return nil, err
	}
	withoutQuery, _, _ := strings.Cut(rawURL, "?")
	return &response{op: op, url: withoutQuery, body: body, secrets: secrets}, nil
}

// serviceToken returns c's service token for a tenant, or for the provider.
func (f *flow) serviceToken(ctx context.Context, c *client, tenant string) (*tokensource.Token, error) {
	ctx = tokensource.WithSystemToken(tokensource.WithTenant(ctx, tenant))
	for {
		// The token is that of the client in force. One that has been replaced never comes into
		// force again, so if it is the same before and after, it was all the time.
		before := f.inForce.Load()
		if !before.same(c) {
			return nil, errReplaced
		}
		token, err := f.serviceTokens.AccessToken(ctx)
		if f.inForce.Load() == before {
			return token, err
		}
	}
}

// asError returns err as a [*tokensource.Error], or nil.
func asError(err error) *tokensource.Error {
	var e *tokensource.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// hasStatus reports whether err is a response with that status to the request that op
// names.
func hasStatus(err error, op string, status int) bool {
	e := asError(err)
	return e != nil && e.Op == op && e.StatusCode == status
}
