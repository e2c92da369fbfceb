package customer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// clearEnvironment makes an environment without credentials, whose bindings are below
// root.
func clearEnvironment(t *testing.T, root string) {
	t.Helper()
	t.Setenv("SERVICE_BINDING_ROOT", root)
	for _, name := range []string{"INTEGRATION_CLIENT_ID", "INTEGRATION_AUTH_URL", "INTEGRATION_GATEWAY_URL", "INTEGRATION_DEPENDENCIES"} {
		t.Setenv(name, "")
	}
}

func setVariables(t *testing.T) {
	t.Helper()
	t.Setenv("INTEGRATION_CLIENT_ID", "env-client")
	t.Setenv("INTEGRATION_AUTH_URL", tokenURL)
	t.Setenv("INTEGRATION_GATEWAY_URL", gatewayURL)
}

// assertNotFound fails unless err is a NotFoundError of the given places, in whose
// problems the given parts are.
func assertNotFound(t *testing.T, what string, err error, want ...flows.Place) {
	t.Helper()
	var e *flows.NotFoundError
	if !errors.As(err, &e) || !errors.Is(err, flows.ErrNoCredentials) || len(e.Places) != len(want) {
		t.Errorf("%s: got error %v (%T), want a *NotFoundError of %d places", what, err, err, len(want))
		return
	}
	for i, place := range e.Places {
		if place.Flow != "customer" || place.Name != want[i].Name || !strings.Contains(place.Problem, want[i].Problem) {
			t.Errorf("%s: place %d is %+v, want %q in it", what, i, place, want[i])
		}
		if strings.Contains(place.Problem, "hidden") {
			t.Errorf("%s: place %d quotes what is there: %+v", what, i, place)
		}
	}
}

func TestLoadFileTakesTheFirstBinding(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	credentialsOf := func(client string) []byte {
		o := credentialsObject(t)
		o["clientid"] = client
		return toJSON(t, o)
	}
	writeBinding(t, root, "a-database", "postgresql", []byte("hidden"))
	writeBinding(t, root, "b-capital", "Integration-Credentials", []byte("hidden"))
	writeBinding(t, root, "c-without-credentials", bindingType, nil)
	writeFile(t, filepath.Join(root, "d-file"), bindingType)
	writeFile(t, filepath.Join(root, "e-type-is-a-directory", "type", "x"), "")
	writeFile(t, filepath.Join(root, "f-without-type", "credentials"), "hidden")
	writeBinding(t, root, "z-last", bindingType, credentialsOf("last"))
	writeBinding(t, root, "y-first", "\n "+bindingType+" \n", credentialsOf("first"))

	c := must(customer.LoadFile(root))(t)
	if want := filepath.Join(root, "y-first", "credentials"); c.ClientID != "first" || c.Source != want {
		t.Errorf("got client %q from %q, want that of %q", c.ClientID, c.Source, want)
	}

	linked := writeBinding(t, t.TempDir(), "linked", bindingType, credentialsOf("linked"))
	if err := os.Symlink(filepath.Dir(linked), filepath.Join(root, "x-link")); err != nil {
		t.Fatal(err)
	}
	if c := must(customer.LoadFile(root))(t); c.ClientID != "linked" {
		t.Errorf("got client %q, want that of the symbolic link, which comes first", c.ClientID)
	}
}

func TestLoadFileThatFindsNothing(t *testing.T) {
	t.Parallel()
	empty, root := t.TempDir(), t.TempDir()
	writeBinding(t, root, "incomplete", bindingType, nil)
	writeFile(t, filepath.Join(root, "odd", "type", "directory"), "")
	writeBinding(t, root, "other", "postgresql\n", []byte("hidden"))
	writeBinding(t, root, "strange", "hidden words", []byte("hidden"))
	writeFile(t, filepath.Join(root, "untyped", "url"), "hidden")
	dangling := t.TempDir() // a link that leads nowhere is as good as no file
	writeFile(t, filepath.Join(dangling, "a", "type"), bindingType)
	if err := os.Symlink("nowhere", filepath.Join(dangling, "a", "credentials")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, root, wantName string
		wantProblem          []string
	}{
		{"no root", "", "files", []string{"SERVICE_BINDING_ROOT is empty"}},
		{"a root that does not exist", filepath.Join(root, "none"), filepath.Join(root, "none"), []string{"does not exist", "SERVICE_BINDING_ROOT"}},
		{"an empty root", empty, empty, []string{`"type"`, bindingType, `"credentials"`, "SERVICE_BINDING_ROOT"}},
		{"bindings that may be meant", root, root, []string{
			filepath.Join(root, "incomplete") + ` has no file "credentials"`, filepath.Join(root, "odd", "type") + ": not a regular file",
			filepath.Join(root, "other") + " is of type postgresql", filepath.Join(root, "strange") + " is of another type",
			filepath.Join(root, "untyped") + ` has no file "type"`,
		}},
		{"a dangling link", dangling, dangling, []string{filepath.Join(dangling, "a") + ` has no file "credentials"`}},
	} {
		_, err := customer.LoadFile(test.root)
		for _, problem := range test.wantProblem {
			assertNotFound(t, test.name, err, flows.Place{Name: test.wantName, Problem: problem})
		}
	}
}

func TestProblemsAreNotListedWithoutEnd(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 100 {
		writeFile(t, filepath.Join(root, fmt.Sprintf("binding-%02d", i), "type"), "postgresql")
	}
	_, err := customer.LoadFile(root)
	assertNotFound(t, "100 other bindings", err, flows.Place{Name: root, Problem: "binding-06 is of type postgresql\nand 93 more"})
}

// A file that cannot be read is not in the way of a binding that can.
func TestUnreadableTypeHidesNoBinding(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "a", "type", "directory"), "")
	writeFile(t, filepath.Join(root, "b", "type"), strings.Repeat("x", 1<<20+1))
	path := writeBinding(t, root, "c", bindingType, toJSON(t, credentialsObject(t)))
	if c := must(customer.LoadFile(root))(t); c.Source != path {
		t.Errorf("got the credentials of %s, want those of %s", c.Source, path)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := customer.LoadFile(root)
	for _, problem := range []string{filepath.Join(root, "a", "type") + ": not a regular file", filepath.Join(root, "b", "type") + ": larger than 1048576 bytes"} {
		assertNotFound(t, "two that cannot be read", err, flows.Place{Name: root, Problem: problem})
	}
}

// Below a mounted directory there are its revisions. One of them is as good as a binding
// until the next change, which removes it.
func TestLoadFileOfABindingInPlaceOfTheRoot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	credentials := toJSON(t, credentialsObject(t))
	writeBinding(t, root, "a", bindingType, credentials)
	binding := filepath.Join(root, "a")
	revision := must(filepath.EvalSymlinks(filepath.Join(binding, "..data")))(t)
	plain := filepath.Join(t.TempDir(), "plain")
	writeFile(t, filepath.Join(plain, "type"), bindingType)
	writeFile(t, filepath.Join(plain, "credentials"), "hidden")
	unreadable := filepath.Join(t.TempDir(), "unreadable")
	writeFile(t, filepath.Join(unreadable, "type"), bindingType)
	writeFile(t, filepath.Join(unreadable, "credentials", "directory"), "")
	for _, test := range []struct{ name, root, parent string }{
		{"a binding", binding, root},
		{"a binding, with a slash", binding + "/", root},
		{"the current revision", filepath.Join(binding, "..data"), root},
		{"a revision", revision, root},
		{"a binding that is not mounted", plain, filepath.Dir(plain)},
		{"a binding that cannot be read", unreadable, filepath.Dir(unreadable)},
	} {
		_, err := customer.LoadFile(test.root)
		assertConfigError(t, test.name, err, test.root, "", "this is a binding itself; name its parent, "+test.parent+", in SERVICE_BINDING_ROOT")
	}

	other := t.TempDir()
	writeFile(t, filepath.Join(other, "type"), bindingType)
	if _, err := customer.LoadFile(other); !errors.Is(err, flows.ErrNoCredentials) {
		t.Errorf("a root with a file type alone: got error %v, want an ErrNoCredentials", err)
	}
	hidden := t.TempDir()
	writeBinding(t, hidden, "..2026_11_24", bindingType, credentials)
	_, err := customer.LoadFile(hidden)
	assertNotFound(t, "a revision alone", err, flows.Place{Name: hidden, Problem: "no directory in it has"})
}

func TestLoadFileThatIsBroken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	_, err := customer.LoadFile(file)
	assertConfigError(t, "the root is a file", err, file, "", "not a directory")

	root := t.TempDir()
	for _, test := range []struct{ name, content, field, want string }{
		{"not JSON", `{"clientid":"hidden"`, "", "not valid JSON at byte 20"},
		{"incomplete", `{"clientid":7}`, "tokenServiceUrl", "missing"},
		{"too large", strings.Repeat(" ", 1<<20) + "{}", "", "larger than 1048576 bytes"},
	} {
		path := writeBinding(t, root, "a", bindingType, []byte(test.content))
		_, err := customer.LoadFile(root)
		assertConfigError(t, test.name, err, path, test.field, test.want)
	}

	root = t.TempDir()
	writeFile(t, filepath.Join(root, "a", "type"), bindingType)
	writeFile(t, filepath.Join(root, "a", "credentials", "directory"), "")
	_, err = customer.LoadFile(root)
	assertConfigError(t, "a directory", err, filepath.Join(root, "a", "credentials"), "", "not a regular file")
}

func TestLoadFileWithoutPermission(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := writeBinding(t, root, "a", bindingType, toJSON(t, credentialsObject(t)))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(path); err == nil {
		_ = f.Close()
		t.Skip("this user may read everything")
	}
	_, err := customer.LoadFile(root)
	assertConfigError(t, "without permission", err, path, "", "permission denied")
}

func TestLoadEnv(t *testing.T) {
	clearEnvironment(t, "")
	setVariables(t)
	c := must(customer.LoadEnv())(t)
	if c.ClientID != "env-client" || c.TokenServiceURL != tokenURL || c.GatewayURL != gatewayURL || c.Certificate+c.PrivateKey != "" || c.Dependencies != nil || c.Source != "environment" {
		t.Errorf("got %v with dependencies %v, want what the three variables say", c, c.Dependencies)
	}
	t.Setenv("INTEGRATION_DEPENDENCIES", `[{"ordId":"a","globalTenantId":"b"}]`)
	if c := must(customer.LoadEnv())(t); len(c.Dependencies) != 1 || c.Dependencies[0] != (flows.Dependency{ORDID: "a", GlobalTenantID: "b"}) {
		t.Errorf("got dependencies %v, want the one of the variable", c.Dependencies)
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
		assertConfigError(t, "dependencies "+value, err, "environment", want[0], want[1])
	}
}

func TestVariablesAreNamedInErrors(t *testing.T) {
	clearEnvironment(t, "")
	for _, test := range []struct{ variable, value, field, want string }{
		{"INTEGRATION_AUTH_URL", "http://tokens.example/hidden", "INTEGRATION_AUTH_URL", "plain http"},
		{"INTEGRATION_GATEWAY_URL", "https://g.example/?hidden", "INTEGRATION_GATEWAY_URL", "more than"},
		{"INTEGRATION_DEPENDENCIES", `[{"ordId":"a","globalTenantId":".."}]`, "INTEGRATION_DEPENDENCIES[0].globalTenantId", "not a segment"},
	} {
		setVariables(t)
		t.Setenv(test.variable, test.value)
		_, err := must(customer.LoadEnv())(t).NewFlow(flows.Options{})
		assertConfigError(t, test.variable, err, "environment", test.field, test.want)
	}
	for _, name := range []string{"INTEGRATION_CLIENT_ID", "INTEGRATION_AUTH_URL", "INTEGRATION_GATEWAY_URL"} {
		setVariables(t)
		t.Setenv(name, " ")
		_, err := customer.LoadEnv()
		assertNotFound(t, "without "+name, err, flows.Place{Name: "environment", Problem: "not set: " + name})
	}
	t.Setenv("INTEGRATION_TOKEN_URL", "hidden")
	t.Setenv("INTEGRATION_GATEWAY", "hidden")
	_, err := customer.LoadEnv()
	assertNotFound(t, "with names that do not exist", err, flows.Place{Name: "environment", Problem: "\nset, but not known: INTEGRATION_GATEWAY, INTEGRATION_TOKEN_URL"})
}

func TestLoadPrefersTheFile(t *testing.T) {
	root := t.TempDir()
	clearEnvironment(t, root)
	noVariables := flows.Place{Name: "environment", Problem: "not set: INTEGRATION_CLIENT_ID, INTEGRATION_AUTH_URL, INTEGRATION_GATEWAY_URL"}
	_, err := customer.Load()
	assertNotFound(t, "neither file nor variables", err, flows.Place{Name: root}, noVariables)

	setVariables(t)
	if c := must(customer.Load())(t); c.ClientID != "env-client" || c.Source != "environment" {
		t.Errorf("only variables: got %v", c)
	}
	path := writeBinding(t, root, "a", bindingType, toJSON(t, credentialsObject(t)))
	if c := must(customer.Load())(t); c.ClientID != "the-client" || c.Source != path {
		t.Errorf("file and variables: got %v, want that of the file", c)
	}
	writeBinding(t, root, "a", bindingType, []byte("{"))
	_, err = customer.Load()
	assertConfigError(t, "a broken file and variables", err, path, "", "not valid JSON")

	t.Setenv("INTEGRATION_DEPENDENCIES", "{}")
	t.Setenv("SERVICE_BINDING_ROOT", "")
	_, err = customer.Load()
	assertConfigError(t, "no root and a broken variable", err, "environment", "INTEGRATION_DEPENDENCIES", "not a JSON array")
	t.Setenv("INTEGRATION_DEPENDENCIES", "")
	if c := must(customer.Load())(t); c.ClientID != "env-client" {
		t.Errorf("no root and variables: got %v", c)
	}
	t.Setenv("INTEGRATION_CLIENT_ID", "")
	_, err = customer.Load()
	assertNotFound(t, "no root and not all variables", err, flows.Place{Name: "files", Problem: "SERVICE_BINDING_ROOT is empty"}, flows.Place{Name: "environment", Problem: "not set: INTEGRATION_CLIENT_ID"})

	if _, err := os.Stat("/bindings"); err == nil {
		t.Skip("this machine has bindings")
	}
	if err := os.Unsetenv("SERVICE_BINDING_ROOT"); err != nil { // t.Setenv restores it
		t.Fatal(err)
	}
	_, err = customer.Load()
	assertNotFound(t, "the default root", err, flows.Place{Name: "/bindings", Problem: "does not exist"}, flows.Place{Name: "environment"})
}

// FuzzType puts any text into the file type of a binding. What is shown of it could be the
// name of a type, and no binding of another type is taken.
func FuzzType(f *testing.F) {
	for _, text := range []string{"", bindingType, " " + bindingType + "\n", "postgresql", "a b", "\xff", strings.Repeat("x", 100), "sub/type-1.0_x", bindingType + "\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root := t.TempDir()
		writeFile(t, filepath.Join(root, "a", "type"), text)
		writeFile(t, filepath.Join(root, "a", "credentials"), "{}")
		_, err := customer.LoadFile(root)
		_, errOfBinding := customer.LoadFile(filepath.Join(root, "a"))
		if strings.TrimSpace(text) == bindingType {
			assertConfigError(t, "its own type", err, filepath.Join(root, "a", "credentials"), "tokenServiceUrl", "missing")
			assertConfigError(t, "its own type, one level too deep", errOfBinding, filepath.Join(root, "a"), "", "this is a binding itself")
			return
		}
		var e *flows.NotFoundError
		if !errors.As(err, &e) || !errors.Is(errOfBinding, flows.ErrNoCredentials) {
			t.Fatalf("type %q: got errors %v and %v, want that there are no credentials", text, err, errOfBinding)
		}
		_, shown, ok := strings.Cut(e.Places[0].Problem, " is of type ")
		if ok && (shown != strings.TrimSpace(text) || len(shown) > 64 || strings.Trim(shown, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") != "") {
			t.Fatalf("type %q is shown as %q", text, shown)
		}
	})
}

func FuzzDependencies(f *testing.F) {
	for _, text := range []string{`[]`, `[{"ordId":"a","globalTenantId":"b"}]`, `[{"ordId":"..","globalTenantId":"b/c?d"}]`, `{}`, `[null]`, "\ufeff[]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) {
			return // cannot be in an environment
		}
		setVariables(t)
		t.Setenv("INTEGRATION_DEPENDENCIES", text)
		var e *tokensource.ConfigError
		c, err := customer.LoadEnv()
		if err != nil {
			if !errors.As(err, &e) || !strings.HasPrefix(e.Field, "INTEGRATION_DEPENDENCIES") {
				t.Fatalf("got error %v (%T), want a *ConfigError that names the variable", err, err)
			}
			return
		}
		flow, err := c.NewFlow(flows.Options{})
		if err != nil {
			if !errors.As(err, &e) || !strings.HasPrefix(e.Field, "INTEGRATION_DEPENDENCIES[") {
				t.Fatalf("NewFlow: got error %v (%T), want a *ConfigError that names the dependency", err, err)
			}
			return
		}
		endpoints, err := flow.MCPServers(t.Context())
		if (err != nil) != (c.Dependencies == nil) {
			t.Fatalf("MCPServers: got error %v with dependencies %v", err, c.Dependencies)
		}
		for i, e := range endpoints {
			assertTwoSegmentsBelow(t, e.URL, gatewayURL+"/v1/mcp/", c.Dependencies[i])
		}
	})
}
