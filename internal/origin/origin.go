// Package origin answers where a URL leads: which scheme, host and port.
package origin

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
)

// Same reports whether a and b have the same scheme, host and port, the scheme's
// default port included (RFC 6454, section 5). Hosts that are not ASCII must be
// spelled alike: letters that Unicode folds together can be different names.
func Same(a, b *url.URL) bool {
	if a.Scheme == b.Scheme && a.Host == b.Host { // as most are spelled
		return true
	}
	return strings.EqualFold(a.Scheme, b.Scheme) &&
		sameHost(a.Hostname(), b.Hostname()) &&
		Port(a) == Port(b)
}

func sameHost(a, b string) bool {
	return a == b || ascii(a) && ascii(b) && strings.EqualFold(a, b)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] > unicode.MaxASCII {
			return false
		}
	}
	return true
}

// Port returns the port of u, or the default one of its scheme; "" if neither is
// known.
func Port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		return "443"
	case "http":
		return "80"
	default:
		return ""
	}
}

// String returns scheme://host:port, in lower case.
func String(u *url.URL) string {
	return strings.ToLower(u.Scheme + "://" + net.JoinHostPort(u.Hostname(), Port(u)))
}

// Secure reports whether what is sent to u cannot be read on its way: it is an
// https URL, or a plain http one to this machine itself.
func Secure(u *url.URL) bool {
	switch strings.ToLower(u.Scheme) {
	case "https":
		return true
	case "http":
		return loopback(u.Hostname())
	default:
		return false
	}
}

// loopback reports whether host is the name localhost or a loopback address.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
