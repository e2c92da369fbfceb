package lob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/flight"
	"github.com/agwgo/agw/internal/pace"
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
		err = errors.Join(err, &tokensource.ConfigError{Field: "Landscape", Err: errNoLandscape})
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
	// cover everything but the secret: with another secret it still is the same OAuth client.
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
	if err != nil && !errors.Is(err, tokensource.ErrInsecureURL) {
		err = fmt.Errorf("%w: copy it from the binding to the Destination Service", err)
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
var errReplaced error = &tokensource.Error{
	Op: opServiceToken, Kind: tokensource.Temporary, Err: errors.New("the credentials were replaced meanwhile"),
}

// A response is one of the Destination Service's with status 200.
type response struct {
	op, url string // of the request; the URL without its query
	body    []byte
	secrets []string // of the request
}

// unusable returns the error of a response that cannot be used. The description is the
// Destination Service's own, or "".
func (r *response) unusable(kind tokensource.Kind, description string, err error) *tokensource.Error {
	if description != "" {
		description = redact.New(r.secrets...).Clean(description)
	}
	return &tokensource.Error{
		Op: r.op, URL: r.url, StatusCode: http.StatusOK,
		Description: description, Kind: kind, Err: err,
	}
}

// errUserRefused: the Destination Service refuses a user token.
var errUserRefused = errors.New("the user token is refused, the service token is not")

// ask sends a GET to the Destination Service, on behalf of a tenant or, if tenant is "", of
// the provider. A service token that is refused is replaced once.
func (f *flow) ask(ctx context.Context, c *client, tenant, op, rawURL string, header http.Header) (*response, error) {
	token, err := f.serviceToken(ctx, c, tenant)
	if err != nil {
		return nil, err
	}
	resp, err := f.send(ctx, c, token, op, rawURL, header)
	if !hasStatus(err, op, http.StatusUnauthorized) || errors.Is(err, errUserRefused) {
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

// send sends a GET with the given service token. Status 401 to a request with a user token
// can be about either of the two: the same service token is then sent without the user. If
// it is accepted, the error is that of a user whom the service refuses.
func (f *flow) send(ctx context.Context, c *client, token *tokensource.Token, op, rawURL string, header http.Header) (*response, error) {
	resp, err := f.get(ctx, c, token, op, rawURL, header)
	if !hasStatus(err, op, http.StatusUnauthorized) || header.Get("X-User-Token") == "" {
		return resp, err
	}
	_, failed := f.get(ctx, c, token, op, rawURL+skipTokenRetrieval, nil)
	switch {
	case failed == nil:
		e := *asError(err)
		e.Kind, e.Code, e.RetryAfter, e.Err = tokensource.Denied, "invalid_grant", 0, errUserRefused
		return nil, &e
	case hasStatus(failed, op, http.StatusUnauthorized), asError(failed).Kind != tokensource.Temporary:
		return nil, err
	default: // nobody knows which of the two it was
		return nil, failed
	}
}

// get sends a GET with the given service token. The request ends with ctx, which must have
// a deadline. It has none of ctx's values, since a trace in them would be told the service
// token. A transport that ignores its context does not keep the caller waiting.
func (f *flow) get(ctx context.Context, c *client, token *tokensource.Token, op, rawURL string, header http.Header) (*response, error) {
	if ctx.Err() != nil { // nothing is sent
		return nil, unfinished(ctx, op, "", nil)
	}
	h := header.Clone()
	if h == nil {
		h = make(http.Header, 1)
	}
	h.Set("Authorization", token.Authorization())
	r := tokenservice.Request{Op: op, Method: http.MethodGet, URL: rawURL, Header: h,
		Secrets: []string{token.AccessToken(), c.credentials.ClientSecret, h.Get("X-User-Token")}}
	deadline, _ := ctx.Deadline()
	call, _ := f.requests.Start(&r, flight.Task[*tokenservice.Request, []byte]{
		Timeout: time.Until(deadline),
		Run: func(own context.Context) ([]byte, error) {
			own, cancel := context.WithCancel(own)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			return f.service.Do(own, r)
		},
	})
	body, err := call.Wait(ctx)
	withoutQuery, _, _ := strings.Cut(rawURL, "?")
	if err != nil && asError(err) == nil {
		err = unfinished(ctx, op, withoutQuery, err)
	}
	if err != nil {
		return nil, err
	}
	return &response{op: op, url: withoutQuery, body: body, secrets: r.Secrets}, nil
}

// unfinished returns the error of a request that nobody waited for any longer, because ctx
// ended or else because of err. The URL is where it was sent.
func unfinished(ctx context.Context, op, rawURL string, err error) error {
	if ctx.Err() != nil {
		err = pace.Cause(ctx)
	}
	return &tokensource.Error{Op: op, URL: rawURL, Kind: tokensource.Temporary, Err: err}
}

// serviceToken returns c's service token for a tenant, or for the provider. Errors name
// where it comes from.
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
		if f.inForce.Load() != before {
			continue
		}
		e := asError(err)
		switch {
		case err == nil || e != nil && e.Op == opServiceToken:
			return token, err
		case e == nil:
			return nil, unfinished(ctx, opServiceToken, c.auth.tokenURL(tenant), err)
		}
		named := *e // the source does not know where its flow was when the time was over
		named.Op, named.URL = opServiceToken, c.auth.tokenURL(tenant)
		return nil, &named
	}
}

// lookUp returns what is remembered under key, or what ask finds out by a request to rawURL.
// Any error is a [*tokensource.Error].
func (f *flow) lookUp(ctx context.Context, c *client, tenant, op, rawURL string, key cache.Key, ask func(context.Context) (string, error)) (found, error) {
	r, err := f.remembered.get(ctx, key, ask)
	if err == nil || asError(err) != nil {
		return r, err
	}
	// Others may wait on. If there is no service token, that is what they are waiting for.
	over, cancel := context.WithCancel(tokensource.WithSystemToken(tokensource.WithTenant(ctx, tenant)))
	cancel()
	if _, missing := f.serviceTokens.AccessToken(over); missing != nil {
		op, rawURL = opServiceToken, c.auth.tokenURL(tenant)
	}
	return found{}, unfinished(ctx, op, rawURL, err)
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
