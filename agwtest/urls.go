package agwtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// TokenURL is the token endpoint of the customer flow. Its handshake demands
// the client certificate.
func (s *Server) TokenURL() string { return s.tokenURL + tokenPath }

// TokenURLNoClientCert is the same token endpoint without mutual TLS, as the
// flow sees it that leaves the client certificate to something else.
func (s *Server) TokenURLNoClientCert() string { return s.openTokenURL + tokenPath }

// GatewayURL is the base URL of the gateway.
func (s *Server) GatewayURL() string { return s.gatewayURLs[0] + s.gatewayPath() }

// TenantGatewayURL is the base URL of the tenant's gateway: that of GatewayURL
// unless [Options.SecondGateway] names the tenant.
func (s *Server) TenantGatewayURL(tenant string) string {
	return s.gatewayURLs[s.gatewayOf(tenant)] + s.gatewayPath()
}

func (s *Server) gatewayOf(tenant string) int {
	if slices.Contains(s.options.SecondGateway, tenant) {
		return 1
	}
	return 0
}

func (s *Server) gatewayPath() string {
	path := strings.Trim(s.options.GatewayPath, "/")
	if path == "" {
		return ""
	}
	return "/" + path
}

// ForeignURL is the origin of a host that is trusted by [Server.RootCAs] but is
// not the gateway: no bearer token may reach it.
func (s *Server) ForeignURL() string { return s.foreignURL }

// ClientID is the OAuth client id of the agent in both flows.
func (s *Server) ClientID() string { return s.options.ClientID }

// Transport is a new transport that trusts the CA of now and reaches the host
// names of the double. It refuses to dial anything else.
func (s *Server) Transport() *http.Transport {
	return &http.Transport{
		DialContext:         s.dial,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.RootCAs()},
		ForceAttemptHTTP2:   !s.options.HTTP1,
		MaxIdleConnsPerHost: 64,
	}
}

var errNotOurs = errors.New("agwtest: no host of the double")

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

// Requests are the newest requests in the order of arrival, at most
// [Options.KeepRequests] of them.
func (s *Server) Requests() []Request { return s.log.snapshot() }

// ForeignRequests are those of [Server.Requests] that reached the foreign host.
func (s *Server) ForeignRequests() []Request {
	return slices.DeleteFunc(s.Requests(), func(r Request) bool { return r.Service != ServiceForeign })
}

// Counts are the numbers of requests since the start or the last ResetCounts.
func (s *Server) Counts() Counts { return s.log.snapshotCounts() }
