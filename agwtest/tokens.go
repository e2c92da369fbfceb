package agwtest

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

const (
	tokenPath      = "/oauth2/token" // of the token service
	authPath       = "/oauth/token"  // of the authorization server
	grantClient    = "client_credentials"
	grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// serveToken is the token endpoint of the customer flow.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != tokenPath {
		http.NotFound(w, r)
		return
	}
	c, problem := s.checkTokenRequest(r)
	if problem != nil {
		problem.write(w)
		return
	}
	s.writeToken(w, s.Tokens, c)
}

// checkTokenRequest checks a request of the customer flow, field by field, and
// returns the claims of the token to issue.
func (s *Server) checkTokenRequest(r *http.Request) (claims, *oauthError) {
	if problem := checkTokenHeader(r); problem != nil {
		return claims{}, problem
	}
	if accept := r.Header.Values("Accept"); len(accept) != 1 || accept[0] != "application/json" {
		return claims{}, oauthErrorf(codeInvalidRequest, "Accept is not application/json")
	}
	// Whether a certificate is needed at all, its chain and its validity were
	// settled by the TLS handshake.
	if chain := r.TLS.PeerCertificates; len(chain) > 0 && !s.credentials.accepts(chain[0].SerialNumber.String()) {
		return claims{}, oauthErrorf(codeInvalidClient, "the client certificate is not registered")
	}
	switch grantType := r.PostForm.Get("grant_type"); grantType {
	case grantClient:
		return claims{Subject: clientID, Client: clientID, Tenant: provider, Audience: audienceGateway},
			checkForm(r.PostForm, url.Values{
				"client_id":     {clientID},
				"grant_type":    {grantClient},
				"resource":      {audienceGateway},
				"response_type": {"token"},
			})
	case grantJWTBearer:
		problem := checkForm(r.PostForm, url.Values{
			"client_id":    {clientID},
			"grant_type":   {grantJWTBearer},
			"resource":     {audienceGateway},
			"assertion":    nil,
			"token_format": {"jwt"},
		})
		if problem != nil {
			return claims{}, problem
		}
		return s.checkAssertion(r.PostForm.Get("assertion"))
	case "":
		return claims{}, oauthErrorf(codeInvalidRequest, "grant_type is missing")
	default:
		return claims{}, oauthErrorf(codeUnsupportedType, "grant_type is neither %s nor %s", grantClient, grantJWTBearer)
	}
}

// checkAssertion verifies a user's JWT (RFC 7523 section 3) and returns the
// claims of the token to exchange it for.
func (s *Server) checkAssertion(assertion string) (claims, *oauthError) {
	user, err := s.signer.verify(assertion, audienceUser)
	if err != nil {
		return claims{}, oauthErrorf(codeInvalidGrant, "assertion: %v", err)
	}
	if s.Tokens.refuses(user.User) {
		return claims{}, oauthErrorf(codeInvalidGrant, "the user is not allowed")
	}
	return claims{
		Subject: user.Subject, User: user.User, Client: clientID, Tenant: user.Tenant, Audience: audienceGateway,
	}, nil
}

// serveAuth is the token endpoint of the authorization server. The host name
// names the tenant that the token is for.
func (s *Server) serveAuth(w http.ResponseWriter, r *http.Request) {
	tenant, ok := hostTenant(r.Host)
	switch {
	case r.URL.Path != authPath:
		http.NotFound(w, r)
		return
	case !ok:
		(&oauthError{http.StatusNotFound, "unknown_zone", "the host name belongs to no tenant"}).write(w)
		return
	}
	problem := checkTokenHeader(r)
	if problem == nil {
		problem = checkForm(r.PostForm, url.Values{
			"grant_type":    {grantClient},
			"client_id":     {bindingClientID},
			"client_secret": nil,
		})
	}
	if problem == nil && !s.credentials.accepts(r.PostForm.Get("client_secret")) {
		problem = oauthErrorf(codeInvalidClient, "client_secret is wrong")
	}
	if problem != nil {
		problem.write(w)
		return
	}
	s.writeToken(w, s.Auth, claims{
		Subject: bindingClientID, Client: bindingClientID, Tenant: tenant, Audience: audienceDestination,
	})
}

// hostTenant is the first label of a host name of the authorization server.
func hostTenant(hostport string) (tenant string, ok bool) {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	tenant, parent, _ := strings.Cut(host, ".")
	return tenant, strings.EqualFold(parent, tenantDomain) && tenant != ""
}
