package lob_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestLoadTakesTheFirstCompleteSource(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                 string
		first, second, third map[string]string
		want                 string
	}{
		{"all", values("sb-1"), values("sb-2"), values("sb-3"), "sb-1"},
		{"second", nil, values("sb-2"), values("sb-3"), "sb-2"},
		{"third", nil, nil, values("sb-3"), "sb-3"},
		{"first is incomplete", without(values("sb-1"), "uri"), values("sb-2"), nil, "sb-2"},
		{"two are incomplete", without(values("sb-1"), "uri"), without(values("sb-2"), "url"), values("sb-3"), "sb-3"},
		{"a file is blank", map[string]string{"clientid": " \n"}, values("sb-2"), nil, "sb-2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			writeFiles(t, filepath.Join(root, "destination"), tt.first)
			writeFiles(t, filepath.Join(root, "destination", "default"), tt.second)
			env := environ(tt.third)
			env["SERVICE_BINDING_ROOT"] = root
			creds, err := lob.LoadFrom(env)
			if err != nil || creds.ClientID != tt.want || creds.Landscape != "eu10" {
				t.Fatalf("got %v and %v, want the binding of %s in landscape eu10", creds, err, tt.want)
			}
			if _, err := creds.NewFlow(flows.Options{}); err != nil {
				t.Errorf("NewFlow: %v", err)
			}
		})
	}
}

func TestLoadRemovesWhiteSpace(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	padded := make(map[string]string)
	for key, value := range values("sb-1") {
		padded[key] = "\n\t " + value + " \r\n"
	}
	dir := filepath.Join(root, "destination", "default")
	writeFiles(t, dir, padded)
	got, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": " eu10\n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []struct{ name, got, want string }{
		{"ClientID", got.ClientID, "sb-1"}, {"ClientSecret", got.ClientSecret, secret}, {"URL", got.URL, authURL}, {"URI", got.URI, destURL},
		{"IdentityZone", got.IdentityZone, "provider"}, {"Landscape", got.Landscape, "eu10"}, {"Source", got.Source, dir},
	} {
		if field.got != field.want {
			t.Errorf("%s is %q, want %q", field.name, field.got, field.want)
		}
	}
}

// configErrors returns the ConfigErrors in err as "source: field".
func configErrors(err error) (fields []string) {
	if bad := (*tokensource.ConfigError)(nil); errors.As(err, &bad) && error(bad) == err {
		return []string{bad.Source + ": " + bad.Field}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			fields = append(fields, configErrors(err)...)
		}
	}
	return fields
}

func TestLoadFindsNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const keys = "no files: clientid, clientsecret, url, uri, identityzone"
	const variables = "not set: CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTID, CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTSECRET, " +
		"CLOUD_SDK_CFG_DESTINATION_DEFAULT_URL, CLOUD_SDK_CFG_DESTINATION_DEFAULT_URI, CLOUD_SDK_CFG_DESTINATION_DEFAULT_IDENTITYZONE"
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []flows.Place
	}{
		{"no landscape either", map[string]string{"SERVICE_BINDING_ROOT": root}, []flows.Place{
			{Flow: "lob", Name: filepath.Join(root, "destination"), Problem: keys},
			{Flow: "lob", Name: filepath.Join(root, "destination", "default"), Problem: keys},
			{Flow: "lob", Name: "environment", Problem: variables + ", APPFND_CONHOS_LANDSCAPE"},
		}},
		{"landscape only", map[string]string{"APPFND_CONHOS_LANDSCAPE": "eu10"}, []flows.Place{
			{Flow: "lob", Name: "/etc/secrets/appfnd/destination/default", Problem: keys},
			{Flow: "lob", Name: "environment", Problem: variables},
		}},
	} {
		_, err := lob.LoadFrom(tt.env)
		var notFound *flows.NotFoundError
		if !errors.As(err, &notFound) || !errors.Is(err, flows.ErrNoCredentials) || !slices.Equal(notFound.Places, tt.want) {
			t.Errorf("%s: got %v, want a NotFoundError with the places %v", tt.name, err, tt.want)
		}
	}
}

func TestLoadNamesEveryMissingKey(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "destination", "default")
	writeFiles(t, dir, without(values("sb-1"), "clientsecret", "uri"))
	env := environ(without(values("sb-1"), "identityzone", "clientid", "url"))
	env["SERVICE_BINDING_ROOT"], env["APPFND_CONHOS_LANDSCAPE"] = root, ""
	_, err := lob.LoadFrom(env)
	want := []string{
		dir + ": clientsecret", dir + ": uri",
		"environment: CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTID", "environment: CLOUD_SDK_CFG_DESTINATION_DEFAULT_URL",
		"environment: CLOUD_SDK_CFG_DESTINATION_DEFAULT_IDENTITYZONE", "environment: APPFND_CONHOS_LANDSCAPE",
	}
	if got := configErrors(err); !slices.Equal(got, want) {
		t.Errorf("got errors about\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if errors.Is(err, flows.ErrNoCredentials) {
		t.Errorf("%v: is an ErrNoCredentials, but there is something", err)
	}
	assertError(t, err, dir+": clientsecret: missing or empty", "environment: APPFND_CONHOS_LANDSCAPE: missing or empty")
}

func TestLoadWithoutLandscape(t *testing.T) {
	t.Parallel()
	env := environ(values("sb-1"))
	env["APPFND_CONHOS_LANDSCAPE"] = "  "
	creds, err := lob.LoadFrom(env)
	if got := configErrors(err); creds != nil || !slices.Equal(got, []string{"environment: APPFND_CONHOS_LANDSCAPE"}) {
		t.Errorf("got %v and errors about %v, want one about APPFND_CONHOS_LANDSCAPE", creds, got)
	}
	if errors.Is(err, flows.ErrNoCredentials) {
		t.Errorf("%v: is an ErrNoCredentials, but there is a binding", err)
	}
}

func TestLoadOddFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "destination", "default")
	writeFiles(t, dir, without(values("sb-1"), "url", "clientsecret"))
	writeFiles(t, dir, map[string]string{"clientsecret": strings.Repeat("x", 1<<20+1)})
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
	assertError(t, err, filepath.Join(dir, "url")+": not a regular file", filepath.Join(dir, "clientsecret")+": larger than", filepath.Join(dir, "uri"))
	if got := configErrors(err); !slices.Equal(got, []string{dir + ": "}) || errors.Is(err, flows.ErrNoCredentials) {
		t.Errorf("%v: is about %v, want one ConfigError of the directory, which is not an ErrNoCredentials", err, got)
	}
	var pe *fs.PathError
	if !errors.As(err, &pe) {
		t.Errorf("%v: the error of the file system is not wrapped", err)
	}
}

// Files that cannot be read do not keep a complete binding elsewhere from being used.
func TestLoadPassesOverOddFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "destination", "default", "url"), 0o700); err != nil {
		t.Fatal(err)
	}
	env := environ(values("sb-env"))
	env["SERVICE_BINDING_ROOT"] = root
	if creds, err := lob.LoadFrom(env); err != nil || creds.ClientID != "sb-env" {
		t.Errorf("got %v and %v, want the binding in the environment", creds, err)
	}
}

func TestLoadFromTheProcess(t *testing.T) {
	for name, value := range environ(values("sb-env")) {
		t.Setenv(name, value)
	}
	t.Setenv("SERVICE_BINDING_ROOT", t.TempDir())
	creds, err := lob.Load()
	if err != nil || creds.ClientID != "sb-env" || creds.Source != "environment" {
		t.Errorf("got %v and %v, want the binding in the environment", creds, err)
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
		flow, err := creds.NewFlow(flows.Options{})
		if (flow == nil) == (err == nil) {
			t.Fatalf("got flow %v and error %v, want one of them", flow, err)
		}
		if err != nil && len(secretValue) > 20 && strings.Contains(err.Error(), secretValue) {
			t.Fatalf("the error %q shows the secret", err)
		}
	})
}
