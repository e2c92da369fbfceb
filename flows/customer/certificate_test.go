package customer_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
)

func TestFormsOfCertificatesAndKeys(t *testing.T) {
	t.Parallel()
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaCert, ecCert, edCert := selfSigned(t, rsaKey, from, to), selfSigned(t, ecKey, from, to), selfSigned(t, edKey, from, to)
	pkcs8 := func(key any) string { return toPEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t)) }
	sec1 := toPEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey))(t))
	for _, test := range []struct{ name, certificate, key string }{
		{"RSA in PKCS #1", rsaCert, toPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		{"RSA in PKCS #8", rsaCert, pkcs8(rsaKey)},
		{"ECDSA in PKCS #8", ecCert, pkcs8(ecKey)},
		{"Ed25519 in PKCS #8", edCert, pkcs8(edKey)},
		{"ECDSA in SEC 1", ecCert, sec1},
		{"ECDSA in SEC 1, after its parameters", ecCert, toPEM("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}) + sec1},
		{"a chain", ecCert + rsaCert, pkcs8(ecKey)},
		{"text around the blocks", "Subject: client\n" + ecCert + "\n", "\n" + pkcs8(ecKey)},
	} {
		creds := parseWith(t, map[string]any{"certificate": test.certificate, "privateKey": test.key})
		if _, err := creds.NewFlow(flows.Options{}); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := newKeyPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	otherCert, otherKey := newKeyPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	expiredCert, expiredKey := newKeyPair(t, now.Add(-2*time.Hour), now.Add(-time.Hour))
	futureCert, futureKey := newKeyPair(t, now.Add(time.Hour), now.Add(2*time.Hour))
	legacy := strings.Replace(key, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1)
	for _, test := range []struct{ name, certificate, key, field, want string }{
		{"no PEM", "hidden", key, "certificate", "no PEM block CERTIFICATE"},
		{"a key in place of the certificate", key, key, "certificate", "no PEM block CERTIFICATE in it, but one of another type"},
		{"line breaks that are escaped", strings.ReplaceAll(cert, "\n", `\n`), key, "certificate", `no PEM block CERTIFICATE in it: its line breaks are the two characters \n`},
		{"no DER", toPEM("CERTIFICATE", []byte("hidden")), key, "certificate", "not a certificate"},
		{"no DER further down the chain", cert + toPEM("CERTIFICATE", []byte("hidden")), key, "certificate", "not a certificate"},
		{"expired", expiredCert, expiredKey, "certificate", "expired at " + now.Add(-time.Hour).UTC().Format("2006-01-02T15:")},
		{"not yet valid", futureCert, futureKey, "certificate", "not valid before " + now.Add(time.Hour).UTC().Format("2006-01-02T15:")},
		{"a key that is not PEM", cert, "hidden", "privateKey", "no PEM block PRIVATE KEY"},
		{"a certificate in place of the key", cert, cert, "privateKey", "no PEM block PRIVATE KEY in it, but one of another type"},
		{"a key that is not DER", cert, toPEM("PRIVATE KEY", []byte("hidden")), "privateKey", "failed to parse private key"},
		{"an encrypted key", cert, toPEM("ENCRYPTED PRIVATE KEY", []byte("hidden")), "privateKey", "encrypted"},
		{"a key encrypted as in RFC 1421", cert, legacy, "privateKey", "encrypted"},
		{"the key of another certificate", cert, otherKey, "privateKey", "does not match"},
		{"the certificate of another key", otherCert, key, "privateKey", "does not match"},
	} {
		_, err := parseWith(t, map[string]any{"certificate": test.certificate, "privateKey": test.key}).NewFlow(flows.Options{})
		assertConfigError(t, test.name, err, "", test.field, test.want)
	}
}

func TestCertificateAndKeyBelongTogether(t *testing.T) {
	t.Parallel()
	creds := customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Source: "my vault"}
	if _, err := creds.NewFlow(flows.Options{}); err != nil {
		t.Errorf("neither of them, because something else presents the certificate: %v", err)
	}
	creds.Certificate, creds.PrivateKey = newKeyPair(t, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	half := creds
	half.Certificate = ""
	_, err := half.NewFlow(flows.Options{})
	assertConfigError(t, "only the key", err, "my vault", "Certificate", "empty")
	half = creds
	half.PrivateKey = ""
	_, err = half.NewFlow(flows.Options{})
	assertConfigError(t, "only the certificate", err, "my vault", "PrivateKey", "empty")
}
