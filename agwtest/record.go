package agwtest

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Names of the services in [Request].
const (
	ServiceToken       = "token"
	ServiceAuth        = "auth"
	ServiceFragments   = "fragments"
	ServiceDestination = "destination"
	ServiceGateway     = "gateway"
	ServiceForeign     = "foreign"
)

// Request is one request as the double received it, nothing redacted.
type Request struct {
	// Service is the name of the service that got it, such as [ServiceToken].
	Service string
	// Method, Proto, Host, Path (escaped) and RawQuery are those of the request.
	Method, Proto, Host, Path, RawQuery string
	// Header is what was sent, credentials included. It is shared by all copies
	// of the request: do not modify it.
	Header http.Header
	// Form holds the fields of a request for a token. Do not modify it.
	Form url.Values
	// Caller has the claims of the token or assertion that came along, without
	// any verification. It is empty if there are none. In requests for a token,
	// Client is the client_id; at the authorization server, Tenant is that of the
	// host name; at the Destination Service, User is that of X-user-token.
	Caller
	// CertificateSerial is the serial number of the client certificate, decimal.
	CertificateSerial string
	// Time is the moment of arrival.
	Time time.Time
	// Status is the status code of the response, 0 while there is none, or if it
	// was cut off before. Faulty tells that there was a [Fault].
	Status int
	Faulty bool
}

// newRequest reads off a request what the double records of any.
func newRequest(service string, r *http.Request) *Request {
	d := &Request{
		Service: service,
		Method:  r.Method, Proto: r.Proto, Host: r.Host,
		Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery,
		Header: r.Header.Clone(),
		Time:   time.Now(),
	}
	if len(r.TLS.PeerCertificates) > 0 {
		d.CertificateSerial = r.TLS.PeerCertificates[0].SerialNumber.String()
	}
	return d
}

// recordForm records the form of a token request and the claims of its assertion.
func recordForm(r *http.Request, d *Request) {
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	_ = r.ParseForm()
	d.Form = r.PostForm
	d.Caller = callerOf(d.Form.Get("assertion"))
	d.Client = d.Form.Get("client_id")
}

// recordServiceForm records the form of a service token request and its tenant.
func recordServiceForm(r *http.Request, d *Request) {
	recordForm(r, d)
	d.Tenant, _ = hostTenant(r.Host)
}

// recordBearer records the claims of the bearer token.
func recordBearer(r *http.Request, d *Request) {
	token, _ := bearer(r)
	d.Caller = callerOf(token)
}

// recordServiceRequest records the tenant of the bearer token and the user of
// the X-user-token.
func recordServiceRequest(r *http.Request, d *Request) {
	recordBearer(r, d)
	if c, err := peek(r.Header.Get("X-User-Token")); err == nil {
		d.User = c.User
	}
}

// callerOf reads the claims of a token without verifying it.
func callerOf(token string) Caller {
	c, _ := peek(token)
	return c.caller()
}

// Counts are the numbers of requests that each service received, whatever it
// responded.
type Counts struct {
	Token, Auth, Fragments, Destination, Gateway, Foreign int
	// Leaked counts the requests to the foreign host that carried an
	// Authorization header. It should stay 0.
	Leaked int
}

// Services is the number of requests to the services that the agent obtains
// tokens from: all but those to the gateway and to the foreign host.
func (c Counts) Services() int { return c.Token + c.Auth + c.Fragments + c.Destination }

// Requests are the newest requests in the order of arrival, at most
// [Options.KeepRequests] of them. The slice is the caller's own.
func (s *Server) Requests() []Request { return s.recorder.requestsNow() }

// Counts are the numbers of requests since the start or the last
// [Server.ResetCounts].
func (s *Server) Counts() Counts { return s.recorder.countsNow() }

// ResetCounts sets counts and meters to zero and drops the recorded requests.
func (s *Server) ResetCounts() {
	s.recorder.reset()
	for _, service := range []*Service{s.Tokens.Service, s.Auth.Service, s.Fragments, s.Gateway, s.foreign} {
		service.meter.reset() // the destinations share that of the fragments
	}
}

// recorder holds the newest requests and counts all of them.
type recorder struct {
	mu       sync.Mutex
	limit    int
	requests []*Request
	counts   map[string]int
	leaked   int
}

// add counts r and records it; the oldest requests are dropped at the limit.
func (c *recorder) add(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[r.Service]++
	if r.Service == ServiceForeign && r.Header.Get("Authorization") != "" {
		c.leaked++
	}
	if c.limit == 0 {
		return
	}
	if len(c.requests) >= 2*c.limit {
		c.requests = slices.Clone(c.requests[c.limit:])
	}
	c.requests = append(c.requests, r)
}

// finish records the response to r and returns all that is known of r.
func (c *recorder) finish(r *Request, status int, faulty bool) Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Status, r.Faulty = status, faulty
	return *r
}

func (c *recorder) requestsNow() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.requests[max(0, len(c.requests)-c.limit):]
	out := make([]Request, len(newest))
	for i, r := range newest {
		out[i] = *r
	}
	return out
}

func (c *recorder) countsNow() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{
		Token: c.counts[ServiceToken], Auth: c.counts[ServiceAuth],
		Fragments: c.counts[ServiceFragments], Destination: c.counts[ServiceDestination],
		Gateway: c.counts[ServiceGateway], Foreign: c.counts[ServiceForeign],
		Leaked: c.leaked,
	}
}

func (c *recorder) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.leaked = nil, 0
	clear(c.counts)
}

// Meter is what a service saw of load and connections.
type Meter struct {
	// MaxInFlight is the highest number of requests that were being responded to
	// at the same time.
	MaxInFlight int
	// Connections counts accepted connections, Handshakes the TLS handshakes that
	// succeeded, and Resumed those among them that resumed a TLS session.
	Connections, Handshakes, Resumed int
}

// Meter is what the service saw since the start or the last
// [Server.ResetCounts]. Services that share an origin share its meter: the
// fragments and the destinations. The two gateways share one, too, and so do
// the two variants of the token service.
func (s *Service) Meter() Meter {
	return Meter{
		MaxInFlight: int(s.meter.maxInFlight.Load()),
		Connections: int(s.meter.connections.Load()),
		Handshakes:  int(s.meter.handshakes.Load()),
		Resumed:     int(s.meter.resumed.Load()),
	}
}

// meter counts what happens on one origin.
type meter struct {
	inFlight, maxInFlight            atomic.Int64
	connections, handshakes, resumed atomic.Int64
}

func (m *meter) begin() {
	now := m.inFlight.Add(1)
	for {
		highest := m.maxInFlight.Load()
		if now <= highest || m.maxInFlight.CompareAndSwap(highest, now) {
			return
		}
	}
}

func (m *meter) end() { m.inFlight.Add(-1) }

// countConnection is an http.Server.ConnState.
func (m *meter) countConnection(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		m.connections.Add(1)
	}
}

func (m *meter) countHandshake(state tls.ConnectionState) {
	m.handshakes.Add(1)
	if state.DidResume {
		m.resumed.Add(1)
	}
}

func (m *meter) reset() {
	m.maxInFlight.Store(m.inFlight.Load())
	m.connections.Store(0)
	m.handshakes.Store(0)
	m.resumed.Store(0)
}
