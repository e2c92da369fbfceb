package lob

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

// opServiceToken is the Op of errors of the authorization server.
const opServiceToken = "fetch service token"

// serviceFlow obtains service tokens for the client in force. With the token of a tenant,
// the agent calls the Destination Service on behalf of that tenant; with that of the tenant
// "", on its own behalf, as the provider.
type serviceFlow struct{ flow *flow }

func (s *serviceFlow) Identity() *tokensource.Identity { return s.flow.inForce.Load().serviceIdentity }

// Reload lets the source of the service tokens recover by itself if the secret is refused.
func (s *serviceFlow) Reload(ctx context.Context) error { return s.flow.Reload(ctx) }

// Now is the clock of the source; see [tokensource.New].
func (s *serviceFlow) Now() cache.Instant { return s.flow.now() }

// Tenant checks the tenant once more, since it becomes a part of a host.
func (s *serviceFlow) Tenant(_ context.Context, requested string) (string, error) {
	if requested == "" {
		return "", nil
	}
	return requested, checkTenant(requested)
}

// Fetch sends a client credentials grant (RFC 6749, section 4.4), with the secret in the
// body (section 2.3.1).
func (s *serviceFlow) Fetch(ctx context.Context, subject tokensource.Subject) (*tokensource.Response, error) {
	c := s.flow.inForce.Load()
	secret := c.credentials.ClientSecret
	resp, err := s.flow.service.Token(ctx, tokenservice.Request{
		Op:     opServiceToken,
		Method: http.MethodPost,
		URL:    c.auth.tokenURL(subject.Tenant()),
		Form: url.Values{
			"grant_type":    {"client_credentials"},
			"client_id":     {c.credentials.ClientID},
			"client_secret": {secret},
		},
		Secrets: []string{secret},
	})
	if subject.Tenant() != "" && hasStatus(err, opServiceToken, http.StatusNotFound) {
		e := *asError(err)
		e.Err = fmt.Errorf("no tenant %q there: name a tenant by the subdomain of its subaccount, not by an id or a name", subject.Tenant())
		return nil, &e
	}
	return resp, err
}

// An authServer is the authorization server. Each tenant has a host of its own, which
// differs from the provider's in one label.
type authServer struct {
	provider      url.URL // the token endpoint of the provider
	before, after string  // what surrounds the label in the host
}

// newAuthServer returns the authorization server at base, whose host has the label zone. At
// least one more label must follow: a tenant never decides on the whole host, nor on its
// top-level domain.
func newAuthServer(base *url.URL, zone string) (*authServer, error) {
	a := &authServer{provider: *base}
	a.provider.Path = strings.TrimRight(base.Path, "/") + "/oauth/token"
	if base.RawPath != "" {
		a.provider.RawPath = strings.TrimRight(base.RawPath, "/") + "/oauth/token"
	}
	at := labelIndex(base.Hostname(), zone)
	if at < 0 {
		return nil, fmt.Errorf("the host %q has no label that is the identityzone, with a domain after it: copy both from one binding", base.Hostname())
	}
	a.before, a.after = base.Host[:at], base.Host[at+len(zone):]
	return a, nil
}

// labelIndex returns where host has the label, whatever its case, followed by another one;
// -1 if it has not. An IP address has no labels.
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
