package agwtest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

const (
	destinationsPath = "/destination-configuration/v2/destinations/"
	destinationName  = "sap-managed-runtime-ias-" + landscape
	levelProvider    = "@provider_subaccount"
	levelInstance    = "@instance"
)

// serviceError is an error as the Destination Service responds with.
type serviceError struct {
	status  int
	message string
}

func (e *serviceError) write(w http.ResponseWriter) {
	writeJSON(w, e.status, map[string]string{"ErrorMessage": e.message})
}

// destinationService serves both endpoints of the Destination Service.
func (s *Server) destinationService() http.Handler {
	fragments := s.serve(s.Fragments, recordServiceRequest, s.serveFragments)
	destinations := s.serve(s.Destinations.Service, recordServiceRequest, s.serveDestination)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == fragmentsPath {
			fragments.ServeHTTP(w, r)
			return
		}
		destinations.ServeHTTP(w, r)
	})
}

// checkServiceToken verifies the bearer token of a request to the Destination
// Service.
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
		return claims{}, &serviceError{http.StatusUnauthorized, "the bearer token was rejected: " + err.Error()}
	case s.revoked.hasServiceToken(c):
		return claims{}, &serviceError{http.StatusUnauthorized, "the bearer token has been revoked"}
	}
	return c, nil
}

// serveDestination responds with the destination and, unless the request skips
// it, the token to call it with.
func (s *Server) serveDestination(w http.ResponseWriter, r *http.Request) {
	c, problem := s.checkDestinationRequest(r)
	if problem != nil {
		problem.write(w)
		return
	}
	response := map[string]any{
		"owner": map[string]any{"SubaccountId": provider},
		"destinationConfiguration": map[string]any{
			"Name":           destinationName,
			"Type":           "HTTP",
			"ProxyType":      "Internet",
			"Authentication": "OAuth2ClientCredentials",
			"URL":            s.TenantGatewayURL(c.Tenant),
			"clientId":       clientID,
		},
	}
	if r.URL.Query().Get("$skipTokenRetrieval") != "true" {
		user, problem := s.checkFragmentRequest(r, c)
		if problem != nil {
			problem.write(w)
			return
		}
		response["authTokens"] = []any{s.authToken(c.Tenant, user)}
	}
	writeJSON(w, http.StatusOK, response)
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
	case name != destinationName+levelProvider:
		return c, &serviceError{http.StatusNotFound, "Configuration with the specified name was not found"}
	}
	return c, nil
}

// checkFragmentRequest checks fragment and user of a request for a token and
// returns the user's name, "" for the system. The fragment has to be one for
// users exactly if there is a user.
func (s *Server) checkFragmentRequest(r *http.Request, c claims) (user string, problem *serviceError) {
	label := labelSystem
	if token := r.Header.Get("X-User-Token"); token != "" {
		u, err := s.signer.verify(token, audienceUser)
		switch {
		case err != nil:
			return "", &serviceError{http.StatusUnauthorized, "X-user-token was rejected: " + err.Error()}
		case u.Tenant != c.Tenant:
			return "", &serviceError{http.StatusBadRequest, "X-user-token is of another tenant"}
		}
		label, user = labelUser, u.User
	}
	fragment, ok := strings.CutSuffix(r.Header.Get("X-Fragment-Name"), levelInstance)
	switch {
	case !ok:
		return "", &serviceError{http.StatusBadRequest, "X-fragment-name is not of the form name" + levelInstance}
	case !s.hasFragment(c.Tenant, label, fragment):
		return "", &serviceError{http.StatusNotFound, "the fragment was not found"}
	}
	return user, nil
}

// authToken is the entry of authTokens for a user, or for the system if user is
// "". The real service reports failures of the identity service in it, too.
func (s *Server) authToken(tenant, user string) map[string]any {
	if user != "" && s.Destinations.refuses(user) {
		return map[string]any{"type": "", "value": "", "error": codeInvalidGrant + ": the user is not allowed"}
	}
	c := claims{
		Subject: orDefault(user, clientID), User: user, Client: clientID,
		Tenant: tenant, Audience: audienceGateway, Gateway: s.gatewayOf(tenant),
	}
	return s.Destinations.issue(s.signer, c, func(token string, seconds int64) map[string]any {
		return map[string]any{
			"type":        "bearer",
			"value":       token,
			"http_header": map[string]any{"key": "Authorization", "value": "Bearer " + token},
			"expires_in":  strconv.FormatInt(seconds, 10),
			"scope":       "",
		}
	})
}
