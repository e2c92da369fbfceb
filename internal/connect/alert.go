package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
)

// CertificateRequired is the alert of a server that has got no client certificate.
const CertificateRequired = tls.AlertError(116)

// refusals are the alerts (RFC 8446, section 6.2) with which a server refuses a client
// certificate, or complains that there is none.
var refusals = [...]tls.AlertError{
	40, // handshake_failure
	41, // no_certificate
	42, // bad_certificate
	43, // unsupported_certificate
	44, // certificate_revoked
	45, // certificate_expired
	46, // certificate_unknown
	48, // unknown_ca
	49, // access_denied
	51, // decrypt_error
	CertificateRequired,
}

// RefusedCertificate returns the alert in err with which a server has refused the client
// certificate, or complained that there is none, and the error with which it was received.
// If there is no such alert in err, the cause is nil.
//
// A server sends some of these alerts to a client without a certificate, too.
func RefusedCertificate(err error) (alert tls.AlertError, cause error) {
	op := (*net.OpError)(nil)
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, nil
	}
	for _, alert := range refusals {
		// crypto/tls has no exported type for an alert that was received, but its text.
		if op.Err.Error() == alert.Error() {
			return alert, op
		}
	}
	return 0, nil
}

// Untrusted reports whether err says that the server's certificate is not trusted.
func Untrusted(err error) bool {
	for _, target := range []any{
		new(*tls.CertificateVerificationError),
		new(x509.UnknownAuthorityError),
		new(x509.HostnameError),
		new(x509.CertificateInvalidError),
	} {
		if errors.As(err, target) {
			return true
		}
	}
	return false
}
