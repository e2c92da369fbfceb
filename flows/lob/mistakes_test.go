package lob_test

import (
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
)

// The error of a mistake that new users make says what is wrong, where, and what to do, in
// at most two lines.
func TestErrorsOfMistakes(t *testing.T) {
	t.Parallel()
	const ordID = "sap.s4:apiAccess:salesOrder:v1"
	root := t.TempDir()
	dir := filepath.Join(root, "destination")
	writeFiles(t, dir, without(values("sb-1"), "clientsecret"))

	newFlow := func(alter func(*lob.Credentials)) error {
		creds := credentials()
		alter(creds)
		_, err := creds.NewFlow(flows.Options{})
		return err
	}
	load := func(env map[string]string) error { _, err := lob.LoadFrom(env); return err }
	fetch := func(tenant, user string, alter func(*services)) error {
		s := newServices()
		alter(s)
		return fetchError(t, s.newFlow(t, flows.Options{}), tenant, user)
	}
	fragments := func(status int, body string) func(*services) {
		return func(s *services) { s.fragments = func(int, request) httpResponse { return httpResponse{status, body} } }
	}
	list := func(status int, body string) error {
		s := newServices()
		fragments(status, body)(s)
		return byMCPServers(t.Context(), s.newFlow(t, flows.Options{}))
	}
	untrusted := func() error {
		srv, err := agwtest.Start(agwtest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		transport := srv.Transport()
		defer transport.CloseIdleConnections()
		flow, err := credentialsOf(srv).NewFlow(flows.Options{ServiceTransport: transport, RootCAs: x509.NewCertPool()})
		if err != nil {
			t.Fatal(err)
		}
		defer flow.CloseIdleConnections()
		return fetchError(t, flow, "acme", "")
	}
	tests := []struct {
		name  string
		err   error
		where string
		what  string
		do    string
	}{
		{"no landscape in the environment", load(without(environ(values("sb-1")), "APPFND_CONHOS_LANDSCAPE")),
			"environment: APPFND_CONHOS_LANDSCAPE", "missing or empty", "set it to the landscape that the agent runs in, such as eu10"},
		{"no landscape in the program", newFlow(func(c *lob.Credentials) { c.Landscape = "" }), "Landscape", "missing or empty", "such as eu10"},
		{"a file is missing", load(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": "eu10"}),
			dir + ": clientsecret", "missing or empty", "copy it from the binding"},
		{"a variable is missing", load(environ(without(values("sb-1"), "uri"))),
			"environment: CLOUD_SDK_CFG_DESTINATION_DEFAULT_URI", "missing or empty", "copy it from the binding"},
		{"a field is missing", newFlow(func(c *lob.Credentials) { c.IdentityZone = "" }), "test: IdentityZone", "missing or empty", "copy it from the binding"},
		{"an ORD id as URL", newFlow(func(c *lob.Credentials) { c.URL = ordID }), "test: URL", "not an absolute https URL", "copy it from the binding"},
		{"an ORD id as URI", newFlow(func(c *lob.Credentials) { c.URI = ordID }), "test: URI", "not an absolute https URL", "copy it from the binding"},
		{"URL and identityzone of two bindings", newFlow(func(c *lob.Credentials) { c.IdentityZone = "other" }),
			"test: URL", `the host "provider.authentication.example.com" has no label that is the identityzone`, "copy both from one binding"},
		{"a host as tenant", fetch("acme.example.com", "", func(*services) {}), `"acme.example.com"`, "is not the subdomain of a tenant, such as acme", "it must consist of"},
		{"no tenant", byAgentsWithoutTenant(t), "no tenant", "name one with tokensource.WithTenant", "configure Tenant or TenantFunc"},
		{"an unknown tenant", fetch("unknown", "", func(s *services) {
			s.auth = func(int, request) httpResponse { return httpResponse{404, `{"error":"unknown_zone"}`} }
		}), "https://unknown.authentication.example.com/oauth/token", `no tenant "unknown" there`, "name a tenant by the subdomain of its subaccount"},
		{"no fragment for the system", fetch("acme", "", fragments(200, `[]`)),
			destURL + fragmentsPath, `no fragment labeled "subscriber.ias" in tenant "acme"`, "check its subscription"},
		{"no fragment for users", fetch("acme", userJWT, fragments(404, ``)),
			destURL + fragmentsPath, `no fragment labeled "subscriber.ias.user" in tenant "acme"`, "check its subscription"},
		{"no fragment for MCP servers", list(404, ``), destURL + fragmentsPath, `no fragment labeled "agw.mcp.server" in tenant "acme"`, "check its subscription"},
		{"an ORD id as URL of an MCP server", list(200, `[{"FragmentName":"orders","URL":"`+ordID+`"}]`),
			`fragment 1 labeled "agw.mcp.server" in tenant "acme": "orders"`, "URL is not an absolute http or https URL", "the subscription must set it"},
		{"an ORD id as URL of the gateway", fetch("acme", "", func(s *services) {
			s.destination = func(int, request) httpResponse { return httpResponse{200, destination(`"` + ordID + `"`)} }
		}), destinationURL, "property URL: the gateway URL is not an absolute http or https URL", "the subscription must set it"},
		{"an authority that is not trusted", untrusted(), "/oauth/token", "certificate is not trusted", "RootCAs"},
		{"an authority that is not trusted by the system", untrusted(), "/oauth/token", "certificate is not trusted", "SSL_CERT_FILE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assertError(t, tt.err, tt.where, tt.what, tt.do)
			if lines := strings.Split(tt.err.Error(), "\n"); len(lines) > 2 {
				t.Errorf("%d lines, want at most two:\n%v", len(lines), tt.err)
			}
		})
	}
}

func byAgentsWithoutTenant(t *testing.T) error {
	_, err := newServices().newFlow(t, flows.Options{}).Agents(t.Context())
	return err
}
