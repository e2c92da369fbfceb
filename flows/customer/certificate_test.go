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

	"github.com/agwgo/agw/flows/customer"
)

func TestKeyForms(t *testing.T) {
	t.Parallel()
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaCert, ecCert, edCert := certify(t, rsaKey, from, to), certify(t, ecKey, from, to), certify(t, edKey, from, to)
	pkcs8 := func(key any) string { return encode(t, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t)) }
	parameters := encode(t, "EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7})
	for name, p := range map[string][2]string{
		"PKCS #1":        {rsaCert, encode(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"PKCS #8 RSA":    {rsaCert, pkcs8(rsaKey)},
		"PKCS #8 EC":     {ecCert, pkcs8(ecKey)},
		"PKCS #8 Ed":     {edCert, pkcs8(edKey)},
		"SEC 1":          {ecCert, encode(t, "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey))(t))},
		"EC parameters":  {ecCert, parameters + encode(t, "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey))(t))},
		"chain":          {ecCert + rsaCert, pkcs8(ecKey)},
		"text around it": {"Subject: client\n" + ecCert + "\n", "\n" + pkcs8(ecKey)},
	} {
		creds := parsed(t, map[string]any{"certificate": p[0], "privateKey": p[1]})
		if _, err := customer.NewFlow(creds, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := pair(t, now.Add(-time.Hour), now.Add(time.Hour))
	otherCert, otherKey := pair(t, now.Add(-time.Hour), now.Add(time.Hour))
	expiredCert, expiredKey := pair(t, now.Add(-2*time.Hour), now.Add(-time.Hour))
	futureCert, futureKey := pair(t, now.Add(time.Hour), now.Add(2*time.Hour))
	legacy := strings.Replace(key, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1)
	for name, test := range map[string]struct{ cert, key, field, want string }{
		"garbage":             {"hidden", key, "certificate", "no PEM block CERTIFICATE"},
		"key as certificate":  {key, key, "certificate", "no PEM block CERTIFICATE in it, but one of another type"},
		"escaped newlines":    {strings.ReplaceAll(cert, "\n", `\n`), key, "certificate", `no PEM block CERTIFICATE in it: its line breaks are the two characters \n`},
		"not DER":             {encode(t, "CERTIFICATE", []byte("hidden")), key, "certificate", "not a certificate"},
		"bad chain":           {cert + encode(t, "CERTIFICATE", []byte("hidden")), key, "certificate", "not a certificate"},
		"expired":             {expiredCert, expiredKey, "certificate", "expired at " + now.Add(-time.Hour).UTC().Format("2006-01-02T15:")},
		"not yet valid":       {futureCert, futureKey, "certificate", "not valid before " + now.Add(time.Hour).UTC().Format("2006-01-02T15:")},
		"garbage key":         {cert, "hidden", "privateKey", "no PEM block PRIVATE KEY"},
		"certificate as key":  {cert, cert, "privateKey", "no PEM block PRIVATE KEY in it, but one of another type"},
		"key not DER":         {cert, encode(t, "PRIVATE KEY", []byte("hidden")), "privateKey", "failed to parse private key"},
		"encrypted":           {cert, encode(t, "ENCRYPTED PRIVATE KEY", []byte("hidden")), "privateKey", "encrypted"},
		"encrypted, legacy":   {cert, legacy, "privateKey", "encrypted"},
		"of another":          {cert, otherKey, "privateKey", "does not match"},
		"of another, swapped": {otherCert, key, "privateKey", "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := customer.NewFlow(parsed(t, map[string]any{"certificate": test.cert, "privateKey": test.key}), nil)
			checkConfigError(t, err, "", test.field, test.want)
		})
	}
}

func TestHalfACertificate(t *testing.T) {
	t.Parallel()
	creds := &customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Source: "my vault"}
	if _, err := customer.NewFlow(creds, nil); err != nil { // something else presents it
		t.Error(err)
	}
	creds.Certificate, creds.PrivateKey = pair(t, time.Now(), time.Now().Add(time.Hour))
	half := *creds
	half.Certificate = ""
	_, err := customer.NewFlow(&half, nil)
	checkConfigError(t, err, "my vault", "Certificate", "empty")
	half = *creds
	half.PrivateKey = ""
	_, err = customer.NewFlow(&half, nil)
	checkConfigError(t, err, "my vault", "PrivateKey", "empty")
}
