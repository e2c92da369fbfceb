package agwtest

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Names of the services in [Request] and [Counts].
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
	// Header is what was sent, credentials included.
	Header http.Header
	// Form holds the fields of an urlencoded body to a token endpoint.
	Form url.Values
	// Client, User, Tenant and TokenID are the claims of the token or assertion
	// that came along, verified or not; Tenant is that of the host name at the
	// authorization server. Empty when there are none.
	Client, User, Tenant, TokenID string
	// CertificateSerial is the serial number of the client certificate, decimal;
	// Resumed tells that the TLS session was resumed.
	CertificateSerial string
	Resumed           bool
	// Time is the moment of arrival.
	Time time.Time
	// Status is the answer's status code, 0 while there is none, or if it was cut
	// off before. Faulty tells that a [Fault] befell it.
	Status int
	Faulty bool
}

// Counts are the requests that each service received, whatever it answered.
type Counts struct {
	Token, Auth, Fragments, Destination, Gateway, Foreign int
	// Leaked counts the requests to the foreign host that carried an
	// Authorization header. It is to stay 0.
	Leaked int
}

// Services is the number of requests to anything but the gateway and the
// foreign host.
func (c Counts) Services() int { return c.Token + c.Auth + c.Fragments + c.Destination }

// Meter is what the origin of a service saw on its connections.
type Meter struct {
	// InFlight is the number of requests being answered now, MaxInFlight the
	// most there have been at once.
	InFlight, MaxInFlight int
	// Connections counts accepted connections, Handshakes the TLS handshakes
	// that succeeded and Resumed those among them that resumed a session.
	Connections, Handshakes, Resumed int
}

// recorder keeps the newest requests and counts all of them.
type recorder struct {
	mu       sync.Mutex
	limit    int
	requests []*Request
	counts   map[string]int
	leaked   int
}

// add counts r and keeps it; the oldest one gives way when the limit is reached.
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

// finish notes how r was answered, and returns all that is known of it.
func (c *recorder) finish(r *Request, status int, faulty bool) Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Status, r.Faulty = status, faulty
	return *r
}

func (c *recorder) snapshot() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.requests[max(0, len(c.requests)-c.limit):]
	out := make([]Request, len(newest))
	for i, r := range newest {
		out[i] = *r
	}
	return out
}

func (c *recorder) snapshotCounts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{
		Token:       c.counts[ServiceToken],
		Auth:        c.counts[ServiceAuth],
		Fragments:   c.counts[ServiceFragments],
		Destination: c.counts[ServiceDestination],
		Gateway:     c.counts[ServiceGateway],
		Foreign:     c.counts[ServiceForeign],
		Leaked:      c.leaked,
	}
}

func (c *recorder) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.leaked = nil, 0
	clear(c.counts)
}

// meter counts what happens on one origin.
type meter struct {
	inFlight, maxInFlight            atomic.Int64
	connections, handshakes, resumed atomic.Int64
}

func (m *meter) begin() {
	now := m.inFlight.Add(1)
	for {
		seen := m.maxInFlight.Load()
		if now <= seen || m.maxInFlight.CompareAndSwap(seen, now) {
			return
		}
	}
}

func (m *meter) end() { m.inFlight.Add(-1) }

// connState is an http.Server.ConnState.
func (m *meter) connState(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		m.connections.Add(1)
	}
}

func (m *meter) snapshot() Meter {
	return Meter{
		InFlight:    int(m.inFlight.Load()),
		MaxInFlight: int(m.maxInFlight.Load()),
		Connections: int(m.connections.Load()),
		Handshakes:  int(m.handshakes.Load()),
		Resumed:     int(m.resumed.Load()),
	}
}

func (m *meter) reset() {
	m.maxInFlight.Store(m.inFlight.Load())
	m.connections.Store(0)
	m.handshakes.Store(0)
	m.resumed.Store(0)
}

// describe reads off a request what the double records of it.
func describe(service string, r *http.Request) *Request {
	d := &Request{
		Service: service,
		Method:  r.Method, Proto: r.Proto, Host: r.Host,
		Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery,
		Header: r.Header.Clone(),
		Time:   time.Now(),
	}
	if r.TLS != nil {
		d.Resumed = r.TLS.DidResume
		if len(r.TLS.PeerCertificates) > 0 {
			d.CertificateSerial = r.TLS.PeerCertificates[0].SerialNumber.String()
		}
	}
	return d
}

// claim notes the claims of a token that came with the request, if it has any.
func (d *Request) claim(token string) {
	if c, err := peek(token); err == nil {
		d.Client, d.User, d.Tenant, d.TokenID = c.Client, c.User, c.Tenant, c.ID
	}
}
