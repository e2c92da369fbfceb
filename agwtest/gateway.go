package agwtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// maxEcho bounds the body that an [Echo] repeats.
const maxEcho = 64 << 10

// Caller is the identity that the gateway verified.
type Caller struct {
	// Client is the OAuth client, User the user's name ("" for the technical
	// identity), Tenant the tenant, TokenID the token's jti.
	Client, User, Tenant, TokenID string
}

// Echo is the JSON that the gateway answers authorized requests with.
type Echo struct {
	// Method, Proto, Host, Path (escaped) and RawQuery are those of the request.
	Method, Proto, Host, Path, RawQuery string
	Caller
	// Header is that of the request, without Authorization.
	Header http.Header
	// Body is the beginning of the request's body, at most 64 KiB of it, and
	// BodySize the whole number of bytes.
	Body     string
	BodySize int64
	// Trailer is what followed the body.
	Trailer http.Header
}

type callerKey struct{}

// CallerFromContext tells a mounted handler who called.
func CallerFromContext(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// gateway serves one of the two gateway origins.
func (s *Server) gateway(number int) http.Handler {
	return s.serve(s.Gateway, noteBearer, func(w http.ResponseWriter, r *http.Request) {
		c, challenge := s.authorize(r, number)
		if challenge != "" {
			status := http.StatusUnauthorized
			if strings.Contains(challenge, "insufficient_scope") {
				status = http.StatusForbidden
			}
			w.Header().Set("WWW-Authenticate", challenge)
			writeJSON(w, status, map[string]string{"error": challenge})
			return
		}
		caller := Caller{Client: c.Client, User: c.User, Tenant: c.Tenant, TokenID: c.ID}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, caller))
		s.route(r).ServeHTTP(w, r)
	})
}

// authorize verifies the bearer and returns its claims, or the challenge of
// RFC 6750 section 3 to refuse the request with.
func (s *Server) authorize(r *http.Request, gateway int) (c claims, challenge string) {
	token, ok := bearer(r)
	if !ok {
		return claims{}, `Bearer realm="agwtest"`
	}
	c, err := s.signer.verify(token, audienceGateway)
	switch {
	case err != nil:
		return claims{}, `Bearer realm="agwtest", error="invalid_token", error_description="` + err.Error() + `"`
	case s.revoked.has(c):
		return claims{}, `Bearer realm="agwtest", error="invalid_token", error_description="the token has been revoked"`
	case c.Gateway != gateway:
		return claims{}, `Bearer realm="agwtest", error="insufficient_scope", error_description="the token is for another gateway"`
	}
	return c, ""
}

// Handle mounts a handler behind the bearer check of the gateway, in place of
// the echo. A pattern that ends in a slash covers all paths that begin with it,
// another one that path alone; the longest wins. Patterns are compared with the
// escaped path after [Options.GatewayPath], and the handler gets the request as
// it came, with the caller in its context ([CallerFromContext]).
func (s *Server) Handle(pattern string, handler http.Handler) { s.routes.add(pattern, handler) }

// route picks the handler of an authorized request.
func (s *Server) route(r *http.Request) http.Handler {
	path := strings.TrimPrefix(r.URL.EscapedPath(), s.gatewayPath())
	if h := s.routes.match(path); h != nil {
		return h
	}
	if h := s.builtin(path); h != nil {
		return h
	}
	if s.options.Handler != nil {
		return s.options.Handler
	}
	return http.HandlerFunc(echo)
}

// routes maps path patterns to handlers.
type routes struct {
	mu       sync.RWMutex
	handlers map[string]http.Handler
}

func (t *routes) add(pattern string, handler http.Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handlers == nil {
		t.handlers = map[string]http.Handler{}
	}
	t.handlers[pattern] = handler
}

func (t *routes) match(path string) http.Handler {
	t.mu.RLock()
	defer t.mu.RUnlock()
	best := ""
	for pattern := range t.handlers {
		covers := path == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(path, pattern)
		if covers && len(pattern) > len(best) {
			best = pattern
		}
	}
	return t.handlers[best]
}

// echo answers with who called and what came.
func echo(w http.ResponseWriter, r *http.Request) {
	caller, _ := CallerFromContext(r.Context())
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEcho))
	if err != nil {
		http.Error(w, "agwtest: reading the body: "+err.Error(), http.StatusBadRequest)
		return
	}
	rest, _ := io.Copy(io.Discard, r.Body)
	header := r.Header.Clone()
	header.Del("Authorization")
	writeJSON(w, http.StatusOK, Echo{
		Method: r.Method, Proto: r.Proto, Host: r.Host,
		Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery,
		Caller: caller, Header: header,
		Body: string(body), BodySize: int64(len(body)) + rest,
		Trailer: r.Trailer,
	})
}

// DecodeEcho reads the answer of the gateway, at most 1 MiB, and closes nothing.
func DecodeEcho(body io.Reader) (Echo, error) {
	var e Echo
	err := json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(&e)
	return e, err
}

// serveForeign is the host that must not be told a bearer token.
func serveForeign(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]bool{"foreign": true})
}
