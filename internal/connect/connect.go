// Package connect makes the connections of this module, to the gateway and to services:
// all with TLS 1.2 or newer, and none that stays in use after it has died. If a service
// refuses the client certificate, that can be told from a failure of the network.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

// NewTransport returns a new transport with the defaults of this module: HTTP/2 if the
// server has it, TLS 1.2 or newer, proxies from the environment, at most 10 s for a
// connection and as long for the TLS handshake, no limit on how long a response takes, up
// to 64 idle connections for each host and no limit on those in use. An HTTP/2 connection
// on which nothing has arrived for 30 s is pinged and, 15 s later, given up.
//
// The transport may be changed before use. Its TLSClientConfig is not nil, and its
// MaxResponseHeaderBytes is 0.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// ForService returns a transport for requests that name the client by its certificate: a
// clone of base, or, if base is nil, one of [NewTransport] that reads at most 64 KiB of
// header and keeps at most 100 idle connections. TLS is 1.2 or newer in any case.
//
// rootCAs are the authorities that a server's certificate may come from; nil means those
// of base, or else the system's. certificate is presented to every server that asks for
// one, whichever authorities it names; nil means none, or what base has. presents reports
// whether there is one. TLS sessions are resumed, but none that was begun with another
// transport, and so perhaps with another certificate.
//
// What was received on a connection is read to the end even if a write on it fails; see
// [ClosingError]. Connections of a DialTLSContext or DialTLS of base are used as they are.
func ForService(base *http.Transport, rootCAs *x509.CertPool, certificate *tls.Certificate) (t *http.Transport, presents bool) {
	if base == nil {
		t = NewTransport()
		t.MaxResponseHeaderBytes = 64 << 10
		t.MaxIdleConns = 100 // a service may have a host for each tenant
	} else {
		t = base.Clone()
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = new(tls.Config)
	}
	config := t.TLSClientConfig
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	if rootCAs != nil {
		config.RootCAs = rootCAs
	}
	if certificate != nil {
		// Unlike Certificates, this does not hold the certificate back if the server's list
		// of authorities is incomplete.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	dial := t.DialContext
	//lint:ignore SA1019 base may have nothing else
	if old := t.Dial; dial == nil && old != nil {
		dial = func(_ context.Context, network, address string) (net.Conn, error) { return old(network, address) }
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return readableConn{conn}, nil
	}
	return t, config.GetClientCertificate != nil || len(config.Certificates) > 0
}
