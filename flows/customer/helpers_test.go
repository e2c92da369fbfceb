package customer_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

const (
	tokenURL   = "https://tokens.example/oauth2/token"
	gatewayURL = "https://gateway.example"
	ordID      = "sap.s4:apiAccess:salesOrder:v1"
	userJWT    = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6ImFndyJ9.c2lnbmF0dXJlLW9mLWFsaWNl"
)

// must fails the test if there is an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// pair makes a self-signed certificate and its key.
func pair(t testing.TB, notBefore, notAfter time.Time) (certPEM, keyPEM string) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	return certify(t, key, notBefore, notAfter), encode(t, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t))
}

func certify(t testing.TB, key crypto.Signer, notBefore, notAfter time.Time) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotBefore: notBefore, NotAfter: notAfter}
	return encode(t, "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t))
}

func encode(t testing.TB, kind string, der []byte) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// object is a credentials object that is complete.
func object(t testing.TB) map[string]any {
	t.Helper()
	cert, key := pair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	return map[string]any{
		"tokenServiceUrl": tokenURL, "clientid": "the-client", "certificate": cert, "privateKey": key,
		"gatewayUrl": gatewayURL + "/", "integrationDependencies": []any{map[string]any{"ordId": ordID, "globalTenantId": "tenant-1"}},
	}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mount writes a binding below root.
func mount(t testing.TB, root, name, kind string, credentials []byte) string {
	t.Helper()
	files := map[string][]byte{"type": []byte(kind)}
	if credentials != nil {
		files["credentials"] = credentials
	}
	directory := filepath.Join(root, name)
	if err := agwtest.WriteMount(directory, files); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(directory, "credentials")
}

// parsed returns credentials with some keys altered.
func parsed(t testing.TB, alter map[string]any) *customer.Credentials {
	t.Helper()
	o := object(t)
	maps.Copy(o, alter)
	return must(customer.Parse(marshal(t, o)))(t)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkConfigError checks that err is a ConfigError about a field at a source.
func checkConfigError(t testing.TB, err error, source, field, text string) {
	t.Helper()
	e := (*customer.ConfigError)(nil)
	if !errors.As(err, &e) {
		t.Errorf("error %v (%T), want a *ConfigError", err, err)
		return
	}
	if e.Source != source || e.Field != field || !strings.Contains(e.Error(), text) {
		t.Errorf("error %q: source %q, field %q; want %q, %q and %q", e, e.Source, e.Field, source, field, text)
	}
	for _, part := range []string{source, field} {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("error %q does not name %q", e, part)
		}
	}
	if errors.Is(err, tokensource.ErrNoCredentials) {
		t.Errorf("error %q is an ErrNoCredentials", e)
	}
	if strings.Contains(e.Error(), "hidden") || strings.Contains(e.Error(), "-----") {
		t.Errorf("error %q quotes its input", e)
	}
}

// double starts a double that ends with the test.
func double(t testing.TB, options agwtest.Options) *agwtest.Server {
	t.Helper()
	srv := must(agwtest.Start(options))(t)
	t.Cleanup(srv.Close)
	return srv
}
