package agwtest

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	destinationsPath = "/destination-configuration/v2/destinations/"
	levelProvider    = "@provider_subaccount"
	levelInstance    = "@instance"
)

// serviceError is an error as the Destination Service answers it.
type serviceError struct {
	status  int
	message string
}

func (e *serviceError) write(w http.ResponseWriter) {
	writeJSON(w, e.status, map[string]string{"ErrorMessage": e.message})
}

// destinationKnobs are what tests change of the answers of the destinations.
type destinationKnobs struct {
	mu         sync.Mutex
	properties map[string]any
	tokens     func(entry map[string]any) []any
	cache      map[tokenKey]issued // nil when switched off
}

type tokenKey struct{ tenant, fragment, userToken string }

// SetDestinationProperty overrides a property of destinationConfiguration from
// now on; nil leaves it out.
func (s *Server) SetDestinationProperty(name string, value any) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	if s.knobs.properties == nil {
		s.knobs.properties = map[string]any{}
	}
	s.knobs.properties[name] = value
}

// ShapeAuthTokens has shape turn the entry that would be answered into the list
// authTokens; nil removes the one before. It is called concurrently.
func (s *Server) ShapeAuthTokens(shape func(entry map[string]any) []any) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	s.knobs.tokens = shape
}

// CacheTokens has the Destination Service answer with the token it answered
// before as long as that lives, as the real one does, or fetch each anew, which
// is the default. Switching empties the cache.
func (s *Server) CacheTokens(on bool) {
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	s.knobs.cache = nil
	if on {
		s.knobs.cache = map[tokenKey]issued{}
	}
}

// destinationOrigin serves both endpoints of the Destination Service.
func (s *Server) destinationOrigin() http.Handler {
	fragments := s.serve(s.Fragments, noteServiceRequest, s.serveFragments)
	destinations := s.serve(s.Destinations.Service, noteServiceRequest, s.serveDestination)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == fragmentsPath {
			fragments.ServeHTTP(w, r)
			return
		}
		destinations.ServeHTTP(w, r)
	})
}

// noteServiceRequest records the tenant of the bearer and the user of the
// X-user-token.
func noteServiceRequest(r *http.Request, d *Request) {
	noteBearer(r, d)
	if c, err := peek(r.Header.Get("X-User-Token")); err == nil {
		d.User = c.User
	}
}

// checkServiceToken verifies the bearer of a request to the Destination Service.
func (s *Server) checkServiceToken(r *http.Request) (claims, *serviceError) {
	token, ok := bearer(r)
	if !ok {
		return claims{}, &serviceError{http.StatusUnauthorized, "there is no bearer token"}
	}
	c, err := s.signer.verify(token, audienceDestination)
	switch {
	case errors.Is(err, errAudience) && c.Audience == audienceGateway:
		return claims{}, &serviceError{http.StatusUnprocessableEntity, "the token is one of the identity service"}
	case err != nil:
		return claims{}, &serviceError{http.StatusUnauthorized, "the bearer token was refused: " + err.Error()}
	case s.revoked.hasService(c):
		return claims{}, &serviceError{http.StatusUnauthorized, "the bearer token has been revoked"}
	}
	return c, nil
}

// DestinationName is the name of the destination that the flow is to ask for.
func (s *Server) DestinationName() string { return "sap-managed-runtime-ias-" + s.options.Landscape }

// serveDestination finds the destination and, unless it is told to skip that,
// the token to call it with.
func (s *Server) serveDestination(w http.ResponseWriter, r *http.Request) {
	c, problem := s.checkDestinationRequest(r)
	if problem != nil {
		problem.write(w)
		return
	}
	answer := map[string]any{"owner": map[string]any{"SubaccountId": s.options.IdentityZone}}
	if r.URL.Query().Get("$skipTokenRetrieval") == "true" {
		answer["destinationConfiguration"] = s.configuration(c.Tenant)
		writeJSON(w, http.StatusOK, answer)
		return
	}
	user, fragment, problem := s.checkFragmentRequest(r, c)
	if problem != nil {
		problem.write(w)
		return
	}
	tokens, err := s.authTokens(tokenKey{c.Tenant, fragment, r.Header.Get("X-User-Token")}, user)
	if err != nil {
		(&serviceError{http.StatusInternalServerError, err.Error()}).write(w)
		return
	}
	answer["destinationConfiguration"] = s.configuration(c.Tenant)
	answer["authTokens"] = tokens
	writeJSON(w, http.StatusOK, answer)
}

// checkDestinationRequest checks what every request for a destination needs.
func (s *Server) checkDestinationRequest(r *http.Request) (claims, *serviceError) {
	c, problem := s.checkServiceToken(r)
	if problem != nil {
		return c, problem
	}
	name, ok := strings.CutPrefix(r.URL.Path, destinationsPath)
	switch {
	case r.Method != http.MethodGet:
		return c, &serviceError{http.StatusMethodNotAllowed, "the method is not GET"}
	case !ok:
		return c, &serviceError{http.StatusNotFound, "there is no such endpoint"}
	case r.Header.Get("Accept") != "application/json":
		return c, &serviceError{http.StatusBadRequest, "Accept is not application/json"}
	case r.Header.Get("X-Tenant") != "":
		return c, &serviceError{http.StatusBadRequest, "X-tenant does not go with a tenant's token or X-user-token"}
	case name != s.DestinationName()+levelProvider:
		return c, &serviceError{http.StatusNotFound, "Configuration with the specified name was not found"}
	}
	return c, nil
}

// checkFragmentRequest checks fragment and user of a request for a token. The
// fragment has to be one for users exactly if there is a user.
func (s *Server) checkFragmentRequest(r *http.Request, c claims) (user, fragment string, problem *serviceError) {
	label := LabelSystem
	if token := r.Header.Get("X-User-Token"); token != "" {
		u, err := s.signer.verify(token, audienceUser)
		switch {
		case err != nil:
			return "", "", &serviceError{http.StatusUnauthorized, "X-user-token was refused: " + err.Error()}
		case u.Tenant != c.Tenant:
			return "", "", &serviceError{http.StatusBadRequest, "X-user-token is of another tenant"}
		}
		label, user = LabelUser, u.User
	}
	fragment, ok := strings.CutSuffix(r.Header.Get("X-Fragment-Name"), levelInstance)
	switch {
	case !ok:
		return "", "", &serviceError{http.StatusBadRequest, "X-fragment-name is not of the form name" + levelInstance}
	case !s.hasFragment(c.Tenant, label, fragment):
		return "", "", &serviceError{http.StatusNotFound, "the fragment was not found"}
	}
	return user, fragment, nil
}

func (s *Server) configuration(tenant string) map[string]any {
	configuration := map[string]any{
		"Name":           s.DestinationName(),
		"Type":           "HTTP",
		"ProxyType":      "Internet",
		"Authentication": "OAuth2ClientCredentials",
		"URL":            s.TenantGatewayURL(tenant),
		"clientId":       s.ClientID(),
	}
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	for name, value := range s.knobs.properties {
		override(configuration, name, value, time.Time{})
	}
	return configuration
}

// authTokens is the list of that name: one entry, or what tests make of it.
func (s *Server) authTokens(key tokenKey, user string) ([]any, error) {
	if user != "" && s.Destinations.refuses(user) {
		return []any{map[string]any{
			"type": "", "value": "", "error": codeInvalidGrant + ": the user is not allowed",
		}}, nil
	}
	t, err := s.destinationToken(key, user)
	if err != nil {
		return nil, err
	}
	entry := map[string]any{
		"type":        "bearer",
		"value":       t.token,
		"http_header": map[string]any{"key": "Authorization", "value": "Bearer " + t.token},
		"expires_in":  strconv.FormatInt(int64(t.life/time.Second), 10),
		"scope":       "",
	}
	s.Destinations.shape(entry, t.expiry)
	s.knobs.mu.Lock()
	shape := s.knobs.tokens
	s.knobs.mu.Unlock()
	if shape == nil {
		return []any{entry}, nil
	}
	return shape(entry), nil
}

// destinationToken issues a token or takes the one that is cached.
func (s *Server) destinationToken(key tokenKey, user string) (issued, error) {
	s.knobs.mu.Lock()
	t, ok := s.knobs.cache[key]
	s.knobs.mu.Unlock()
	if left := time.Until(t.expiry); ok && left >= time.Second {
		t.life = left
		return t, nil
	}
	c := claims{
		Subject: orDefault(user, s.ClientID()), User: user, Client: s.ClientID(),
		Tenant: key.tenant, Audience: audienceGateway, Gateway: s.gatewayOf(key.tenant),
	}
	t, err := s.Destinations.issue(s.signer, c)
	if err != nil {
		return issued{}, err
	}
	s.knobs.mu.Lock()
	defer s.knobs.mu.Unlock()
	if s.knobs.cache != nil {
		maps.DeleteFunc(s.knobs.cache, func(_ tokenKey, t issued) bool { return !time.Now().Before(t.expiry) })
		s.knobs.cache[key] = t
	}
	return t, nil
}
