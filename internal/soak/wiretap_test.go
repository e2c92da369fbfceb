package soak_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A wiretap is below the transport under test. It sees each request to the gateway
// as it leaves, and checks whose token it carries, whether that is still good, and
// where it goes.
type wiretap struct {
	base      http.RoundTripper
	ledger    *ledger
	bodies    *bodies
	rules     rules
	seen      *sightings
	forgotten *forgotten
	newest    atomic.Pointer[string] // a token, for somebody to revoke
}

// rules are what is right in a stack.
type rules struct {
	origin   func(tenant string) string // scheme and host of a tenant's gateway
	tenant   func(tenant string) string // as tokens name it
	relative bool                       // the life of tokens begins with their arrival
}

// RoundTrip implements http.RoundTripper.
func (p *wiretap) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := req.Context().Value(callKey{}).(*call)
	if !ok {
		p.ledger.violate("a request lost the values of its context")
		return p.base.RoundTrip(req)
	}
	p.inspect(c, req)
	c.sent()
	resp, err := p.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	c.answered(resp)
	resp.Body = p.bodies.track(resp.Body)
	return resp, nil
}

// CloseIdleConnections closes those of the base.
func (p *wiretap) CloseIdleConnections() {
	p.base.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// inspect checks a request of c.
func (p *wiretap) inspect(c *call, req *http.Request) {
	raw, bearer := strings.CutPrefix(strings.Join(req.Header["Authorization"], "|"), "Bearer ")
	tok, err := parseToken(raw)
	if !bearer || err != nil {
		p.ledger.violate("%s: the request carries no bearer token", c.who.fingerprint())
		return
	}
	p.newest.Store(&raw)
	if tok.User != c.who.user || tok.Tenant != p.rules.tenant(c.who.tenant) {
		p.ledger.violate("%s: the request carries the token of somebody else", c.who.fingerprint())
	}
	if to := req.URL.Scheme + "://" + req.URL.Host; to != p.rules.origin(c.who.tenant) {
		p.ledger.violate("%s: a token leaves for %s", c.who.fingerprint(), to)
	}
	if end := p.end(tok); !c.asked.Before(end) {
		p.ledger.violate("%s: the token had expired %v before it was asked for", c.who.fingerprint(), c.asked.Sub(end))
	}
	if p.forgotten.broken(c.who, tok, c.asked) {
		p.ledger.violate("%s: the token had been forgotten before it was asked for", c.who.fingerprint())
	}
	if u := c.who.expires; !u.IsZero() && !c.asked.Before(u) {
		p.ledger.violate("%s: the token outlives that of its user by %v", c.who.fingerprint(), c.asked.Sub(u))
	}
}

// end returns from when on nobody may be given the token.
func (p *wiretap) end(tok token) time.Time {
	if p.rules.relative {
		return p.seen.first(tok.ID).Add(tok.life())
	}
	return tok.end()
}

// token is what a token of the double says of itself.
type token struct {
	User   string `json:"user_name"`
	Tenant string `json:"zid"`
	ID     string `json:"jti"`
	Issued int64  `json:"iat"`            // in seconds
	Expiry int64  `json:"agwtest_expiry"` // in microseconds
}

func (t token) end() time.Time { return time.UnixMicro(t.Expiry) }

// life returns the life that the response with the token told, if that is a whole
// number of seconds.
func (t token) life() time.Duration {
	return t.end().Sub(time.Unix(t.Issued, 0)).Truncate(time.Second)
}

func parseToken(raw string) (t token, err error) {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	body, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(body, &t)
	}
	return t, err
}

// sightings remember when each token was first seen.
type sightings struct {
	mu sync.Mutex
	at map[string]time.Time
}

func newSightings() *sightings { return &sightings{at: map[string]time.Time{}} }

func (s *sightings) first(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[id]
	if !ok {
		at = time.Now()
		s.at[id] = at
	}
	return at
}

// bodies counts those of requests and responses, to see that each is closed.
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

// trackingTransport tracks the bodies of what base answers. It counts the service
// tokens that have expired while their requests were waiting in line: that is no
// violation, but costs another request.
type trackingTransport struct {
	base   *http.Transport
	bodies *bodies
	ledger *ledger
}

func (r trackingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if raw, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); ok {
		if tok, err := parseToken(raw); err == nil && !time.Now().Before(tok.end()) {
			r.ledger.count("service tokens", "expired in line")
		}
	}
	resp, err := r.base.RoundTrip(req)
	if err == nil {
		resp.Body = r.bodies.track(resp.Body)
	}
	return resp, err
}

func (r trackingTransport) CloseIdleConnections() { r.base.CloseIdleConnections() }
