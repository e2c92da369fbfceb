package transport

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// NewBase returns a new [http.Transport] that suits a gateway: HTTP/2 if the server
// has it, TLS 1.2 or newer, up to 64 idle connections for each host and no limit on
// those in use, proxies from the environment, no limit on how long an answer takes.
// HTTP/2 connections that hear nothing for 30 s are pinged, so that a stream over a
// dead one ends. Its TLSClientConfig is not nil, and may be changed before use.
func NewBase() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
	}
}
