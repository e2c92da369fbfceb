package customer_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// What somebody reads who does it for the first time says what is wrong, where, and what
// to do about it.
func TestTextsOfCommonMistakes(t *testing.T) {
	clearEnvironment(t, "")
	root := t.TempDir()
	path := filepath.Join(root, "a", "credentials")
	past := time.Now().Add(-time.Hour)
	expired, expiredKey := newKeyPair(t, past.Add(-time.Hour), past)
	_, otherKey := newKeyPair(t, past, time.Now().Add(time.Hour))

	load := func(dir string) error {
		creds, err := customer.LoadFile(dir)
		if err == nil {
			_, err = creds.NewFlow(flows.Options{})
		}
		return err
	}
	loadWith := func(changes map[string]any) func() error {
		return func() error {
			o := credentialsObject(t)
			for key, value := range changes {
				o[key] = value
			}
			writeBinding(t, root, "a", bindingType, toJSON(t, o))
			return load(root)
		}
	}
	fetch := func(tokenServiceURL string) error {
		creds := parseWith(t, map[string]any{"tokenServiceUrl": tokenServiceURL})
		flow := newFlow(t, creds, flows.Options{})
		t.Cleanup(flow.CloseIdleConnections)
		_, err := flow.Fetch(t.Context(), tokensource.SystemSubject())
		return err
	}
	type test struct {
		name    string
		mistake func() error
		want    []string
	}
	tests := []test{
		{"a directory that does not exist", func() error { return load(filepath.Join(root, "nowhere")) },
			[]string{filepath.Join(root, "nowhere"), "does not exist", "set SERVICE_BINDING_ROOT for another directory"}},
		{"a directory that is one level too deep", func() error {
			writeBinding(t, root, "a", bindingType, []byte("{}"))
			return load(filepath.Join(root, "a"))
		}, []string{filepath.Join(root, "a"), "is a binding itself", "name its parent, " + root, "SERVICE_BINDING_ROOT"}},
		{"a binding of another type", func() error {
			other := t.TempDir()
			writeBinding(t, other, "a", "Integration-Credentials", []byte("{}"))
			return load(other)
		}, []string{"is of type Integration-Credentials", `no directory in it has a file "type" that says integration-credentials`}},
		{"a certificate that has expired", loadWith(map[string]any{"certificate": expired, "privateKey": expiredKey}),
			[]string{path, "certificate", "expired at " + past.UTC().Format("2006-01-02T15:"), "replace it"}},
		{"the key of another certificate", loadWith(map[string]any{"privateKey": otherKey}),
			[]string{path, "privateKey", "does not match", "certificate and key must be of one pair"}},
		{"a variable with another name", func() error {
			t.Setenv("INTEGRATION_CLIENT_ID", "c")
			t.Setenv("INTEGRATION_TOKEN_URL", tokenURL)
			_, err := customer.LoadEnv()
			return err
		}, []string{"environment", "not set: INTEGRATION_AUTH_URL, INTEGRATION_GATEWAY_URL", "set, but not known: INTEGRATION_TOKEN_URL"}},
		{"a dependency without an ORD id", loadWith(map[string]any{"integrationDependencies": []any{map[string]any{"globalTenantId": "t"}}}),
			[]string{path, "integrationDependencies[0].ordId", "missing", "such as sap.s4:apiAccess:salesOrder:v1"}},
		{"a dependency without a tenant", loadWith(map[string]any{"integrationDependencies": []any{map[string]any{"ordId": "o", "globalTenantId": ""}}}),
			[]string{path, "integrationDependencies[0].globalTenantId", "empty", "the global id of the tenant"}},
		{"a gateway URL with a query", loadWith(map[string]any{"gatewayUrl": gatewayURL + "/?x=1"}),
			[]string{path, "gatewayUrl", "has more than scheme, host, port and path", "it looks like https://host/path"}},
		{"a token service over plain http", loadWith(map[string]any{"tokenServiceUrl": "http://tokens.example/oauth2/token"}),
			[]string{path, "tokenServiceUrl", "plain http", "use https, or DangerouslyAllowPlainHTTP"}},
		{"a token service of an authority that is not known", func() error { return fetch(startDouble(t, agwtest.Options{}).TokenURL()) },
			[]string{"/oauth2/token", "is not trusted", "add its authority to RootCAs", "SSL_CERT_FILE"}},
		{"a proxy in between", func() error {
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "<html>log in</html>", http.StatusForbidden)
			}))
			t.Cleanup(proxy.Close)
			return fetch(proxy.URL + "/token")
		}, []string{"/token", "status 403", "is HTML, not JSON: is a proxy in between?"}},
		{"a call in a tenant", func() error {
			_, err := newFlow(t, parseWith(t, nil), flows.Options{}).MCPServers(tokensource.WithTenant(t.Context(), "acme"))
			return err
		}, []string{`names the tenant "acme"`, "a customer's, of one tenant", "only LoB credentials act in several"}},
	}
	if os.Getuid() != 0 { // who may read everything
		tests = append(tests, test{"a file without permission", func() error {
			writeBinding(t, root, "a", bindingType, []byte("{}"))
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			return load(root)
		}, []string{path, "permission denied", "this process runs as user ", "must be able to read it"}})
	}
	for _, test := range tests {
		err := test.mistake()
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		t.Logf("%s:\n%v", test.name, err)
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", test.name, err, want)
			}
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) > 4 { // two for the list and the place, and two for what is wrong there
			t.Errorf("%s: error %q has %d lines", test.name, err, len(lines))
		}
		for _, line := range lines {
			if len(line) > 300 {
				t.Errorf("%s: the line %q is too long to be read", test.name, line)
			}
		}
	}
}
