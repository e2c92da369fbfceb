package connect_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/agwgo/agw/internal/connect"
)

// Why a certificate is refused is not a matter of luck.
func TestRefusedCertificates(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t, "clients")
	foreign := newAuthority(t, "others").issue(t, time.Now().Add(time.Hour))
	expired := clients.issue(t, time.Now().Add(-time.Minute))
	for _, http2 := range []bool{false, true} {
		srv := startMutualTLS(t, http2, clients)
		for _, test := range []struct {
			name         string
			version      uint16
			certificate  *tls.Certificate
			alert        tls.AlertError
			orOtherAlert bool
		}{
			{"none", tls.VersionTLS13, nil, connect.CertificateRequired, false},
			{"none", tls.VersionTLS12, nil, 0, true}, // which has no alert for it
			{"of an unknown authority", tls.VersionTLS13, foreign, 48, false},
			{"of an unknown authority", tls.VersionTLS12, foreign, 48, false},
			{"expired", tls.VersionTLS13, expired, 45, false},
			{"expired", tls.VersionTLS12, expired, 45, false},
		} {
			name := fmt.Sprintf("HTTP/2 %v, %s, certificate %s", http2, tls.VersionName(test.version), test.name)
			base := connect.NewTransport()
			base.TLSClientConfig.RootCAs = rootCAs(srv)
			base.TLSClientConfig.MaxVersion = test.version
			for range 5 {
				_, err := send(t, forService(t, base, nil, test.certificate), httptrace.ClientTrace{}, srv.URL)
				alert, cause := connect.RefusedCertificate(err)
				if cause == nil || !errors.Is(err, cause) || alert != test.alert && !test.orOtherAlert {
					t.Errorf("%s: got alert %d (%v) in error %v, want %d", name, alert, cause, err, test.alert)
					break
				}
				if connect.Untrusted(err) {
					t.Errorf("%s: error %v is said to be about the server's certificate", name, err)
				}
			}
		}
	}
}

// received returns an alert as crypto/tls reports it.
func received(alert tls.AlertError) error { return &net.OpError{Op: "remote error", Err: alert} }

func TestRefusedCertificate(t *testing.T) {
	t.Parallel()
	refusals := map[tls.AlertError]bool{40: true, 41: true, 42: true, 43: true, 44: true, 45: true, 46: true, 48: true, 49: true, 51: true, 116: true}
	for code := range 256 {
		alert := tls.AlertError(code)
		err := fmt.Errorf("wrapped: %w", received(alert))
		got, cause := connect.RefusedCertificate(err)
		if refused := cause != nil; refused != refusals[alert] {
			t.Errorf("alert %d (%v) refuses the certificate: %v, want %v", code, alert, refused, refusals[alert])
		} else if refused && (got != alert || cause.Error() != "remote error: "+alert.Error()) {
			t.Errorf("alert %d is taken for %d (%v)", code, got, cause)
		}
	}
	for name, err := range map[string]error{
		"no error":                    nil,
		"another error":               errors.New("remote error: tls: bad certificate"),
		"an alert that we have sent":  &net.OpError{Op: "local error", Err: tls.AlertError(42)},
		"a remote error without more": &net.OpError{Op: "remote error"},
	} {
		if alert, cause := connect.RefusedCertificate(err); alert != 0 || cause != nil {
			t.Errorf("%s is taken for alert %d (%v)", name, alert, cause)
		}
	}
}

func TestUntrusted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"a verification error", &tls.CertificateVerificationError{Err: errors.New("x")}, true},
		{"an unknown authority", x509.UnknownAuthorityError{}, true},
		{"another host", x509.HostnameError{Certificate: new(x509.Certificate)}, true},
		{"an expired certificate", x509.CertificateInvalidError{Reason: x509.Expired}, true},
		{"an alert of the server", received(48), false},
		{"another error", errors.New("x509: certificate signed by unknown authority"), false},
		{"no error", nil, false},
	} {
		err := test.err
		if err != nil {
			err = fmt.Errorf("wrapped: %w", err)
		}
		if got := connect.Untrusted(err); got != test.want {
			t.Errorf("%s: Untrusted is %v, want %v", test.name, got, test.want)
		}
	}
}
