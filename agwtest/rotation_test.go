package agwtest_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/agwgo/agw/agwtest"
)

func read(t *testing.T, elements ...string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name()[0] != '.' {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestBindingAsKubeletMountsIt(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{Dependencies: []agwtest.Dependency{{OrdID: "o", GlobalTenantID: "g"}}})
	root := t.TempDir()
	if err := srv.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, agwtest.BindingName)
	if got := names(t, dir); !slices.Equal(got, []string{"credentials", "type"}) {
		t.Fatalf("files: %v", got)
	}
	link, err := os.Readlink(filepath.Join(dir, "credentials"))
	if err != nil || link != filepath.Join("..data", "credentials") {
		t.Errorf("credentials is a link to %q, %v", link, err)
	}
	if got := read(t, dir, "type"); got != "integration-credentials" {
		t.Errorf("type: %q", got)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(read(t, dir, "credentials")), &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"tokenServiceUrl", "clientid", "certificate", "privateKey", "gatewayUrl"} {
		if got[field] == "" || got[field] != srv.Credentials()[field] {
			t.Errorf("%s: %v", field, got[field])
		}
	}
	if d, _ := json.Marshal(got["integrationDependencies"]); string(d) != `[{"globalTenantId":"g","ordId":"o"}]` {
		t.Errorf("dependencies: %s", d)
	}
}

// TestMountSwap reads while another writes: each read gets one whole version.
func TestMountSwap(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mount")
	version := func(text string) map[string][]byte { return map[string][]byte{"a": []byte(text)} }
	if err := agwtest.WriteMount(dir, map[string][]byte{"a": []byte("0000"), "gone": nil}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "default"), 0o700); err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	done := make(chan struct{})
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			// A path that is resolved while the old directory goes is not
			// found, as in a pod.
			body, err := os.ReadFile(filepath.Join(dir, "a"))
			if err == nil && len(body) != 4 || err != nil && !os.IsNotExist(err) {
				t.Errorf("read %q, %v", body, err)
			}
		}
	})
	for _, text := range []string{"1111", "2222", "3333"} {
		if err := agwtest.WriteMount(dir, version(text)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, dir, "a"); got != text {
			t.Errorf("read %q after the swap to %q", got, text)
		}
	}
	close(done)
	reader.Wait()
	if got := names(t, dir); !slices.Equal(got, []string{"a", "default"}) {
		t.Errorf("files: %v", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 4 { // and ..data and its target
		t.Errorf("entries: %v", entries)
	}
}

func TestMountFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	srv := start(t, agwtest.Options{})
	for name, err := range map[string]error{
		"not a directory": srv.WriteBinding(file),
		"binding":         srv.WriteDestinationBinding(file),
		"bad name":        agwtest.WriteMount(t.TempDir(), map[string][]byte{"a/b": nil}),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "agwtest: mount: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "..data", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := agwtest.WriteMount(dir, nil); err == nil {
		t.Error("a directory ..data was replaced")
	}
	dir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "..data_tmp", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := agwtest.WriteMount(dir, nil); err == nil {
		t.Error("a directory ..data_tmp was replaced")
	}
}

func TestEnvironments(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{Landscape: "eu10", IdentityZone: "zone"})
	customer := srv.CustomerEnv()
	if customer["INTEGRATION_CLIENT_ID"] != srv.ClientID() || customer["INTEGRATION_AUTH_URL"] != srv.TokenURLNoClientCert() ||
		customer["INTEGRATION_GATEWAY_URL"] != srv.GatewayURL() || !strings.Contains(customer["INTEGRATION_DEPENDENCIES"], `"ordId"`) {
		t.Errorf("customer: %v", customer)
	}
	lob := srv.LoBEnv()
	if lob["APPFND_CONHOS_LANDSCAPE"] != "eu10" || srv.DestinationName() != "sap-managed-runtime-ias-eu10" || len(lob) != 6 {
		t.Errorf("LoB: %v", lob)
	}
	root := t.TempDir()
	if err := srv.WriteDestinationBinding(root); err != nil {
		t.Fatal(err)
	}
	for key, value := range srv.DestinationBinding() {
		file := read(t, root, "destination", "default", key)
		if env := lob["CLOUD_SDK_CFG_DESTINATION_DEFAULT_"+strings.ToUpper(key)]; value == "" || file != value || env != value {
			t.Errorf("%s: file %q, env %q, want %q", key, file, env, value)
		}
	}
	if !strings.HasPrefix(srv.AuthURL(), "https://zone.authentication.") {
		t.Error(srv.AuthURL())
	}
}

func TestRotateClientCertificate(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	oldCertificate := credentials(t, srv)
	status := func(c *http.Client) int { return post(t, c, srv.TokenURL(), systemForm(srv)).StatusCode }
	old := client(t, srv, oldCertificate)
	if err := srv.RotateClientCertificate(); err != nil {
		t.Fatal(err)
	}
	next := client(t, srv, credentials(t, srv))
	if status(old) != 200 || status(next) != 200 {
		t.Error("both certificates are to be accepted")
	}
	r := srv.Requests()
	if r[0].CertificateSerial != oldCertificate.Leaf.SerialNumber.String() || r[1].CertificateSerial == r[0].CertificateSerial {
		t.Errorf("serial numbers %s and %s", r[0].CertificateSerial, r[1].CertificateSerial)
	}
	srv.RefuseOldClients()
	if status(old) != 401 || status(next) != 200 {
		t.Error("the new certificate alone is to be accepted")
	}
	if err := srv.RotateClientCertificate(); err != nil {
		t.Fatal(err)
	}
	if status(client(t, srv, credentials(t, srv))) != 200 {
		t.Error("a certificate of later is refused")
	}
}

func TestRotateClientSecret(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	old := serviceForm(srv)
	srv.RotateClientSecret()
	status := func(form map[string][]string) int { return post(t, c, authURL(srv, "t1"), form).StatusCode }
	if status(old) != 200 || status(serviceForm(srv)) != 200 || old.Get("client_secret") == serviceForm(srv).Get("client_secret") {
		t.Error("both secrets are to be accepted")
	}
	srv.RefuseOldClients()
	if status(old) != 401 || status(serviceForm(srv)) != 200 {
		t.Error("the new secret alone is to be accepted")
	}
}

func TestRotateCA(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	before, certificate := client(t, srv), credentials(t, srv)
	if err := srv.RotateCA(); err != nil {
		t.Fatal(err)
	}
	if resp, err := before.Get(srv.ForeignURL()); err == nil {
		resp.Body.Close()
		t.Error("a client of the old CA trusts the new one")
	}
	after := client(t, srv, certificate)
	after.Transport.(*http.Transport).TLSClientConfig.RootCAs = poolOf(t, srv.CAPEM())
	if r := post(t, after, srv.TokenURL(), systemForm(srv)); r.StatusCode != 200 {
		t.Errorf("client certificate of the old CA: %s", r.Status)
	}
}
