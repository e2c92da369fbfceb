package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/agwgo/agw/tokensource"
)

// refusals are the TLS alerts (RFC 8446, section 6.2) with which a server refuses
// a client certificate, or complains that there is none.
var refusals = [...]tls.AlertError{
	40,  // handshake_failure
	41,  // no_certificate
	42,  // bad_certificate
	43,  // unsupported_certificate
	44,  // certificate_revoked
	45,  // certificate_expired
	46,  // certificate_unknown
	48,  // unknown_ca
	49,  // access_denied
	51,  // decrypt_error
	116, // certificate_required
}

const certificateRequired = tls.AlertError(116)

// explain says how to go on after err, with which a request ended without an
// answer, and puts it into words if TLS is the matter. A server that we do not
// trust is Permanent: that takes another configuration, here or there.
func explain(err error, presents bool) (tokensource.Kind, error) {
	alert, received := refusal(err)
	switch {
	case received != nil && (alert == certificateRequired || !presents):
		return tokensource.Refused, fmt.Errorf("no client certificate was presented, and the server requires one: %w", received)
	case received != nil:
		return tokensource.Refused, fmt.Errorf("the server refused the client certificate: %w", received)
	case untrusted(err):
		return tokensource.Permanent, fmt.Errorf("the server's certificate is not trusted: %w", err)
	default:
		return tokensource.Passing, err
	}
}

// refusal returns the alert in err that refuses our certificate, and the error
// with which it was received, or nil. crypto/tls has no exported type for a received
// alert, only its text.
func refusal(err error) (tls.AlertError, error) {
	op := (*net.OpError)(nil)
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, nil
	}
	for _, alert := range refusals {
		if op.Err.Error() == alert.Error() {
			return alert, op
		}
	}
	return 0, nil
}

// untrusted reports whether err says that we do not trust the server.
func untrusted(err error) bool {
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
