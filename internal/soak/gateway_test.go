package soak_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A checkingTransport is below the transport under test. It checks of each request to the
// gateway whose token it carries, whether that is still good, and where it goes.
type checkingTransport struct {
	base    http.RoundTripper
	results *results
	bodies  *bodies
	rules   rules
	clients *clients
	dropped dropped
	seen    sightings
	newest  atomic.Pointer[string] // a token, for somebody to revoke
}

// rules are what is right in a stack.
type rules struct {
	origin      func(tenant string) string // scheme and host of a tenant's gateway
	tenant      func(tenant string) string // as tokens name it
	clientPaths bool                       // the path of the gateway shows the client: see clientPathPrefix
	relative    bool                       // a token's life begins when it arrives, by a clock that may be wrong
}

// RoundTrip implements http.RoundTripper.
func (t *checkingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := req.Context().Value(callKey{}).(*call)
	if !ok {
		t.results.violation("a request lost the values of its context")
		return t.base.RoundTrip(req)
	}
	t.check(c, req)
	c.tokens++
	c.attempts++
	c.sent = req.URL.EscapedPath()
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusUnauthorized {
		c.attempts = 0
	}
	c.asked = time.Now()
	resp.Body = t.bodies.track(resp.Body)
	return resp, nil
}

// CloseIdleConnections closes those of the base.
func (t *checkingTransport) CloseIdleConnections() {
	t.base.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// check checks a request of c.
func (t *checkingTransport) check(c *call, req *http.Request) {
	raw, bearer := strings.CutPrefix(strings.Join(req.Header["Authorization"], "|"), "Bearer ")
	tok, err := parseToken(raw)
	if !bearer || err != nil {
		t.results.violation("%s: the request carries no bearer token", c.who.fingerprint())
		return
	}
	t.newest.Store(&raw)
	if tok.User != c.who.user || tok.Tenant != t.rules.tenant(c.who.tenant) {
		t.results.violation("%s: the request carries the token of another subject", c.who.fingerprint())
	}
	if to := req.URL.Scheme + "://" + req.URL.Host; to != t.rules.origin(c.who.tenant) {
		t.results.violation("%s: the token leaves for %s, which is not the gateway", c.who.fingerprint(), to)
	}
	t.checkClient(c, tok, req.URL.EscapedPath())
	end := tok.end()
	if t.rules.relative {
		end = t.seen.first(tok.ID).Add(tok.lifetime())
	}
	if !c.asked.Before(end) {
		t.results.violation("%s: the token had expired %v before it was asked for", c.who.fingerprint(), c.asked.Sub(end))
	}
	if user := c.who.expiry; !user.IsZero() && !c.asked.Before(user) {
		t.results.violation("%s: the token was asked for %v after the user's own JWT had expired", c.who.fingerprint(), c.asked.Sub(user))
	}
	if t.dropped.has(c.who, tok, c.asked) {
		t.results.violation("%s: the token had been dropped before it was asked for", c.who.fingerprint())
	}
}

// checkClient checks that the token, and the gateway that came with it, are those of the
// client that was in force when the token was asked for, or of a later one.
func (t *checkingTransport) checkClient(c *call, tok token, sentPath string) {
	inForce := t.clients.inForceAt(c.asked)
	if !t.clients.mayHave(inForce, tok) {
		t.results.violation("%s: the token was issued before client %d, which was in force when it was asked for", c.who.fingerprint(), inForce)
	}
	if !t.rules.clientPaths || !c.relative {
		if sentPath != path {
			t.results.violation("%s: the request leaves for path %s, want %s", c.who.fingerprint(), sentPath, path)
		}
		return
	}
	number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(sentPath, clientPathPrefix), path))
	switch {
	case err != nil:
		t.results.violation("%s: the request leaves for path %s, which is not at the gateway of any client", c.who.fingerprint(), sentPath)
	case number < inForce:
		t.results.violation("%s: the request leaves for the gateway of client %d, but %d was in force", c.who.fingerprint(), number, inForce)
	case !t.clients.mayHave(number, tok):
		t.results.violation("%s: the token leaves for the gateway of client %d, but was issued before there was that client", c.who.fingerprint(), number)
	}
}

// A token is what a token of the double says of itself.
type token struct {
	User   string `json:"user_name"`
	Tenant string `json:"zid"`
	ID     string `json:"jti"`
	Issued int64  `json:"iat"`            // in seconds
	Expiry int64  `json:"agwtest_expiry"` // in microseconds
}

func (t token) end() time.Time { return time.UnixMicro(t.Expiry) }

// lifetime returns what the response with the token said of its life, if that is a whole
// number of seconds.
func (t token) lifetime() time.Duration {
	return t.end().Sub(time.Unix(t.Issued, 0)).Truncate(time.Second)
}

// number returns the running number that the double gave the token.
func (t token) number() uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(t.ID, "t"), 10, 64)
	return n
}

func parseToken(raw string) (t token, err error) {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	return t, err
}

// dropped are the tokens that the library was told to drop, by Forget and Purge.
type dropped struct {
	mu        sync.Mutex
	all       cutoff
	bySubject map[string]cutoff // by fingerprint
}

// A cutoff excludes, from a moment on, the tokens with a number below its own.
type cutoff struct {
	since  time.Time
	number uint64
}

func (c cutoff) excludes(tok token, asked time.Time) bool {
	return asked.After(c.since) && tok.number() < c.number
}

// subject notes that the tokens of a subject below that number have been dropped.
func (d *dropped) subject(who subject, number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bySubject == nil {
		d.bySubject = map[string]cutoff{}
	}
	d.bySubject[who.fingerprint()] = cutoff{time.Now(), number}
}

// everything notes that all tokens below that number have been dropped.
func (d *dropped) everything(number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = cutoff{time.Now(), number}
}

// has reports whether a token had been dropped when it was asked for.
func (d *dropped) has(who subject, tok token, asked time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all.excludes(tok, asked) || d.bySubject[who.fingerprint()].excludes(tok, asked)
}

// sightings remember when each token was first seen.
type sightings struct {
	mu sync.Mutex
	at map[string]time.Time // by ID
}

func (s *sightings) first(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	at, ok := s.at[id]
	if !ok {
		at = time.Now()
		s.at[id] = at
	}
	return at
}

// bodies counts those of requests and responses that are open, to see that each is closed.
type bodies struct{ open atomic.Int64 }

func (b *bodies) track(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	b.open.Add(1)
	return &trackedBody{ReadCloser: body, bodies: b}
}

type trackedBody struct {
	io.ReadCloser
	bodies *bodies
	once   sync.Once
}

func (b *trackedBody) Close() error {
	b.once.Do(func() { b.bodies.open.Add(-1) })
	return b.ReadCloser.Close()
}

// A trackingTransport tracks the bodies of a service's responses. It counts the service
// tokens that have expired while their requests were waiting in line: that is not a
// violation, but costs another request.
type trackingTransport struct {
	base    *http.Transport
	bodies  *bodies
	results *results
}

func (t trackingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if raw, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); ok {
		if tok, err := parseToken(raw); err == nil && !time.Now().Before(tok.end()) {
			t.results.count("service tokens", "expired in line")
		}
	}
	resp, err := t.base.RoundTrip(req)
	if err == nil {
		resp.Body = t.bodies.track(resp.Body)
	}
	return resp, err
}

func (t trackingTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }
