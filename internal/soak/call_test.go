package soak_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

const path = "/v1/mcp/sap.s4:apiAccess:salesOrder:v1/"

// A call is one request of the load: what it asks for, what may come of it, and what
// has been seen of it. It belongs to one goroutine.
type call struct {
	who     subject
	target  string
	foreign bool          // the target is not the gateway of who
	invalid string        // what is wrong with it, so that it must fail: see spoil
	def     bool          // who is the default of the client, not in the context
	body    string        // "", "replayable" or "once"
	fault   *gatewayFault // nil for none
	patient time.Duration // the longest that its caller waits; 0 for no limit

	asked    time.Time // before the token was, be it again
	attempts int       // requests since the last answer that was no 401
	grants   int       // how often the source was asked, as far as is known
	unsure   int       // how often more it may have been
}

type callKey struct{}

// sent notes that a request with a token leaves.
func (c *call) sent() {
	c.grants++
	c.attempts++
}

// answered notes an answer of the gateway.
func (c *call) answered(resp *http.Response) {
	if resp.StatusCode != http.StatusUnauthorized {
		c.attempts = 0
	}
	c.asked = time.Now()
}

// account completes the number of times that the source was asked by what has become
// of the call.
func (c *call) account(resp *http.Response, err error, fixedGateway bool) {
	refused := isForeignHost(err)
	switch {
	case err == nil && resp.StatusCode == http.StatusUnauthorized && c.attempts == 1 && c.body != "once":
		c.grants++ // for another token, in vain
	case err == nil, refused && fixedGateway:
	case refused:
		c.unsure++ // it depends on whether the gateway was known
	case c.attempts == 0:
		c.grants++ // which failed
	}
}

// plan makes up a call.
func (s *stack) plan(d *dice) *call {
	c := &call{who: s.people.any(d), def: d.chance(10), patient: 20 * time.Second}
	if s.briefs && d.chance(5) {
		c.who = s.people.oldBrief(d)
		if d.chance(20) {
			c.who = s.people.newBrief(d)
		}
		s.briefCalls.Add(1)
	}
	c.body = pick(d, []string{"", "", "replayable", "once"})
	c.target = s.target(c, d)
	if d.chance(8) {
		c.fault = &s.gatewayFaults[d.n(len(s.gatewayFaults))]
	}
	switch {
	case c.fault != nil && c.fault.forever:
		c.patient = d.between(0, 300*time.Millisecond)
	case d.chance(5):
		c.patient = d.between(0, 50*time.Millisecond)
	}
	if d.chance(2) {
		s.spoil(c, d)
	}
	return c
}

// target returns where c goes.
func (s *stack) target(c *call, d *dice) string {
	own := s.rules.origin(c.who.tenant)
	switch n := d.n(100); {
	case n < 60:
		return "https://" + transport.PlaceholderHost + path
	case n < 75:
		return path
	case n < 97:
		return own + path
	default:
		c.foreign = true
		return pick(d, s.strangers(own)) + path
	}
}

// spoil gives c a subject that must be refused before anything is sent.
func (s *stack) spoil(c *call, d *dice) {
	c.invalid = "blank user"
	if s.manyTenants {
		c.invalid = pick(d, []string{"blank user", "bad tenant", "conflict"})
	}
	if c.invalid == "conflict" && c.who.jwt == "" {
		c.invalid = "bad tenant"
	}
}

// context returns ctx for the call.
func (c *call) context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithValue(ctx, callKey{}, c)
	switch {
	case c.invalid == "blank user":
		ctx = tokensource.WithUserToken(tokensource.WithTenant(ctx, c.who.tenant), "Bearer ")
	case c.invalid == "bad tenant":
		ctx = tokensource.WithTenant(ctx, "x.evil.example/")
	case c.invalid == "conflict":
		ctx = tokensource.WithTenant(ctx, c.who.tenant+"x")
	case !c.def && c.who.jwt != "":
		ctx = tokensource.WithUserToken(tokensource.WithTenant(ctx, c.who.tenant), "Bearer "+c.who.jwt)
	case !c.def:
		ctx = tokensource.WithTenant(ctx, c.who.tenant)
	}
	return context.WithTimeout(ctx, c.patient)
}

// client returns one for the call.
func (s *stack) clientOf(c *call) *http.Client {
	if c.def || c.invalid == "conflict" {
		return s.clientFor(c.who.asked())
	}
	return s.client
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
		return s.bodies.track(io.NopCloser(strings.NewReader("some words"))), nil
	}
	req.Body, _ = open()
	req.ContentLength = int64(len("some words"))
	if c.body == "replayable" {
		req.GetBody = open
	}
	return req, nil
}

// do makes a call and judges what comes of it.
func (s *stack) do(ctx context.Context, c *call) {
	ctx, cancel := c.context(ctx)
	defer cancel()
	req, err := s.request(ctx, c)
	if err != nil {
		s.ledger.violate("a request of the soak itself: %v", err)
		return
	}
	c.asked = time.Now()
	resp, err := s.clientOf(c).Do(req)
	c.account(resp, err, s.fixedGateway)
	kind := s.judge(ctx, c, resp, err)
	s.ledger.count("calls", kind)
	s.grants.Add(int64(c.grants))
	s.unsure.Add(int64(c.unsure))
}
