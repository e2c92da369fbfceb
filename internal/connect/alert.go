package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"time"
)

// With TLS 1.3 a client has finished the handshake before the server looks at the client
// certificate. A server that refuses it sends an alert and closes the connection, at the
// moment at which the request is being written. net/http then reports either the alert or
// that the write failed, whichever it sees first. What follows makes sure that the alert
// is found.

// alertTimeout is how long an alert may take to arrive after a write has failed.
const alertTimeout = time.Second

// A readableConn can be read after a write has failed: it does not report that the peer
// has closed the connection, but leaves it to the reader to find what the peer had sent
// before.
type readableConn struct{ net.Conn }

func (c readableConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	return len(p), c.SetReadDeadline(time.Now().Add(alertTimeout))
}

// ClosingError returns the error with which conn, of a transport of [ForService], was
// closed, if err only says that it is closed; otherwise err. err is what RoundTrip has
// returned, and conn what [net/http/httptrace.ClientTrace] GotConn was told of, or nil.
func ClosingError(conn net.Conn, err error) error {
	c, ok := conn.(*tls.Conn)
	if !ok {
		return err
	}
	switch err.Error() { // net/http does not export the errors of HTTP/2
	case "http2: client conn could not be established", "http2: client conn is closed":
	default:
		if !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	// The connection is closed, so that this returns at once, with the error that ended
	// the last read: crypto/tls keeps it.
	if _, last := c.Read(make([]byte, 1)); last != nil {
		return last
	}
	return err
}

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
