package agwtest

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Issuer is a service that issues access tokens, and the handle on what they
// look like.
type Issuer struct {
	*Service

	mu       sync.Mutex
	lifetime time.Duration
	fields   map[string]any
	refused  map[string]bool // users
}

func newIssuer(name string, m *meter, done <-chan struct{}) *Issuer {
	return &Issuer{
		Service:  newService(name, m, done),
		lifetime: time.Hour,
		fields:   map[string]any{},
		refused:  map[string]bool{},
	}
}

// SetLifetime sets the lifetime of the tokens issued from now on; initially it
// is an hour. It may be shorter than a second, and negative for tokens that
// arrive expired; expires_in and exp are rounded down.
func (i *Issuer) SetLifetime(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lifetime = d
}

// SetField overrides a field of the responses with a token from now on: nil
// leaves it out, a func(expiry time.Time) any computes it, any other value is
// marshaled as it is. At the Destination Service the fields are those of the
// entry in authTokens.
func (i *Issuer) SetField(name string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fields[name] = value
}

// RefuseUser has token exchanges for the user of that name fail with
// invalid_grant, or succeed again.
func (i *Issuer) RefuseUser(name string, refuse bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refused[name] = refuse
}

func (i *Issuer) refuses(user string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.refused[user]
}

// issue signs a token with the claims and has render make the response of it,
// which the overrides of fields are then applied to.
func (i *Issuer) issue(s *signer, c claims, render func(token string, seconds int64) map[string]any) map[string]any {
	i.mu.Lock()
	lifetime := i.lifetime
	i.mu.Unlock()
	token, expiry := s.sign(c, lifetime)
	response := render(token, int64(lifetime/time.Second))
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, value := range i.fields {
		switch v := value.(type) {
		case nil:
			delete(response, name)
		case func(time.Time) any:
			response[name] = v(expiry)
		default:
			response[name] = v
		}
	}
	return response
}

// writeToken responds with a token that has the claims (RFC 6749 section 5.1).
func (s *Server) writeToken(w http.ResponseWriter, issuer *Issuer, c claims) {
	response := issuer.issue(s.signer, c, func(token string, seconds int64) map[string]any {
		return map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": seconds}
	})
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, response)
}

// Error codes of RFC 6749 section 5.2, and of RFC 8707 section 2.
const (
	codeInvalidRequest  = "invalid_request"
	codeInvalidClient   = "invalid_client"
	codeInvalidGrant    = "invalid_grant"
	codeInvalidTarget   = "invalid_target"
	codeUnsupportedType = "unsupported_grant_type"
)

// oauthError is an error response of RFC 6749 section 5.2.
type oauthError struct {
	status            int
	code, description string
}

func oauthErrorf(code, format string, args ...any) *oauthError {
	status := http.StatusBadRequest
	if code == codeInvalidClient {
		status = http.StatusUnauthorized
	}
	return &oauthError{status: status, code: code, description: fmt.Sprintf(format, args...)}
}

func (e *oauthError) write(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}

// checkTokenHeader checks what both token endpoints require of a request.
func checkTokenHeader(r *http.Request) *oauthError {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		return &oauthError{http.StatusMethodNotAllowed, codeInvalidRequest, "the method is not POST"}
	case media != "application/x-www-form-urlencoded":
		return oauthErrorf(codeInvalidRequest, "Content-Type is not application/x-www-form-urlencoded")
	case r.Header.Get("Authorization") != "":
		return oauthErrorf(codeInvalidRequest, "there is an Authorization header")
	case r.URL.RawQuery != "":
		return oauthErrorf(codeInvalidRequest, "there are parameters in the URL")
	}
	return nil
}

// checkForm requires exactly the fields of want, each once and with that value;
// a nil value stands for any that is not empty.
func checkForm(form, want url.Values) *oauthError {
	for name, values := range form {
		if _, known := want[name]; !known {
			return oauthErrorf(codeInvalidRequest, "%s is not a field of this request", name)
		}
		if len(values) != 1 {
			return oauthErrorf(codeInvalidRequest, "%s is repeated", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value := form.Get(name)
		if value == "" {
			return oauthErrorf(codeInvalidRequest, "%s is missing", name)
		}
		if want[name] == nil || value == want.Get(name) {
			continue
		}
		code := codeInvalidRequest
		switch name {
		case "client_id":
			code = codeInvalidClient
		case "resource":
			code = codeInvalidTarget
		}
		return oauthErrorf(code, "%s is wrong", name)
	}
	return nil
}
