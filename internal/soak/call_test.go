package soak_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

const (
	path = "/v1/mcp/sap.s4:apiAccess:salesOrder:v1/"
	body = "some words"
)

// What can be wrong with the subject of a call, so that nothing may be sent.
const (
	blankUser = "blank user"
	badTenant = "bad tenant"
	conflict  = "conflict" // the context names another tenant than the client's default user has
)

// A call is one request of the load: what it asks for, what may come of it, and what has
// happened to it. It belongs to one goroutine.
type call struct {
	who       subject
	byDefault bool   // who is the client's default, and not in the context
	shared    bool   // the context is one that other calls for who have, too
	invalid   string // what is wrong with it; "" if nothing is
	target    string
	relative  bool          // the target is joined to the gateway's URL
	foreign   bool          // the target is not the gateway of who
	body      string        // "", "replayable" or "once"
	fault     *gatewayFault // nil for none
	timeout   time.Duration

	asked    time.Time // before the token was, be it for the second attempt
	attempts int       // requests that left since the last response that was not a 401
	sent     string    // path of the last of them
	tokens   int       // how often the source was asked for one
}

type callKey struct{}

// newCall makes up a call.
func (s *stack) newCall(r *random) *call {
	c := &call{who: s.subjects.choose(r), byDefault: r.chance(10), shared: r.chance(60), timeout: 20 * time.Second}
	if s.clock == nil || s.flow == "lob" { // nobody knows when a JWT ends by a stepped clock
		if r.chance(5) {
			c.who = s.subjects.recentShortLived(r)
			if r.chance(20) {
				c.who = s.subjects.newShortLived(r)
			}
			s.shortLivedCalls.Add(1)
		}
	}
	c.body = oneOf(r, []string{"", "", "replayable", "once"})
	own := s.rules.origin(c.who.tenant)
	switch n := r.below(100); {
	case n < 60:
		c.target, c.relative = "https://"+transport.PlaceholderHost+path, true
	case n < 75:
		c.target, c.relative = path, true
	case n < 97:
		c.target = own + path
	default:
		c.target, c.foreign = oneOf(r, s.foreignOrigins(own))+path, true
	}
	if r.chance(8) {
		c.fault = &s.gatewayFaults[r.below(len(s.gatewayFaults))]
	}
	switch {
	case c.fault != nil && c.fault.hangs:
		c.timeout = r.between(0, 300*time.Millisecond)
	case r.chance(5):
		c.timeout = r.between(0, 50*time.Millisecond)
	}
	if r.chance(2) {
		c.invalid = blankUser
		if s.flow == "lob" {
			c.invalid = oneOf(r, []string{blankUser, badTenant, conflict})
		}
		if c.invalid == conflict && c.who.user == "" {
			c.invalid = badTenant
		}
	}
	return c
}

// A contextSet has contexts that name subjects. Calls that share one share what the library
// remembers in it.
type contextSet struct {
	base context.Context

	mu     sync.Mutex
	shared map[subject]context.Context
}

func newContextSet(base context.Context) *contextSet {
	return &contextSet{base: base, shared: map[subject]context.Context{}}
}

// of returns a context for a call.
func (s *contextSet) of(c *call) (context.Context, context.CancelFunc) {
	ctx := s.base
	switch {
	case c.invalid == blankUser:
		ctx = tokensource.WithUserToken(tokensource.WithTenant(ctx, c.who.tenant), "Bearer ")
	case c.invalid == badTenant:
		ctx = tokensource.WithTenant(ctx, "x.evil.example/")
	case c.invalid == conflict:
		ctx = tokensource.WithTenant(ctx, c.who.tenant+"x")
	case c.byDefault:
	case c.shared:
		s.mu.Lock()
		if s.shared[c.who] == nil {
			s.shared[c.who] = withSubject(ctx, c.who)
		}
		ctx = s.shared[c.who]
		s.mu.Unlock()
	default:
		ctx = withSubject(ctx, c.who)
	}
	return context.WithTimeout(context.WithValue(ctx, callKey{}, c), c.timeout)
}

func withSubject(ctx context.Context, who subject) context.Context {
	ctx = tokensource.WithTenant(ctx, who.tenant)
	if who.user == "" {
		return ctx // which is the system's by default
	}
	return tokensource.WithUserToken(ctx, "Bearer "+who.jwt)
}

// request returns the request of the call.
func (s *stack) request(ctx context.Context, c *call) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target, nil)
	if err != nil {
		return nil, err
	}
	if c.fault != nil {
		req.Header.Set(faultHeader, c.fault.name)
	}
	if c.body == "" {
		return req, nil
	}
	open := func() (io.ReadCloser, error) {
		return s.bodies.track(io.NopCloser(strings.NewReader(body))), nil
	}
	req.Body, _ = open()
	req.ContentLength = int64(len(body))
	if c.body == "replayable" {
		req.GetBody = open
	}
	return req, nil
}

// perform makes a call and checks what comes of it.
func (s *stack) perform(contexts *contextSet, c *call) {
	ctx, cancel := contexts.of(c)
	defer cancel()
	req, err := s.request(ctx, c)
	if err != nil {
		s.results.violation("a request of the soak itself: %v", err)
		return
	}
	client := s.client
	if c.byDefault || c.invalid == conflict {
		client = s.clientFor(c.who.subject())
	}
	c.asked = time.Now()
	resp, err := client.Do(req)
	c.countTokens(resp, err, s.flow == "customer")
	s.results.count("calls", s.checkOutcome(ctx, c, resp, err))
	s.tokensAsked.Add(int64(c.tokens))
}

// countTokens completes the number of times that the source was asked for a token.
func (c *call) countTokens(resp *http.Response, err error, gatewayIsFinal bool) {
	switch {
	case err == nil && resp.StatusCode == http.StatusUnauthorized && c.attempts == 1 && c.body != "once":
		c.tokens++ // for another token, in vain
	case err == nil, isForeignHost(err) && gatewayIsFinal:
	case c.attempts == 0:
		c.tokens++ // which failed, or was that of another gateway
	}
}
