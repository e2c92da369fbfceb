package lob

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// A session is everything that depends on the binding. It is replaced as a whole
// when the binding changes: nothing that was obtained with the old one is used
// afterwards. All of it but its caches is immutable.
type session struct {
	binding  *Binding
	identity *tokensource.Identity
	client   *wire.Client
	tokens   *tokensource.Source // service tokens
	names    *memo               // of fragments; and the client id
	base     string              // of the Destination Service, without a slash at the end
	where    string              // URL of the destination
}

// newSession returns the session of a binding. It checks the binding; nothing is sent
// yet.
func newSession(b Binding, landscape string, client *wire.Client, o *options) (*session, error) {
	if err := b.complete(); err != nil {
		return nil, err
	}
	tokens, err := newServiceTokens(&b, client, o)
	if err != nil {
		return nil, err
	}
	uri, err := endpoint(&b, "uri", b.URI, o.DangerouslyAllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	base := strings.TrimRight(uri.String(), "/")
	name := "sap-managed-runtime-ias-" + landscape
	return &session{
		binding: &b, client: client, tokens: tokens,
		identity: &tokensource.Identity{Flow: "lob", TokenEndpoint: base, ClientID: b.ClientID, Resource: name},
		names:    newMemo(2*o.serviceSettings().MaxSystemTokens, o.settings.FetchTimeout, o.Clock),
		base:     base,
		where:    base + "/destination-configuration/v2/destinations/" + url.PathEscape(name) + "@provider_subaccount",
	}, nil
}

// A reply is what the Destination Service answered, and what an error about it must
// not show.
type reply struct {
	body    []byte
	secrets []string
}

// ask sends r, a GET, to the Destination Service on behalf of a tenant, or of the
// provider if tenant is "". A service token that is refused is replaced once.
func (s *session) ask(ctx context.Context, tenant string, r wire.Request) (reply, error) {
	ctx = tokensource.WithTechnicalToken(tokensource.WithTenant(ctx, tenant))
	grant, err := s.tokens.Grant(ctx)
	if err != nil {
		return reply{}, err
	}
	got, err := s.send(ctx, grant, r)
	if !answered(err, http.StatusUnauthorized) {
		return got, err
	}
	s.tokens.Invalidate(grant)
	fresh, failed := s.tokens.Grant(ctx)
	switch {
	case failed != nil:
		return reply{}, failed
	case fresh == grant: // it was a new one a moment ago, and may be replaced soon
		return reply{}, notForGood(err)
	}
	return s.send(ctx, fresh, r)
}

// notForGood returns err as a passing one, which leaves the tokens of users alone.
func notForGood(err error) error {
	e := *asError(err)
	e.Kind = tokensource.Passing
	return &e
}

// send sends r with a service token.
func (s *session) send(ctx context.Context, grant *tokensource.Grant, r wire.Request) (reply, error) {
	r.Method = http.MethodGet
	if r.Header = r.Header.Clone(); r.Header == nil {
		r.Header = make(http.Header, 1)
	}
	r.Header["Authorization"] = grant.Authorization()
	r.Secrets = []string{grant.Token().AccessToken, s.binding.ClientSecret, r.Header.Get("X-User-Token")}
	body, err := s.client.Do(ctx, r)
	return reply{body, r.Secrets}, err
}

// forget drops what is remembered of a tenant.
func (s *session) forget(tenant string) {
	s.tokens.Forget(tokensource.Subject{Tenant: tenant})
	for _, label := range [...]string{labelSystem, labelUser} {
		s.names.forget(fragmentKey(tenant, label))
	}
}

// purge drops everything that is remembered.
func (s *session) purge() {
	s.tokens.Purge()
	s.names.purge()
}
