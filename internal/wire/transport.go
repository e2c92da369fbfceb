package wire

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// newTransport returns a clone of base, or a transport of our own if base is nil,
// with cfg in force; presents says whether it may have a client certificate.
func newTransport(base *http.Transport, cfg Config, perHost int) (t *http.Transport, presents bool) {
	if base == nil {
		t = defaultTransport(perHost)
	} else {
		t = base.Clone()
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	configureTLS(t.TLSClientConfig, cfg)
	//lint:ignore SA1019 it is all that base may have
	if dial := t.Dial; t.DialContext == nil && dial != nil {
		t.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) { return dial(network, addr) }
	}
	t.DialContext = patiently(t.DialContext)
	return t, t.TLSClientConfig.GetClientCertificate != nil || len(t.TLSClientConfig.Certificates) > 0
}

func defaultTransport(perHost int) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           max(100, perHost),
		MaxIdleConnsPerHost:    perHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// An HTTP/2 connection that has silently died would otherwise swallow request
		// after request.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// configureTLS alters conf, which must not be in use yet.
func configureTLS(conf *tls.Config, cfg Config) {
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	if cfg.RootCAs != nil {
		conf.RootCAs = cfg.RootCAs
	}
	if cert := cfg.Certificate; cert != nil {
		// Unlike Certificates, this does not hold the certificate back from a server
		// whose list of authorities is incomplete.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	// Of its own, because a resumed session would vouch for the certificate that it
	// was begun with.
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(0)
}
