package lob_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// values are those of a complete binding, by key.
func values(mark string) map[string]string {
	return map[string]string{
		"clientid": "sb-" + mark, "clientsecret": secret, "identityzone": "provider",
		"url": authURL, "uri": destURL,
	}
}

func writeFiles(t *testing.T, dir string, values map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for key, value := range values {
		if err := os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// environ returns the environment of a landscape and a binding.
func environ(values map[string]string) map[string]string {
	env := map[string]string{"APPFND_CONHOS_LANDSCAPE": "eu10"}
	for key, value := range values {
		env["CLOUD_SDK_CFG_DESTINATION_DEFAULT_"+strings.ToUpper(key)] = value
	}
	return env
}

func without(m map[string]string, keys ...string) map[string]string {
	m = maps.Clone(m)
	for _, key := range keys {
		delete(m, key)
	}
	return m
}

func TestLoadTakesTheFirstCompleteSource(t *testing.T) {
	t.Parallel()
	tests := []struct {
		what                 string
		first, second, third map[string]string
		want                 string
	}{
		{"all", values("1"), values("2"), values("3"), "sb-1"},
		{"second", nil, values("2"), values("3"), "sb-2"},
		{"third", nil, nil, values("3"), "sb-3"},
		{"first is incomplete", without(values("1"), "uri"), values("2"), nil, "sb-2"},
		{"two are incomplete", without(values("1"), "uri"), without(values("2"), "url"), values("3"), "sb-3"},
		{"a file is blank", map[string]string{"clientid": " \n"}, values("2"), nil, "sb-2"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			writeFiles(t, filepath.Join(root, "destination"), tt.first)
			writeFiles(t, filepath.Join(root, "destination", "default"), tt.second)
			env := environ(tt.third)
			env["SERVICE_BINDING_ROOT"] = root
			creds, err := lob.LoadFrom(env)
			if err != nil || creds.ClientID != tt.want || creds.Landscape != "eu10" {
				t.Fatalf("got %v, %v", creds, err)
			}
			if _, err := lob.NewFlow(creds, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoadTrims(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	padded := make(map[string]string)
	for key, value := range values("1") {
		padded[key] = "\n\t " + value + " \r\n"
	}
	writeFiles(t, filepath.Join(root, "destination", "default"), padded)
	creds, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": " eu10\n"})
	if err != nil {
		t.Fatal(err)
	}
	want := lob.Binding{
		ClientID: "sb-1", ClientSecret: secret, URL: authURL, URI: destURL, IdentityZone: "provider",
		Source: filepath.Join(root, "destination", "default"),
	}
	if creds.Binding != want || creds.Landscape != "eu10" {
		t.Errorf("got %+v", creds)
	}
}

func TestLoadFindsNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	_, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root})
	if !errors.Is(err, tokensource.ErrNoCredentials) || !errors.Is(err, lob.ErrNoLandscape) {
		t.Errorf("got %v", err)
	}
	text := err.Error()
	at := 0
	for _, want := range []string{
		filepath.Join(root, "destination") + ": nothing there: missing clientid, clientsecret, url, uri, identityzone",
		filepath.Join(root, "destination", "default") + ": nothing there: missing clientid",
		"environment: nothing there: missing CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTID, CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTSECRET",
		"provide all five values", "set APPFND_CONHOS_LANDSCAPE",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("%q lacks %q, or has it too early", text, want)
		}
		at += i
	}

	_, err = lob.LoadFrom(map[string]string{"APPFND_CONHOS_LANDSCAPE": "eu10"})
	var le *lob.LoadError
	if !errors.As(err, &le) || le.NoLandscape || len(le.Sources) != 2 || le.Sources[0].Source != "/etc/secrets/appfnd/destination/default" {
		t.Errorf("got %v", err)
	}
	if !errors.Is(err, tokensource.ErrNoCredentials) || errors.Is(err, lob.ErrNoLandscape) {
		t.Errorf("got %v", err)
	}
}

func TestLoadNamesEveryMissingKey(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "destination", "default")
	writeFiles(t, dir, without(values("1"), "clientsecret", "uri"))
	env := environ(without(values("1"), "identityzone", "clientid", "url"))
	env["SERVICE_BINDING_ROOT"] = root
	_, err := lob.LoadFrom(env)
	expectError(t, err, dir+": incomplete: missing clientsecret, uri;",
		"environment: incomplete: missing CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTID, CLOUD_SDK_CFG_DESTINATION_DEFAULT_URL, CLOUD_SDK_CFG_DESTINATION_DEFAULT_IDENTITYZONE;")
	if errors.Is(err, tokensource.ErrNoCredentials) {
		t.Errorf("%v: there is something", err)
	}
	var le *lob.LoadError
	if !errors.As(err, &le) || len(le.Sources) != 3 || !slices.Equal(le.Sources[1].Missing, []string{"clientsecret", "uri"}) {
		t.Errorf("got %+v", le)
	}
}

func TestLoadWithoutLandscape(t *testing.T) {
	t.Parallel()
	env := environ(values("1"))
	env["APPFND_CONHOS_LANDSCAPE"] = "  "
	_, err := lob.LoadFrom(env)
	if !errors.Is(err, lob.ErrNoLandscape) || errors.Is(err, tokensource.ErrNoCredentials) {
		t.Errorf("got %v", err)
	}
	expectError(t, err, "set APPFND_CONHOS_LANDSCAPE")
}

func TestLoadOddFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "destination", "default")
	writeFiles(t, dir, without(values("1"), "url", "clientsecret"))
	writeFiles(t, dir, map[string]string{"clientsecret": strings.Repeat("x", 65<<10)})
	if err := os.Mkdir(filepath.Join(dir, "url"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A loop of links can be neither read nor taken for a file that is not there.
	if err := os.Symlink("uri", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "uri")), os.Symlink("link", filepath.Join(dir, "uri"))); err != nil {
		t.Fatal(err)
	}
	_, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": "eu10"})
	expectError(t, err, filepath.Join(dir, "url")+" is not a file", filepath.Join(dir, "clientsecret")+" has more than", filepath.Join(dir, "uri"))
	var pe *os.PathError
	if !errors.As(err, &pe) {
		t.Error("the cause is out of reach")
	}
}

func TestLoadFromTheProcess(t *testing.T) {
	for name, value := range environ(values("env")) {
		t.Setenv(name, value)
	}
	t.Setenv("SERVICE_BINDING_ROOT", t.TempDir())
	creds, err := lob.Load()
	if err != nil || creds.ClientID != "sb-env" || creds.Source != "environment" {
		t.Errorf("got %v, %v", creds, err)
	}
}

func TestNewFlowChecks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		what  string
		alter func(*lob.Credentials, *lob.Options)
		is    error
		texts []string
	}{
		{"all keys missing", func(c *lob.Credentials, _ *lob.Options) { c.Binding = lob.Binding{Source: "dir"} }, nil,
			[]string{"(dir): clientid: missing", "clientsecret: missing", "url: missing", "uri: missing", "identityzone: missing"}},
		{"landscape", func(c *lob.Credentials, _ *lob.Options) { c.Landscape = " " }, lob.ErrNoLandscape, nil},
		{"zone", func(c *lob.Credentials, _ *lob.Options) { c.IdentityZone = "other" }, nil, []string{"(test): url: ", "identityzone"}},
		{"url no URL", func(c *lob.Credentials, _ *lob.Options) { c.URL = "provider.example.com" }, nil, []string{"(test): url: "}},
		{"url with a password", func(c *lob.Credentials, _ *lob.Options) { c.URL = "https://u:" + gatewayJWT + "@provider.example.com" }, nil, []string{"url: ", "user info"}},
		{"url with a query", func(c *lob.Credentials, _ *lob.Options) { c.URL += "?a=b" }, nil, []string{"url: the URL has a query"}},
		{"plain url", func(c *lob.Credentials, _ *lob.Options) { c.URL = "http://provider.example.com" }, tokensource.ErrInsecureURL, []string{"url: "}},
		{"plain uri", func(c *lob.Credentials, _ *lob.Options) { c.URI = "http://destination.example.com" }, tokensource.ErrInsecureURL, []string{"uri: "}},
		{"uri with a query", func(c *lob.Credentials, _ *lob.Options) { c.URI += "?" }, nil, []string{"uri: the URL has a query"}},
		{"tenant", func(_ *lob.Credentials, o *lob.Options) { o.Tenant = "a.b" }, nil, []string{"Options.Tenant", "ASCII letters"}},
		{"concurrency", func(_ *lob.Credentials, o *lob.Options) { o.MaxConcurrentRequests = -1 }, nil, []string{"MaxConcurrentRequests is -1"}},
		{"settings", func(_ *lob.Credentials, o *lob.Options) { o.Settings = cache.Settings{FetchTimeout: -1} }, nil, []string{"FetchTimeout"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			creds, opts := credentials(), &lob.Options{}
			tt.alter(creds, opts)
			flow, err := lob.NewFlow(creds, opts)
			if flow != nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, %v", flow, err)
			}
			expectError(t, err, tt.texts...)
		})
	}
	if _, err := lob.NewFlow(nil, nil); !errors.Is(err, tokensource.ErrNoCredentials) || !strings.Contains(err.Error(), "are nil") {
		t.Errorf("got %v", err)
	}
	creds := credentials()
	creds.URL, creds.URI = "http://provider.example.com", "http://destination.example.com"
	if _, err := lob.NewFlow(creds, &lob.Options{DangerouslyAllowPlainHTTP: true}); err != nil {
		t.Error(err)
	}
}

func TestBindingErrorIsTyped(t *testing.T) {
	t.Parallel()
	creds := credentials()
	creds.URL = "http://provider.example.com"
	_, err := lob.NewFlow(creds, nil)
	var be *lob.BindingError
	if !errors.As(err, &be) || be.Key != "url" || be.Source != "test" {
		t.Errorf("got %v", err)
	}
	if text := (&lob.BindingError{Key: "url", Err: errors.New("x")}).Error(); text != "agw: Destination Service binding: url: x" {
		t.Error(text)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	flow := newFake().start(t, lob.Options{})
	id := flow.Identity()
	want := tokensource.Identity{Flow: "lob", TokenEndpoint: destURL, ClientID: "sb-client", Resource: "sap-managed-runtime-ias-eu10"}
	if *id != want {
		t.Errorf("got %+v", id)
	}
	// Credentials that come from no file never change.
	if err := flow.Reload(t.Context(), true); err != nil || flow.Identity() != id {
		t.Errorf("got %v, %v", flow.Identity(), err)
	}
}

func TestLandscapeIsEscaped(t *testing.T) {
	t.Parallel()
	creds := credentials()
	creds.Landscape = "eu10/../x?y#z"
	f := newFake()
	f.startWith(t, creds, lob.Options{})
	f.mustFetch(t, "acme", "")
	want := destURL + "/destination-configuration/v2/destinations/sap-managed-runtime-ias-eu10%2F..%2Fx%3Fy%23z@provider_subaccount"
	if got := f.last()[2].URL; got != want {
		t.Errorf("got %s", got)
	}
}

func TestNothingPrintsTheSecret(t *testing.T) {
	t.Parallel()
	creds := credentials()
	creds.URL = "https://" + gatewayJWT + "@provider.example.com" // not checked yet
	flow := newFake().start(t, lob.Options{})
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, v := range []any{creds, *creds, creds.Binding, &creds.Binding, flow, (*lob.Flow)(nil), struct{ C *lob.Credentials }{creds}, []lob.Binding{creds.Binding}} {
		var texts []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
		logger.Info("x", "v", v)
		b, _ := json.Marshal(v)
		for _, text := range append(texts, string(b), log.String()) {
			for _, s := range []string{secret, gatewayJWT, fmt.Sprintf("%x", secret)} {
				if strings.Contains(text, s) {
					t.Errorf("%T prints as %s", v, text)
				}
			}
		}
	}
	if text := fmt.Sprint(creds); !strings.Contains(text, "sb-client") || !strings.Contains(text, "test") {
		t.Errorf("%q is of no use", text)
	}
}

func FuzzBinding(f *testing.F) {
	f.Add("sb", secret, authURL, destURL, "provider", "eu10")
	f.Add("", "", "://", "https://u:p@h", "a.b", "\x00")
	f.Add("sb", secret, "https://provider.x%zz", "http://[::1", "provider", "eu10")
	f.Fuzz(func(t *testing.T, id, secretValue, authURL, uri, zone, landscape string) {
		env := environ(map[string]string{"clientid": id, "clientsecret": secretValue, "url": authURL, "uri": uri, "identityzone": zone})
		env["APPFND_CONHOS_LANDSCAPE"] = landscape
		env["SERVICE_BINDING_ROOT"] = "/does/not/exist"
		creds, err := lob.LoadFrom(env)
		if err != nil {
			return
		}
		flow, err := lob.NewFlow(creds, nil)
		if (flow == nil) == (err == nil) {
			t.Fatalf("got %v, %v", flow, err)
		}
		if err != nil && len(secretValue) > 20 && strings.Contains(err.Error(), secretValue) {
			t.Fatalf("%v", err)
		}
	})
}
