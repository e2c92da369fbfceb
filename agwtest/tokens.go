package agwtest

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	tokenPath           = "/oauth2/token"
	grantClient         = "client_credentials"
	grantJWTBearer      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	codeInvalidRequest  = "invalid_request"
	codeInvalidClient   = "invalid_client"
	codeInvalidGrant    = "invalid_grant"
	codeInvalidTarget   = "invalid_target" // RFC 8707 section 2
	codeUnsupportedType = "unsupported_grant_type"
)

// refusal is an RFC 6749 section 5.2 error to answer with.
type refusal struct {
	status            int
	code, description string
}

func refuse(code, format string, args ...any) *refusal {
	status := http.StatusBadRequest
	if code == codeInvalidClient {
		status = http.StatusUnauthorized
	}
	return &refusal{status: status, code: code, description: fmt.Sprintf(format, args...)}
}

func (e *refusal) write(w http.ResponseWriter) { writeOAuthError(w, e.status, e.code, e.description) }

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

// writeToken issues a token with the claims and answers with it (RFC 6749
// section 5.1).
func (s *Server) writeToken(w http.ResponseWriter, issuer *Issuer, c claims) {
	t, err := issuer.issue(s.signer, c)
	if err != nil {
		writeOAuthError(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	response := map[string]any{
		"access_token": t.token,
		"token_type":   "Bearer",
		"expires_in":   int64(t.life / time.Second),
	}
	issuer.shape(response, t.expiry)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, response)
}

// checkTokenRequest checks a request of the customer flow, field by field, and
// returns the claims of the token that it is due.
func (s *Server) checkTokenRequest(r *http.Request) (claims, *refusal) {
	if problem := checkTokenHeader(r); problem != nil {
		return claims{}, problem
	}
	if accept := r.Header.Values("Accept"); len(accept) != 1 || accept[0] != "application/json" {
		return claims{}, refuse(codeInvalidRequest, "Accept is not application/json")
	}
	if problem := s.checkClientCertificate(r); problem != nil {
		return claims{}, problem
	}
	switch grant := r.PostForm.Get("grant_type"); grant {
	case grantClient:
		return s.checkSystemForm(r.PostForm)
	case grantJWTBearer:
		return s.checkUserForm(r.PostForm)
	case "":
		return claims{}, refuse(codeInvalidRequest, "grant_type is missing")
	default:
		return claims{}, refuse(codeUnsupportedType, "grant_type is neither %s nor %s", grantClient, grantJWTBearer)
	}
}

func (s *Server) checkSystemForm(form url.Values) (claims, *refusal) {
	problem := checkForm(form, url.Values{
		"client_id":     {s.options.ClientID},
		"grant_type":    {grantClient},
		"resource":      {audienceGateway},
		"response_type": {"token"},
	})
	return claims{
		Subject: s.options.ClientID, Client: s.options.ClientID,
		Tenant: s.options.IdentityZone, Audience: audienceGateway,
	}, problem
}

func (s *Server) checkUserForm(form url.Values) (claims, *refusal) {
	problem := checkForm(form, url.Values{
		"client_id":    {s.options.ClientID},
		"grant_type":   {grantJWTBearer},
		"resource":     {audienceGateway},
		"assertion":    nil,
		"token_format": {"jwt"},
	})
	if problem != nil {
		return claims{}, problem
	}
	return s.checkAssertion(form.Get("assertion"))
}

// checkTokenHeader checks what all token endpoints want of a request.
func checkTokenHeader(r *http.Request) *refusal {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		return &refusal{http.StatusMethodNotAllowed, codeInvalidRequest, "the method is not POST"}
	case media != "application/x-www-form-urlencoded":
		return refuse(codeInvalidRequest, "Content-Type is not application/x-www-form-urlencoded")
	case r.Header.Get("Authorization") != "":
		return refuse(codeInvalidRequest, "there is an Authorization header")
	case r.URL.RawQuery != "":
		return refuse(codeInvalidRequest, "there are parameters in the URL")
	}
	return nil
}

// checkClientCertificate checks whose certificate it is; whether one is needed
// at all, and its chain and validity, were settled by the handshake.
func (s *Server) checkClientCertificate(r *http.Request) *refusal {
	chain := r.TLS.PeerCertificates
	if len(chain) > 0 && !s.pki.registered(chain[0], s.options.ClientID) {
		return refuse(codeInvalidClient, "the client certificate is not registered")
	}
	return nil
}

// checkForm wants exactly the fields of want, each once and with that value; a
// nil value stands for any that is not empty.
func checkForm(form, want url.Values) *refusal {
	for name, values := range form {
		if _, known := want[name]; !known {
			return refuse(codeInvalidRequest, "%s is not a field of this request", name)
		}
		if len(values) != 1 {
			return refuse(codeInvalidRequest, "%s is repeated", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value := form.Get(name)
		switch {
		case value == "":
			return refuse(codeInvalidRequest, "%s is missing", name)
		case want[name] != nil && value != want.Get(name):
			return refuse(wrongFieldCode(name), "%s is wrong", name)
		}
	}
	return nil
}

func wrongFieldCode(field string) string {
	switch field {
	case "client_id", "client_secret":
		return codeInvalidClient
	case "resource":
		return codeInvalidTarget
	default:
		return codeInvalidRequest
	}
}

// checkAssertion verifies a user's JWT (RFC 7523 section 3) and returns the
// claims of the token to exchange it for.
func (s *Server) checkAssertion(assertion string) (claims, *refusal) {
	user, err := s.signer.verify(assertion, audienceUser)
	if err != nil {
		return claims{}, refuse(codeInvalidGrant, "assertion: %v", err)
	}
	if s.Tokens.refuses(user.User) {
		return claims{}, refuse(codeInvalidGrant, "the user is not allowed")
	}
	return claims{
		Subject: user.Subject, User: user.User, Client: s.options.ClientID,
		Tenant: user.Tenant, Audience: audienceGateway,
	}, nil
}

// User is somebody on whose behalf an agent acts.
type User struct {
	// Name is the user's name, which the gateway tells back; "" means "user".
	Name string
	// Tenant is the user's tenant; "" means [Options.IdentityZone].
	Tenant string
	// Lifetime of the user's JWT; 0 means an hour, and less an expired one.
	Lifetime time.Duration
}

// UserToken is a signed JWT of a user as an agent receives it, a new one on
// each call. It is "" only when signing fails.
func (s *Server) UserToken(u User) string {
	name := orDefault(u.Name, "user")
	t, err := s.signer.sign(claims{
		Subject: name, User: name,
		Tenant:   orDefault(u.Tenant, s.options.IdentityZone),
		Audience: audienceUser,
	}, orDefault(u.Lifetime, time.Hour), nil)
	if err != nil {
		return ""
	}
	return t.token
}
