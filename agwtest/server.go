package agwtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const (
	domain       = "agwtest.invalid"
	tenantDomain = "authentication." + domain

	clientID  = "agwtest-client"
	provider  = "provider" // the identity zone, and the tenant of tokens without one
	landscape = "agwtest"
)

// Dependency is an entry of integrationDependencies: something that the agent
// may call through the gateway.
type Dependency struct {
	ORDID          string `json:"ordId"`
	GlobalTenantID string `json:"globalTenantId"`
}

// Options configure [Start]. The zero value is a double with every default.
type Options struct {
	// Dependencies are listed in the customer's credentials, and each of them is
	// an MCP server and an A2A agent of every tenant. nil means two made-up ones.
	Dependencies []Dependency
	// SecondGateway lists the tenants whose gateway is another origin.
	SecondGateway []string
	// GatewayPath is a path that the gateway's URLs end in, such as "/base" or
	// "/v1/mcp"; "" means none.
	GatewayPath string
	// KeepRequests is the number of requests that [Server.Requests] returns at
	// most; 0 means 10,000, and a negative number none.
	KeepRequests int
	// HTTP1 switches HTTP/2 off.
	HTTP1 bool
}

func (o Options) withDefaults() Options {
	o.KeepRequests = max(0, orDefault(o.KeepRequests, 10_000))
	if o.Dependencies == nil {
		o.Dependencies = []Dependency{
			{ORDID: "sap.s4:apiAccess:salesOrder:v1", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001"},
			{ORDID: "sap.sf:apiAccess:employee:v2", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c002"},
		}
	}
	if o.GatewayPath = strings.Trim(o.GatewayPath, "/"); o.GatewayPath != "" {
		o.GatewayPath = "/" + o.GatewayPath
	}
	return o
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Server is the double. Make it with [Start] and end it with [Server.Close]. Its
// fields are handles on the services and not to be replaced.
type Server struct {
	// Tokens is the token service of the customer flow, with and without mutual
	// TLS. Its tokens live an hour unless [Issuer.SetLifetime] is called; so do
	// those of Auth and Destinations.
	Tokens *Issuer
	// Auth is the authorization server of the LoB flow.
	Auth *Issuer
	// Fragments is the search for fragments at the Destination Service.
	Fragments *Service
	// Destinations is the search for a destination at that service, whose
	// response has an access token.
	Destinations *Issuer
	// Gateway is the Agent Gateway, both origins.
	Gateway *Service

	foreign      *Service
	options      Options
	pki          *pki
	signer       *signer
	recorder     recorder
	credentials  *clientCredentials
	revoked      revocations
	handlers     handlers
	fragmentSets fragmentSets

	done      chan struct{} // closed by Close
	closeOnce sync.Once
	mu        sync.Mutex // guards closed against requests
	closed    bool
	requests  sync.WaitGroup // requests being responded to
	serving   sync.WaitGroup // accept loops
	servers   []*http.Server
	ports     map[string]bool // of all listeners
	refused   refusedConns

	mountMu sync.Mutex // one writer of mounted files at a time

	// Origins of the services. The host of the authorization server is in tenantDomain.
	tokenOrigin, openTokenOrigin, authOrigin, destinationOrigin, foreignOrigin string
	gatewayOrigins                                                             [2]string
}

// Start brings the double up. Every listener is on 127.0.0.1, on a port that
// the system chooses.
func Start(options Options) (*Server, error) {
	done := make(chan struct{})
	destinations := &meter{}
	s := &Server{
		Tokens:       newIssuer(ServiceToken, &meter{}, done),
		Auth:         newIssuer(ServiceAuth, &meter{}, done),
		Fragments:    newService(ServiceFragments, destinations, done),
		Destinations: newIssuer(ServiceDestination, destinations, done),
		Gateway:      newService(ServiceGateway, &meter{}, done),
		foreign:      newService(ServiceForeign, &meter{}, done),
		options:      options.withDefaults(),
		done:         done,
		ports:        map[string]bool{},
	}
	s.recorder = recorder{limit: s.options.KeepRequests, counts: map[string]int{}}
	if err := s.start(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start() (err error) {
	if s.pki, err = newPKI(); err != nil {
		return err
	}
	if s.credentials, err = newClientCredentials(s.pki); err != nil {
		return err
	}
	if s.signer, err = newSigner("https://" + domain); err != nil {
		return err
	}
	tokens := s.serve(s.Tokens.Service, recordForm, s.serveToken)
	auth := s.serve(s.Auth.Service, recordServiceForm, s.serveAuth)
	foreign := s.serve(s.foreign, recordBearer, serveForeign)
	for _, l := range []struct {
		origin  *string
		meter   *meter
		auth    tls.ClientAuthType
		handler http.Handler
	}{
		{&s.tokenOrigin, s.Tokens.meter, tls.RequireAndVerifyClientCert, tokens},
		{&s.openTokenOrigin, s.Tokens.meter, tls.NoClientCert, tokens},
		{&s.authOrigin, s.Auth.meter, tls.NoClientCert, auth},
		{&s.destinationOrigin, s.Destinations.meter, tls.NoClientCert, s.destinationService()},
		{&s.gatewayOrigins[0], s.Gateway.meter, tls.NoClientCert, s.gateway(0)},
		{&s.gatewayOrigins[1], s.Gateway.meter, tls.NoClientCert, s.gateway(1)},
		{&s.foreignOrigin, s.foreign.meter, tls.NoClientCert, foreign},
	} {
		address, err := s.listen(l.meter, l.auth, l.handler)
		if err != nil {
			return err
		}
		*l.origin = "https://" + address
	}
	return nil
}

// listen serves handler over TLS on a new loopback port.
func (s *Server) listen(m *meter, auth tls.ClientAuthType, handler http.Handler) (address string, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("agwtest: no loopback listener: %w", err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	alpn := []string{"http/1.1"}
	if !s.options.HTTP1 {
		protocols.SetHTTP2(true)
		alpn = []string{"h2", "http/1.1"}
	}
	server := &http.Server{
		Handler:   handler,
		ErrorLog:  log.New(io.Discard, "", 0),
		Protocols: &protocols,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: alpn,
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{
					MinVersion:   tls.VersionTLS12,
					Certificates: []tls.Certificate{s.pki.server},
					NextProtos:   alpn,
					ClientAuth:   auth,
					ClientCAs:    s.pki.pool,
					VerifyConnection: func(state tls.ConnectionState) error {
						handshakeSucceeded(hello.Conn)
						m.countHandshake(state)
						return nil
					},
				}, nil
			},
		},
		ConnState: m.countConnection,
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.servers, s.ports[port] = append(s.servers, server), true
	s.serving.Go(func() { _ = server.ServeTLS(handshakeListener{l, &s.refused}, "", "") })
	return l.Addr().String(), nil
}

// serve wraps the handler of a service: it counts and records requests and lets
// faults happen. describe adds to the record what the service can tell of a
// request.
func (s *Server) serve(service *Service, describe func(*http.Request, *Request), handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		s.requests.Add(1)
		s.mu.Unlock()
		defer s.requests.Done()

		service.meter.begin()
		defer service.meter.end()
		d := newRequest(service.name, r)
		describe(r, d)
		s.recorder.add(d)
		response := &response{ResponseWriter: w}
		fault := service.nextFault(*d)
		defer func() { service.responded(s.recorder.finish(d, response.status, fault != nil)) }()
		if fault == nil || service.apply(fault, response, r, d) {
			handler(response, r)
		}
		response.finish()
	})
}

// Close ends the double: hanging responses and streams end, connections are
// cut, and Close returns when all handlers have. A handler mounted with
// [Server.Handle] is expected to heed its request's context. Further calls do
// nothing.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.done)
		for _, server := range s.servers {
			_ = server.Close()
		}
		s.serving.Wait()
		s.requests.Wait()
		s.refused.close()
	})
}

// TokenURL is the token endpoint of the customer flow. Its TLS handshake
// requires the client certificate.
func (s *Server) TokenURL() string { return s.tokenOrigin + tokenPath }

// GatewayURL is the base URL of the gateway.
func (s *Server) GatewayURL() string { return s.gatewayOrigins[0] + s.options.GatewayPath }

// TenantGatewayURL is the base URL of the tenant's gateway: that of
// [Server.GatewayURL] unless [Options.SecondGateway] names the tenant.
func (s *Server) TenantGatewayURL(tenant string) string {
	return s.gatewayOrigins[s.gatewayOf(tenant)] + s.options.GatewayPath
}

// gatewayOf is the index of the tenant's gateway in gatewayOrigins.
func (s *Server) gatewayOf(tenant string) int {
	if slices.Contains(s.options.SecondGateway, tenant) {
		return 1
	}
	return 0
}

// ForeignURL is the origin of a host that is trusted by [Server.RootCAs] but is
// not the gateway: no bearer token may reach it. [Counts] has the requests that
// did.
func (s *Server) ForeignURL() string { return s.foreignOrigin }

// serveForeign is the host that must not see a bearer token.
func serveForeign(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]bool{"foreign": true})
}

// CAPEM is the certificate of the authority that signed the server
// certificates, as PEM.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.pki.authority.cert.Raw})
}

// RootCAs is a new pool that trusts the authority of [Server.CAPEM] alone.
func (s *Server) RootCAs() *x509.CertPool { return s.pki.pool.Clone() }

// Transport is a new transport that trusts the double and reaches all of its
// host names, those of tenants included. It dials nothing else. It has no
// client certificate; add one to its TLSClientConfig where it is needed. Close
// its idle connections when done.
func (s *Server) Transport() *http.Transport {
	return &http.Transport{
		DialContext:         s.dial,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.RootCAs()},
		ForceAttemptHTTP2:   !s.options.HTTP1,
		MaxIdleConnsPerHost: 64,
	}
}

var errNotOurs = errors.New("agwtest: not a host of the double")

// dial maps the hosts of the double to its listeners on loopback.
func (s *Server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotOurs, err)
	}
	host = strings.ToLower(host)
	ours := host == "127.0.0.1" || host == "localhost" || host == domain || strings.HasSuffix(host, "."+domain)
	if !ours || !s.ports[port] {
		return nil, fmt.Errorf("%w: %s", errNotOurs, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}
