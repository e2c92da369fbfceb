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
	"slices"
	"time"
)

// pingTimeout is after how long an HTTP/2 connection to a service is pinged, and how long
// the response to that may take.
const pingTimeout = 5 * time.Second

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
// header and keeps at most 100 idle connections. TLS is 1.2 or newer in any case. An HTTP/2
// connection on which nothing has arrived for 5 s is pinged and, 5 s later, given up.
//
// rootCAs are the authorities that a server's certificate may come from; nil means those
// of base, or else the system's. certificate is presented to every server that asks for
// one, whichever authorities it names; nil means none, or what base has. presents reports
// whether there is one.
//
// The transport speaks HTTP/2 if base does. It shares no connection with base, even if
// golang.org/x/net/http2 was configured for base, and no TLS session: both were begun with
// another certificate.
//
// base must not have a DialTLSContext or DialTLS, to whose connections none of this would
// apply. Requests should be watched; see [Watch].
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
	presents = certificate != nil || config.GetClientCertificate != nil || len(config.Certificates) > 0
	present := presentation(config, certificate)
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		attemptOf(info.Context()).asked.Store(true)
		return present(info)
	}
	separateHTTP2(t)
	if t.HTTP2 == nil {
		t.HTTP2 = new(http.HTTP2Config)
	}
	for _, timeout := range []*time.Duration{&t.HTTP2.SendPingTimeout, &t.HTTP2.PingTimeout} {
		if *timeout <= 0 || *timeout > pingTimeout {
			*timeout = pingTimeout
		}
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
		a := attemptOf(ctx)
		a.dialing("connecting to " + address)
		conn, err := dial(ctx, network, address)
		if err != nil || conn == nil {
			return nil, err
		}
		c := &serviceConn{Conn: conn, dialedFor: a}
		a.hasDialed(c)
		return c, nil
	}
	return t, presents
}

// presentation returns what decides on the certificate that is presented: certificate or,
// if that is nil, what config has.
func presentation(config *tls.Config, certificate *tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if certificate != nil {
		// Unlike Certificates, this does not hold the certificate back if the server's list
		// of authorities is incomplete.
		return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	if config.GetClientCertificate != nil {
		return config.GetClientCertificate
	}
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) { // as crypto/tls does
		for i := range config.Certificates {
			if info.SupportsCertificate(&config.Certificates[i]) == nil {
				return &config.Certificates[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
}

// separateHTTP2 makes t, which is a clone, speak the protocols of the original over
// connections of its own. The functions in TLSNextProto lead to a pool of connections: a
// clone has the same ones, and with them the same pool.
func separateHTTP2(t *http.Transport) {
	config := t.TLSClientConfig
	http2 := slices.Contains(config.NextProtos, "h2") // Clone has seen to it if net/http decides by itself
	config.NextProtos = slices.DeleteFunc(slices.Clone(config.NextProtos), func(protocol string) bool {
		return protocol != "h2" && protocol != "http/1.1"
	})
	if !http2 { // then no function in TLSNextProto is ever called
		return
	}
	t.TLSNextProto, t.ForceAttemptHTTP2 = nil, true
	if t.Protocols != nil {
		t.Protocols.SetHTTP2(true)
	}
}
