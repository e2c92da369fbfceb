package agwtest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Dependency is an entry of integrationDependencies: something that the agent
// may call through the gateway.
type Dependency struct {
	OrdID          string `json:"ordId"`
	GlobalTenantID string `json:"globalTenantId"`
}

// Options configure [Start]. The zero value is a double with every default.
type Options struct {
	// ClientID is the OAuth client id of the agent; "" means "agwtest-client".
	ClientID string
	// IdentityZone is the provider's tenant: the host label of [Server.AuthURL]
	// and the tenant of users and tokens that name none; "" means "provider".
	IdentityZone string
	// Landscape is the value of APPFND_CONHOS_LANDSCAPE; "" means "agwtest".
	Landscape string
	// Tenants restricts the subscribers that exist, next to the identity zone.
	// Empty means that every DNS label is a subscriber.
	Tenants []string
	// SecondGateway lists the tenants whose gateway is another origin.
	SecondGateway []string
	// GatewayPath is a path that the gateway's URLs end in, such as "/base" or
	// "/v1/mcp"; "" means none.
	GatewayPath string
	// Dependencies go into the customer's credentials; nil means two made-up ones.
	Dependencies []Dependency
	// TokenLifetime is the life of access tokens; 0 means an hour. Change it
	// later, or for one service, with [Issuer.SetLifetime].
	TokenLifetime time.Duration
	// KeepRequests bounds what [Server.Requests] keeps; 0 means 10,000, and less
	// means nothing.
	KeepRequests int
	// HTTP1 switches HTTP/2 off.
	HTTP1 bool
	// Handler, if set, answers authorized requests to the gateway in place of
	// the echo. See [Server.Handle] for parts of the path.
	Handler http.Handler
}

func (o Options) withDefaults() Options {
	o.ClientID = orDefault(o.ClientID, "agwtest-client")
	o.IdentityZone = orDefault(o.IdentityZone, "provider")
	o.Landscape = orDefault(o.Landscape, "agwtest")
	o.TokenLifetime = orDefault(o.TokenLifetime, time.Hour)
	o.KeepRequests = max(0, orDefault(o.KeepRequests, 10_000))
	if o.Dependencies == nil {
		o.Dependencies = []Dependency{
			{OrdID: "sap.s4:apiAccess:salesOrder:v1", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001"},
			{OrdID: "sap.sf:apiAccess:employee:v2", GlobalTenantID: "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c002"},
		}
	}
	return o
}

// Server is the double. Make it with [Start] and end it with [Server.Close]. Its
// fields are handles to act through, not to be replaced.
type Server struct {
	// Tokens is the token service of the customer flow, both variants.
	Tokens *Issuer
	// Auth is the authorization server of the LoB flow.
	Auth *Issuer
	// Fragments is the search for fragments at the Destination Service.
	Fragments *Service
	// Destinations are the destinations of that service, with their tokens.
	Destinations *Issuer
	// Gateway is the Agent Gateway, both origins.
	Gateway *Service
	// Foreign is the host that must not see a bearer.
	Foreign *Service

	options Options
	pki     *pki
	signer  *signer
	log     recorder
	secrets *secrets
	revoked revocations
	routes  routes

	fragments fragmentStore
	knobs     destinationKnobs

	done      chan struct{}
	closeOnce sync.Once
	mu        sync.Mutex // guards closed against requests
	closed    bool
	requests  sync.WaitGroup // requests being answered
	serving   sync.WaitGroup // accept loops
	servers   []*http.Server
	ports     map[string]bool // of all listeners
	lingerer  lingerer

	mountMu sync.Mutex // one writer of mounted files at a time

	tokenURL, openTokenURL, destinationURL, foreignURL string
	gatewayURLs                                        [2]string
	authPort                                           string // with its colon
}

// Start brings the double up. Every listener is on 127.0.0.1, on a port that
// the system chooses.
func Start(options Options) (*Server, error) {
	s := &Server{
		options: options.withDefaults(),
		secrets: newSecrets(),
		done:    make(chan struct{}),
		ports:   map[string]bool{},
	}
	s.log = recorder{limit: s.options.KeepRequests, counts: map[string]int{}}
	destinations := &meter{}
	s.Tokens = newIssuer(ServiceToken, &meter{}, s.done, s.options.TokenLifetime)
	s.Auth = newIssuer(ServiceAuth, &meter{}, s.done, s.options.TokenLifetime)
	s.Fragments = newService(ServiceFragments, destinations, s.done)
	s.Destinations = newIssuer(ServiceDestination, destinations, s.done, s.options.TokenLifetime)
	s.Gateway = newService(ServiceGateway, &meter{}, s.done)
	s.Foreign = newService(ServiceForeign, &meter{}, s.done)
	if err := s.start(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start() (err error) {
	if s.pki, err = newPKI(s.options.ClientID); err != nil {
		return err
	}
	if s.signer, err = newSigner("https://" + domain); err != nil {
		return err
	}
	return s.listenAll()
}

// listenAll opens the origins of the double.
func (s *Server) listenAll() error {
	tokens := s.serve(s.Tokens.Service, noteForm, s.serveToken)
	auth := s.serve(s.Auth.Service, noteServiceForm, s.serveAuth)
	foreign := s.serve(s.Foreign, noteBearer, serveForeign)
	var authURL string
	for _, l := range []struct {
		url     *string
		meter   *meter
		auth    tls.ClientAuthType
		handler http.Handler
	}{
		{&s.tokenURL, s.Tokens.meter, tls.RequireAndVerifyClientCert, tokens},
		{&s.openTokenURL, s.Tokens.meter, tls.NoClientCert, tokens},
		{&authURL, s.Auth.meter, tls.NoClientCert, auth},
		{&s.destinationURL, s.Destinations.meter, tls.NoClientCert, s.destinationOrigin()},
		{&s.gatewayURLs[0], s.Gateway.meter, tls.NoClientCert, s.gateway(0)},
		{&s.gatewayURLs[1], s.Gateway.meter, tls.NoClientCert, s.gateway(1)},
		{&s.foreignURL, s.Foreign.meter, tls.NoClientCert, foreign},
	} {
		address, err := s.listen(l.meter, l.auth, l.handler)
		if err != nil {
			return err
		}
		*l.url = "https://" + address
	}
	s.authPort = authURL[strings.LastIndexByte(authURL, ':'):]
	return nil
}

// listen serves handler over TLS on a new loopback port.
func (s *Server) listen(m *meter, auth tls.ClientAuthType, handler http.Handler) (address string, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("agwtest: no loopback listener: %w", err)
	}
	protocols, names := s.protocols()
	server := &http.Server{
		Handler:   handler,
		ErrorLog:  log.New(io.Discard, "", 0),
		Protocols: protocols,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: names,
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				return s.pki.serverConfig(auth, names, m.handshake(hello)), nil
			},
		},
		ConnState: m.connState,
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.servers, s.ports[port] = append(s.servers, server), true
	s.serving.Go(func() { _ = server.ServeTLS(lingerListener{l, &s.lingerer}, "", "") })
	return l.Addr().String(), nil
}

// protocols are the versions of HTTP that are spoken, also as ALPN has them.
func (s *Server) protocols() (*http.Protocols, []string) {
	var p http.Protocols
	p.SetHTTP1(true)
	if s.options.HTTP1 {
		return &p, []string{"http/1.1"}
	}
	p.SetHTTP2(true)
	return &p, []string{"h2", "http/1.1"}
}

// serve wraps the handler of a service: it counts, records and lets faults
// happen. note adds to the record what the service can tell of the request.
func (s *Server) serve(service *Service, note func(*http.Request, *Request), handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.requests.Done()
		service.meter.begin()
		defer service.meter.end()
		d := describe(service.name, r)
		note(r, d)
		s.log.add(d)
		a := &answer{ResponseWriter: w}
		f := service.next(*d)
		defer func() { service.answered(s.log.finish(d, a.status, f != nil)) }()
		if f == nil || service.answer(a, r, d, f) {
			handler(a, r)
		}
		a.finish()
	})
}

// enter counts a request in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.requests.Add(1)
	return true
}

// Close ends the double: hanging answers and streams end, connections are cut,
// and the call returns when all handlers have. A mounted handler is expected to
// heed its request's context. Closing again does nothing.
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
		s.lingerer.close()
	})
}

// CAPEM is the certificate of the authority that signs the server certificates
// now, as PEM.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.pki.current().cert.Raw})
}

// RootCAs is a pool that trusts the authority of [Server.CAPEM] alone. The pool
// is the caller's own; after [Server.RotateCA] ask for a new one.
func (s *Server) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.pki.current().cert)
	return pool
}
