package agwtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Caller is an identity as a token has it.
type Caller struct {
	// Client is the OAuth client, User the user's name ("" in a system token),
	// Tenant the tenant, and TokenID the token's jti.
	Client, User, Tenant, TokenID string
}

type callerKey struct{}

// CallerFromContext returns the identity that the gateway verified, for the
// handlers of [Server.Handle]. It reports false if ctx is not that of a request
// to such a handler.
func CallerFromContext(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// gateway serves one of the two gateway origins.
func (s *Server) gateway(number int) http.Handler {
	return s.serve(s.Gateway, recordBearer, func(w http.ResponseWriter, r *http.Request) {
		c, status, problem := s.authorize(r, number)
		if status != http.StatusOK {
			challenge := `Bearer realm="agwtest"` + problem
			w.Header().Set("WWW-Authenticate", challenge)
			writeJSON(w, status, map[string]string{"error": challenge})
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, c.caller()))
		s.handlerFor(r)(w, r)
	})
}

// authorize verifies the bearer token and returns its claims, or the status and
// the parameters of the challenge (RFC 6750 section 3) to reject it with.
func (s *Server) authorize(r *http.Request, gateway int) (c claims, status int, problem string) {
	token, ok := bearer(r)
	if !ok {
		return claims{}, http.StatusUnauthorized, ""
	}
	c, err := s.signer.verify(token, audienceGateway)
	switch {
	case err != nil:
		return claims{}, http.StatusUnauthorized, `, error="invalid_token", error_description="` + err.Error() + `"`
	case s.revoked.has(c):
		return claims{}, http.StatusUnauthorized, `, error="invalid_token", error_description="the token has been revoked"`
	case c.Gateway != gateway:
		return claims{}, http.StatusForbidden, `, error="insufficient_scope", error_description="the token is for another gateway"`
	}
	return c, http.StatusOK, ""
}

// handlers are those that tests mount, by pattern.
type handlers struct {
	mu        sync.RWMutex
	byPattern map[string]http.Handler
}

// Handle mounts a handler behind the token check of the gateway, in place of the
// [Echo] and the paths of the package documentation. A pattern that ends in a
// slash covers all paths that begin with it, another one that path alone; the
// longest wins. Patterns are compared with the escaped path after
// [Options.GatewayPath]; if nothing follows that, with "/". The handler gets the
// request as it came, with the caller in its context ([CallerFromContext]).
func (s *Server) Handle(pattern string, handler http.Handler) {
	s.handlers.mu.Lock()
	defer s.handlers.mu.Unlock()
	if s.handlers.byPattern == nil {
		s.handlers.byPattern = map[string]http.Handler{}
	}
	s.handlers.byPattern[pattern] = handler
}

// handlerFor picks the handler of an authorized request.
func (s *Server) handlerFor(r *http.Request) http.HandlerFunc {
	path := orDefault(strings.TrimPrefix(r.URL.EscapedPath(), s.options.GatewayPath), "/")
	var mounted http.Handler
	longest := -1
	s.handlers.mu.RLock()
	for pattern, handler := range s.handlers.byPattern {
		covers := path == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(path, pattern)
		if covers && len(pattern) > longest {
			mounted, longest = handler, len(pattern)
		}
	}
	s.handlers.mu.RUnlock()
	code, isStatus := strings.CutPrefix(path, "/status/")
	switch {
	case mounted != nil:
		return mounted.ServeHTTP
	case path == "/sse":
		return s.serveEvents
	case path == "/trailers":
		return serveTrailers
	case path == "/upgrade":
		return s.serveUpgrade
	case path == "/redirect":
		return serveRedirect
	case isStatus:
		return func(w http.ResponseWriter, _ *http.Request) { serveStatus(w, code) }
	}
	return serveEcho
}

// Echo is the JSON that the gateway responds to authorized requests with.
type Echo struct {
	// Method, Proto, Host, Path (escaped) and RawQuery are those of the request.
	Method, Proto, Host, Path, RawQuery string
	// Caller is the verified identity.
	Caller
	// Header is that of the request, without Authorization.
	Header http.Header
	// Body is the beginning of the request's body, at most 64 KiB of it, and
	// BodySize the total number of bytes.
	Body     string
	BodySize int64
	// Trailer is what followed the body.
	Trailer http.Header
}

// maxEcho is the size of the body that an [Echo] repeats at most.
const maxEcho = 64 << 10

func serveEcho(w http.ResponseWriter, r *http.Request) {
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

// DecodeEcho reads the response of the gateway, at most 1 MiB. It does not close
// body.
func DecodeEcho(body io.Reader) (Echo, error) {
	var e Echo
	err := json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(&e)
	return e, err
}

// serveEvents streams server-sent events.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	caller, _ := CallerFromContext(r.Context())
	query := r.URL.Query()
	events, _ := strconv.Atoi(query.Get("events"))
	interval, _ := time.ParseDuration(query.Get("interval"))
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	for n := 1; n <= events; n++ {
		if interval > 0 && !s.Gateway.sleep(r, interval) {
			return
		}
		data, _ := json.Marshal(struct {
			Number int
			Caller
		}{n, caller})
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n, data); err != nil {
			return
		}
		_ = flusher.Flush()
	}
	if events <= 0 || query.Get("hold") == "true" {
		s.Gateway.hang(r)
	}
}

func serveTrailers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Agwtest-Trailer")
	serveEcho(w, r)
	w.Header().Set("Agwtest-Trailer", "the end")
}

// serveUpgrade switches to the protocol that the client asked for and then
// echoes bytes until either side closes.
func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	protocol := r.Header.Get("Upgrade")
	if protocol == "" {
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "agwtest: "+err.Error(), http.StatusInternalServerError)
		return
	}
	// net/http no longer knows the connection, so Close has to reach it from here.
	stop := make(chan struct{})
	defer close(stop)
	s.requests.Go(func() {
		select {
		case <-s.done:
		case <-stop:
		}
		_ = conn.Close()
	})
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	_, _ = io.Copy(conn, buffered)
}

func serveRedirect(w http.ResponseWriter, r *http.Request) {
	status, err := strconv.Atoi(orDefault(r.URL.Query().Get("status"), "307"))
	if err != nil || status < 300 || status > 399 {
		http.Error(w, "agwtest: status is not 3xx", http.StatusBadRequest)
		return
	}
	w.Header().Set("Location", r.URL.Query().Get("to"))
	w.WriteHeader(status)
}

func serveStatus(w http.ResponseWriter, code string) {
	status, err := strconv.Atoi(code)
	if err != nil || status < 200 || status > 599 {
		http.Error(w, "agwtest: the status code is not between 200 and 599", http.StatusBadRequest)
		return
	}
	w.WriteHeader(status)
}
