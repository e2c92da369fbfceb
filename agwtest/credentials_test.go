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

func readFile(t *testing.T, elements ...string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatalf("reading a mounted file: %v", err)
	}
	return string(body)
}

// visibleNames returns the names in a directory that do not begin with a dot.
func visibleNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("reading the mount: %v", err)
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
	srv := startServer(t, agwtest.Options{Dependencies: []agwtest.Dependency{{ORDID: "o", GlobalTenantID: "g"}}})
	root := t.TempDir()
	if err := srv.WriteBinding(root); err != nil {
		t.Fatalf("writing the binding: %v", err)
	}
	dir := filepath.Join(root, "agent-gateway")
	if got := visibleNames(t, dir); !slices.Equal(got, []string{"credentials", "type"}) {
		t.Fatalf("files: got %q, want credentials and type", got)
	}
	link, err := os.Readlink(filepath.Join(dir, "credentials"))
	if err != nil || link != filepath.Join("..data", "credentials") {
		t.Errorf("credentials: got a link to %q (error %v), want one through ..data", link, err)
	}
	if got := readFile(t, dir, "type"); got != "integration-credentials" {
		t.Errorf("type: got %q, want integration-credentials", got)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(readFile(t, dir, "credentials")), &got); err != nil {
		t.Fatalf("the file credentials is not JSON: %v", err)
	}
	for _, field := range []string{"tokenServiceUrl", "clientid", "certificate", "privateKey", "gatewayUrl"} {
		if got[field] == "" || got[field] != srv.Credentials()[field] {
			t.Errorf("field %s: got %q, want %q as in Credentials", field, got[field], srv.Credentials()[field])
		}
	}
	if d, _ := json.Marshal(got["integrationDependencies"]); string(d) != `[{"globalTenantId":"g","ordId":"o"}]` {
		t.Errorf("dependencies: got %s, want those of the options", d)
	}
}

// While one goroutine writes, each read of another gets one whole version.
func TestMountSwap(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mount")
	if err := agwtest.WriteMount(dir, map[string][]byte{"a": []byte("0000"), "gone": nil}); err != nil {
		t.Fatalf("first mount: %v", err)
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
			// A path that is resolved while the old directory is removed is not
			// found, as in a pod.
			body, err := os.ReadFile(filepath.Join(dir, "a"))
			if err == nil && len(body) != 4 || err != nil && !os.IsNotExist(err) {
				t.Errorf("read during a swap: got %q (error %v), want a whole version or none", body, err)
			}
		}
	})
	for _, version := range []string{"1111", "2222", "3333"} {
		if err := agwtest.WriteMount(dir, map[string][]byte{"a": []byte(version)}); err != nil {
			t.Fatalf("swap to %s: %v", version, err)
		}
		if got := readFile(t, dir, "a"); got != version {
			t.Errorf("read after the swap to %q: got %q", version, got)
		}
	}
	close(done)
	reader.Wait()
	if got := visibleNames(t, dir); !slices.Equal(got, []string{"a", "default"}) {
		t.Errorf("after the swaps: got the names %q, want a, and default that was not of the mount", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 4 {
		t.Errorf("after the swaps: got the entries %v, want a, default, ..data and the directory it points to", entries)
	}
}

func TestMountFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	occupied := func(name string) string {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	srv := startServer(t, agwtest.Options{})
	for name, err := range map[string]error{
		"credentials below a file":         srv.WriteBinding(file),
		"destination binding below a file": srv.WriteDestinationBinding(file),
		"name with a slash":                agwtest.WriteMount(t.TempDir(), map[string][]byte{"a/b": nil}),
		"..data is a directory":            agwtest.WriteMount(occupied("..data"), nil),
		"..data_tmp is a directory":        agwtest.WriteMount(occupied("..data_tmp"), nil),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "agwtest: mount: ") {
			t.Errorf("%s: got error %v, want one that begins with %q", name, err, "agwtest: mount: ")
		}
	}
}

func TestEnvironments(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	customer := srv.CustomerEnv()
	for name, want := range map[string]string{
		"INTEGRATION_CLIENT_ID":   srv.ClientID(),
		"INTEGRATION_GATEWAY_URL": srv.GatewayURL(),
	} {
		if customer[name] != want {
			t.Errorf("%s: got %q, want %q", name, customer[name], want)
		}
	}
	var dependencies []agwtest.Dependency
	if err := json.Unmarshal([]byte(customer["INTEGRATION_DEPENDENCIES"]), &dependencies); err != nil || len(dependencies) != 2 || dependencies[0].ORDID == "" {
		t.Errorf("INTEGRATION_DEPENDENCIES: got %s (error %v), want the two default ones", customer["INTEGRATION_DEPENDENCIES"], err)
	}

	lob := srv.LoBEnv()
	if got := lob["APPFND_CONHOS_LANDSCAPE"]; "sap-managed-runtime-ias-"+got != destinationName || len(lob) != 6 {
		t.Errorf("environment of the LoB flow: got landscape %q and %d variables, want that in the name of the destination, and 6", got, len(lob))
	}
	root := t.TempDir()
	if err := srv.WriteDestinationBinding(root); err != nil {
		t.Fatalf("writing the binding: %v", err)
	}
	for key, want := range srv.DestinationBinding() {
		file := readFile(t, root, "destination", "default", key)
		env := lob["CLOUD_SDK_CFG_DESTINATION_DEFAULT_"+strings.ToUpper(key)]
		if want == "" || file != want || env != want {
			t.Errorf("%s: got %q in the file and %q in the environment, want %q in both", key, file, env, want)
		}
	}
	if b := srv.DestinationBinding(); !strings.HasPrefix(b["url"], "https://"+b["identityzone"]+".authentication.") {
		t.Errorf("URL of the authorization server: got %s, want it to begin with the identity zone %s", b["url"], b["identityzone"])
	}
}

func TestRotationOfClientCertificates(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	assert := func(what string, client *http.Client, want int) {
		t.Helper()
		assertStatus(t, what, postForm(t, client, srv.TokenURL(), systemForm(srv)), want)
	}
	rotate := func() *http.Client {
		t.Helper()
		if err := srv.RotateCredentials(); err != nil {
			t.Fatalf("rotation: %v", err)
		}
		return newClient(t, srv, currentCertificate(t, srv))
	}
	oldCertificate := currentCertificate(t, srv)
	old := newClient(t, srv, oldCertificate)
	next := rotate()
	assert("the old certificate after a rotation", old, 200)
	assert("the new certificate after a rotation", next, 200)
	r := srv.Requests()
	if r[0].CertificateSerial != oldCertificate.Leaf.SerialNumber.String() || r[1].CertificateSerial == r[0].CertificateSerial {
		t.Errorf("recorded serial numbers: got %s and %s, want that of the old certificate and another one", r[0].CertificateSerial, r[1].CertificateSerial)
	}
	made := newClient(t, srv, newCertificate(t, srv, agwtest.Certificate{}))
	assert("another certificate of the client", made, 200)

	srv.RefuseOldCredentials()
	for name, client := range map[string]*http.Client{"the old certificate": old, "another certificate": made} {
		if r := postForm(t, client, srv.TokenURL(), systemForm(srv)); r.StatusCode != 401 || r.field("error") != "invalid_client" {
			t.Errorf("%s after RefuseOldCredentials: got status %s and body %s, want 401 and invalid_client", name, r.Status, r.text)
		}
	}
	assert("the new certificate after RefuseOldCredentials", next, 200)
	assert("a certificate after the next rotation", rotate(), 200)
}

func TestRotationOfClientSecrets(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	assert := func(what string, form map[string][]string, want int) {
		t.Helper()
		assertStatus(t, what, postForm(t, client, authURL(srv, "t1"), form), want)
	}
	old := serviceForm(srv)
	if err := srv.RotateCredentials(); err != nil {
		t.Fatalf("rotation: %v", err)
	}
	if old.Get("client_secret") == serviceForm(srv).Get("client_secret") {
		t.Error("the rotation did not change the secret")
	}
	assert("the old secret after a rotation", old, 200)
	assert("the new secret after a rotation", serviceForm(srv), 200)
	srv.RefuseOldCredentials()
	assert("the old secret after RefuseOldCredentials", old, 401)
	assert("the new secret after RefuseOldCredentials", serviceForm(srv), 200)
}
