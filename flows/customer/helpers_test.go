package customer_test

import (
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

	"go.uber.org/goleak"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tokenURL    = "https://tokens.example/oauth2/token"
	gatewayURL  = "https://gateway.example"
	ordID       = "sap.s4:apiAccess:salesOrder:v1"
	userJWT     = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6ImFndyJ9.c2lnbmF0dXJlLW9mLWFsaWNl"
	bindingType = "integration-credentials"
)

// must returns a function that fails the test if there is an error, and else returns v.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newKeyPair returns a new self-signed certificate and its key.
func newKeyPair(t testing.TB, notBefore, notAfter time.Time) (certPEM, keyPEM string) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	return selfSigned(t, key, notBefore, notAfter), toPEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t))
}

func selfSigned(t testing.TB, key crypto.Signer, notBefore, notAfter time.Time) (certPEM string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotBefore: notBefore, NotAfter: notAfter}
	return toPEM("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t))
}

func toPEM(blockType string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

// credentialsObject returns a complete object of a credentials file.
func credentialsObject(t testing.TB) map[string]any {
	t.Helper()
	cert, key := newKeyPair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	return map[string]any{
		"tokenServiceUrl": tokenURL, "clientid": "the-client", "certificate": cert, "privateKey": key,
		"gatewayUrl": gatewayURL + "/", "integrationDependencies": []any{map[string]any{"ordId": ordID, "globalTenantId": "tenant-1"}},
	}
}

// parseWith parses a complete object in which some keys have been changed.
func parseWith(t testing.TB, changes map[string]any) *customer.Credentials {
	t.Helper()
	o := credentialsObject(t)
	maps.Copy(o, changes)
	return must(customer.Parse(toJSON(t, o)))(t)
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	return must(json.Marshal(v))(t)
}

// writeBinding mounts a binding below root, without a credentials file if that is nil. It
// returns the path of that file.
func writeBinding(t testing.TB, root, name, typeText string, credentials []byte) (path string) {
	t.Helper()
	files := map[string][]byte{"type": []byte(typeText)}
	if credentials != nil {
		files["credentials"] = credentials
	}
	directory := filepath.Join(root, name)
	if err := agwtest.WriteMount(directory, files); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(directory, "credentials")
}

// writeFile writes a plain file, and the directories above it.
func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func newFlow(t testing.TB, creds *customer.Credentials, opts flows.Options) flows.Flow {
	t.Helper()
	return must(creds.NewFlow(opts))(t)
}

// loadFlow returns a flow of the binding below root.
func loadFlow(t testing.TB, root string, opts flows.Options) flows.Flow {
	t.Helper()
	return newFlow(t, must(customer.LoadFile(root))(t), opts)
}

func newSource(t testing.TB, flow tokensource.Flow) *tokensource.Source {
	t.Helper()
	return must(tokensource.New(flow, tokensource.Options{}))(t)
}

func startDouble(t testing.TB, options agwtest.Options) *agwtest.Server {
	t.Helper()
	srv := must(agwtest.Start(options))(t)
	t.Cleanup(srv.Close)
	return srv
}

// assertConfigError fails unless err is a ConfigError about the given field at the given
// source, whose text has the given part and quotes nothing of the configuration.
func assertConfigError(t testing.TB, what string, err error, source, field, text string) {
	t.Helper()
	var e *tokensource.ConfigError
	if !errors.As(err, &e) {
		t.Errorf("%s: got error %v (%T), want a *ConfigError", what, err, err)
		return
	}
	if e.Source != source || e.Field != field || !strings.Contains(e.Error(), text) {
		t.Errorf("%s: got %q with source %q and field %q, want %q, %q and %q", what, e, e.Source, e.Field, text, source, field)
	}
	if !strings.Contains(e.Error(), source) || !strings.Contains(e.Error(), field) {
		t.Errorf("%s: error %q does not name %q and %q", what, e, source, field)
	}
	if errors.Is(err, flows.ErrNoCredentials) {
		t.Errorf("%s: error %q is an ErrNoCredentials, though there are credentials", what, e)
	}
	if strings.Contains(e.Error(), "hidden") || strings.Contains(e.Error(), "-----") {
		t.Errorf("%s: error %q quotes the configuration", what, e)
	}
}
