package customer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

const kind = "integration-credentials"

// clearEnv makes an environment without any credentials.
func clearEnv(t *testing.T, root string) {
	t.Helper()
	t.Setenv("SERVICE_BINDING_ROOT", root)
	for _, name := range []string{"INTEGRATION_CLIENT_ID", "INTEGRATION_AUTH_URL", "INTEGRATION_GATEWAY_URL", "INTEGRATION_DEPENDENCIES"} {
		t.Setenv(name, "")
	}
}

func setEnv(t *testing.T) {
	t.Helper()
	t.Setenv("INTEGRATION_CLIENT_ID", "env-client")
	t.Setenv("INTEGRATION_AUTH_URL", tokenURL)
	t.Setenv("INTEGRATION_GATEWAY_URL", gatewayURL)
}

func TestLoadFileTakesTheFirstBinding(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	credentials := func(client string) []byte {
		o := object(t)
		o["clientid"] = client
		return marshal(t, o)
	}
	mount(t, root, "a-database", "postgresql", []byte("hidden"))
	mount(t, root, "b-capital", "Integration-Credentials", []byte("hidden"))
	mount(t, root, "c-nothing", kind, nil)
	write(t, filepath.Join(root, "d-file"), kind)
	write(t, filepath.Join(root, "e-odd", "type", "directory"), "")
	mount(t, root, "z-last", kind, credentials("last"))
	mount(t, root, "y-first", "\n "+kind+" \n", credentials("first"))
	elsewhere := t.TempDir()
	linked := mount(t, elsewhere, "linked", kind, credentials("linked"))

	c := must(customer.LoadFile(root))(t)
	if want := filepath.Join(root, "y-first", "credentials"); c.ClientID != "first" || c.Source != want {
		t.Errorf("client %q from %q", c.ClientID, c.Source)
	}
	if err := os.Symlink(filepath.Dir(linked), filepath.Join(root, "x-link")); err != nil {
		t.Fatal(err)
	}
	if c := must(customer.LoadFile(root))(t); c.ClientID != "linked" {
		t.Errorf("client %q, want that of the symbolic link", c.ClientID)
	}
}

func TestLoadFileNotFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mount(t, root, "meant", kind, nil)
	write(t, filepath.Join(root, "odd", "type", "directory"), "")
	for root, want := range map[string][]string{
		"":                          {"SERVICE_BINDING_ROOT is empty"},
		filepath.Join(root, "none"): {filepath.Join(root, "none"), "does not exist"},
		t.TempDir():                 {kind, `"credentials"`},
		root:                        {root, filepath.Join(root, "meant") + " has no credentials", filepath.Join(root, "odd", "type") + ": not a regular file"},
	} {
		_, err := customer.LoadFile(root)
		if e := (*customer.NotFoundError)(nil); !errors.As(err, &e) || !errors.Is(err, tokensource.ErrNoCredentials) || len(e.Looked) != 1 {
			t.Errorf("%q: %v", root, err)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, want %q", root, err, part)
			}
		}
	}
}

func TestLoadFileBroken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	_, err := customer.LoadFile(file)
	checkConfigError(t, err, file, "", "not a directory")

	root := t.TempDir()
	path := mount(t, root, "a", kind, []byte(`{"clientid":"hidden"`))
	_, err = customer.LoadFile(root)
	checkConfigError(t, err, path, "", "not valid JSON at byte 20")

	mount(t, root, "a", kind, []byte(`{"clientid":7}`))
	_, err = customer.LoadFile(root)
	checkConfigError(t, err, path, "tokenServiceUrl", "missing")

	mount(t, root, "a", kind, []byte(strings.Repeat(" ", 1<<20)+"{}"))
	_, err = customer.LoadFile(root)
	checkConfigError(t, err, path, "", "larger than 1048576 bytes")

	root = t.TempDir()
	write(t, filepath.Join(root, "a", "type"), kind)
	write(t, filepath.Join(root, "a", "credentials", "directory"), "")
	_, err = customer.LoadFile(root)
	checkConfigError(t, err, filepath.Join(root, "a", "credentials"), "", "not a regular file")

	root = t.TempDir() // a link that leads nowhere is as good as no file
	write(t, filepath.Join(root, "a", "type"), kind)
	if err := os.Symlink("nowhere", filepath.Join(root, "a", "credentials")); err != nil {
		t.Fatal(err)
	}
	if _, err = customer.LoadFile(root); !errors.Is(err, tokensource.ErrNoCredentials) {
		t.Error(err)
	}
}

func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := mount(t, root, "a", kind, marshal(t, object(t)))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	want := "permission denied"
	if f, err := os.Open(path); err == nil { // this user may read everything, but a directory
		_ = f.Close()
		want = "not a regular file"
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := customer.LoadFile(root)
	checkConfigError(t, err, path, "", want)
}

func TestLoadEnv(t *testing.T) {
	clearEnv(t, "")
	setEnv(t)
	c := must(customer.LoadEnv())(t)
	if c.ClientID != "env-client" || c.TokenServiceURL != tokenURL || c.GatewayURL != gatewayURL || c.Certificate+c.PrivateKey != "" || c.Dependencies != nil {
		t.Errorf("%+v", c)
	}
	t.Setenv("INTEGRATION_DEPENDENCIES", `[{"ordId":"a","globalTenantId":"b"}]`)
	if c := must(customer.LoadEnv())(t); len(c.Dependencies) != 1 || c.Dependencies[0] != (customer.Dependency{ORDID: "a", GlobalTenantID: "b"}) {
		t.Errorf("%+v", c.Dependencies)
	}
	for value, want := range map[string][2]string{
		"hidden":                             {"INTEGRATION_DEPENDENCIES", "not valid JSON"},
		"{}":                                 {"INTEGRATION_DEPENDENCIES", "not a JSON array"},
		"null":                               {"INTEGRATION_DEPENDENCIES", "not a JSON array"},
		`[{"ordId":"a"}]`:                    {"INTEGRATION_DEPENDENCIES[0].globalTenantId", "missing"},
		`[{"ordId":"a","globalTenantId":1}]`: {"INTEGRATION_DEPENDENCIES[0].globalTenantId", "not a string"},
	} {
		t.Setenv("INTEGRATION_DEPENDENCIES", value)
		_, err := customer.LoadEnv()
		checkConfigError(t, err, "environment", want[0], want[1])
	}
	t.Setenv("INTEGRATION_DEPENDENCIES", "")
	t.Setenv("INTEGRATION_AUTH_URL", "http://tokens.example/hidden")
	_, err := customer.NewFlow(must(customer.LoadEnv())(t), nil)
	checkConfigError(t, err, "environment", "INTEGRATION_AUTH_URL", "plain http")
	if !errors.Is(err, tokensource.ErrInsecureURL) {
		t.Error(err)
	}
	for _, name := range []string{"INTEGRATION_CLIENT_ID", "INTEGRATION_AUTH_URL", "INTEGRATION_GATEWAY_URL"} {
		setEnv(t)
		t.Setenv(name, " ")
		if _, err := customer.LoadEnv(); !errors.Is(err, tokensource.ErrNoCredentials) || !strings.Contains(err.Error(), name+" is not set") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestLoadPrefersTheFile(t *testing.T) {
	root := t.TempDir()
	clearEnv(t, root)
	_, err := customer.Load()
	e := (*customer.NotFoundError)(nil)
	if !errors.As(err, &e) || len(e.Looked) != 2 || !strings.Contains(e.Looked[0], root) || !strings.Contains(e.Looked[1], "INTEGRATION_CLIENT_ID, INTEGRATION_AUTH_URL, INTEGRATION_GATEWAY_URL are not set") {
		t.Errorf("nothing there: %v", err)
	}
	setEnv(t)
	if c := must(customer.Load())(t); c.ClientID != "env-client" || c.Source != "environment" {
		t.Errorf("no file: %+v", c)
	}
	path := mount(t, root, "a", kind, marshal(t, object(t)))
	if c := must(customer.Load())(t); c.ClientID != "the-client" || c.Source != path {
		t.Errorf("a file: %+v", c)
	}
	mount(t, root, "a", kind, []byte("{"))
	_, err = customer.Load() // what is broken does not make way
	checkConfigError(t, err, path, "", "not valid JSON")

	t.Setenv("SERVICE_BINDING_ROOT", "") // empty: no files at all
	if c := must(customer.Load())(t); c.ClientID != "env-client" {
		t.Errorf("no root: %+v", c)
	}
	t.Setenv("INTEGRATION_CLIENT_ID", "")
	if _, err := customer.Load(); err == nil || !strings.Contains(err.Error(), "SERVICE_BINDING_ROOT is empty") {
		t.Errorf("no root: %v", err)
	}
	if _, err := os.Stat("/bindings"); err == nil {
		t.Skip("this machine has bindings")
	}
	if err := os.Unsetenv("SERVICE_BINDING_ROOT"); err != nil { // t.Setenv restores it
		t.Fatal(err)
	}
	if _, err := customer.Load(); err == nil || !strings.Contains(err.Error(), "/bindings") {
		t.Errorf("default root: %v", err)
	}
}

func FuzzDependencies(f *testing.F) {
	for _, text := range []string{`[]`, `[{"ordId":"a","globalTenantId":"b"}]`, `[{"ordId":"..","globalTenantId":"b/c?d"}]`, `{}`, `[null]`, "\ufeff[]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) {
			return // not in an environment
		}
		setEnvOnce(t, text)
		c, err := customer.LoadEnv()
		e := (*customer.ConfigError)(nil)
		if err != nil {
			if !errors.As(err, &e) || !strings.HasPrefix(e.Field, "INTEGRATION_DEPENDENCIES") {
				t.Fatal(err)
			}
			return
		}
		flow, err := customer.NewFlow(c, nil)
		if err != nil {
			if !errors.As(err, &e) || !strings.HasPrefix(e.Field, "INTEGRATION_DEPENDENCIES[") {
				t.Fatal(err)
			}
			return
		}
		endpoints, err := flow.MCPServers(t.Context())
		if err != nil {
			if c.Dependencies != nil {
				t.Fatal(err)
			}
			return
		}
		for i, e := range endpoints {
			checkBelow(t, e.URL, gatewayURL+"/v1/mcp/", c.Dependencies[i])
		}
	})
}

func setEnvOnce(t *testing.T, dependencies string) {
	t.Helper()
	setEnv(t)
	t.Setenv("INTEGRATION_DEPENDENCIES", dependencies)
}
