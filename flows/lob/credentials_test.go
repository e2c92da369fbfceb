package lob_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestNewFlowChecks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		alter  func(*lob.Credentials, *flows.Options)
		fields []string // of the ConfigErrors, each with its source
		is     error
		texts  []string
	}{
		{"all missing", func(c *lob.Credentials, _ *flows.Options) { *c = lob.Credentials{Source: "vault"} },
			[]string{"vault: ClientID", "vault: ClientSecret", "vault: URL", "vault: URI", "vault: IdentityZone", ": Landscape"}, nil, []string{"missing or empty"}},
		{"landscape", func(c *lob.Credentials, _ *flows.Options) { c.Landscape = " " }, []string{": Landscape"}, nil, nil},
		{"zone", func(c *lob.Credentials, _ *flows.Options) { c.IdentityZone = "other" }, []string{"test: URL"}, nil, []string{"identityzone"}},
		{"URL is not a URL", func(c *lob.Credentials, _ *flows.Options) { c.URL = "provider.example.com" }, []string{"test: URL"}, nil, nil},
		{"URL with a password", func(c *lob.Credentials, _ *flows.Options) {
			c.URL = "https://u:" + gatewayJWT + "@provider.example.com"
		}, []string{"test: URL"}, nil, []string{"user info"}},
		{"URL with a query", func(c *lob.Credentials, _ *flows.Options) { c.URL += "?a=b" }, []string{"test: URL"}, nil, []string{"the URL has a query"}},
		{"plain URL", func(c *lob.Credentials, _ *flows.Options) { c.URL = "http://provider.example.com" }, []string{"test: URL"}, tokensource.ErrInsecureURL, nil},
		{"plain URI", func(c *lob.Credentials, _ *flows.Options) { c.URI = "http://destination.example.com" }, []string{"test: URI"}, tokensource.ErrInsecureURL, nil},
		{"URI with a query", func(c *lob.Credentials, _ *flows.Options) { c.URI += "?" }, []string{"test: URI"}, nil, []string{"the URL has a query"}},
		{"tenant", func(_ *lob.Credentials, o *flows.Options) { o.Tenant = "a.b" }, []string{": Tenant"}, nil, []string{"ASCII letters"}},
		{"concurrency", func(_ *lob.Credentials, o *flows.Options) { o.MaxConcurrentRequests = -1 }, []string{": MaxConcurrentRequests"}, nil, []string{"-1"}},
		{"dependencies", func(_ *lob.Credentials, o *flows.Options) {
			o.Dependencies = func(context.Context) ([]flows.Dependency, error) { return nil, nil }
		}, []string{": Dependencies"}, nil, []string{"for customers' credentials only"}},
		{"settings", func(_ *lob.Credentials, o *flows.Options) { o.Tokens.Settings.FetchTimeout = -1 }, []string{": Settings.FetchTimeout"}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			creds, opts := credentials(), flows.Options{}
			tt.alter(creds, &opts)
			flow, err := creds.NewFlow(opts)
			if flow != nil {
				t.Errorf("got the flow %v next to the error", flow)
			}
			assertError(t, err, tt.texts...)
			if got := configErrors(err); !slices.Equal(got, tt.fields) {
				t.Errorf("got errors about %q, want %q", got, tt.fields)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %v", err, tt.is)
			}
		})
	}
}

// What is wrong is called as it is where the credentials come from.
func TestNewFlowNamesVariablesAndKeys(t *testing.T) {
	t.Parallel()
	broken := values("sb-1")
	broken["uri"] = "nonsense"
	fromEnvironment, err := lob.LoadFrom(environ(broken))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	writeFiles(t, root+"/destination", broken)
	fromFiles, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": "eu10"})
	if err != nil {
		t.Fatal(err)
	}
	for want, creds := range map[string]*lob.Credentials{
		"environment: CLOUD_SDK_CFG_DESTINATION_DEFAULT_URI": fromEnvironment,
		root + "/destination: uri":                           fromFiles,
	} {
		if _, err := creds.NewFlow(flows.Options{}); !slices.Equal(configErrors(err), []string{want}) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}

func TestNilCredentials(t *testing.T) {
	t.Parallel()
	flow, err := (*lob.Credentials)(nil).NewFlow(flows.Options{})
	if flow != nil || !slices.Equal(configErrors(err), []string{": Credentials"}) {
		t.Errorf("got flow %v and error %v, want a ConfigError of Credentials", flow, err)
	}
}

func TestPlainHTTPCanBeAllowed(t *testing.T) {
	t.Parallel()
	creds := credentials()
	creds.URL, creds.URI = "http://provider.example.com", "http://destination.example.com"
	if _, err := creds.NewFlow(flows.Options{DangerouslyAllowPlainHTTP: true}); err != nil {
		t.Errorf("plain http is allowed: got %v", err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	flow := newServices().newFlow(t, flows.Options{})
	id := flow.Identity()
	want := tokensource.Identity{
		Flow: "lob", TokenEndpoint: "https://*.authentication.example.com/oauth/token", ClientID: "sb-client", Resource: destinationURL,
	}
	if *id != want {
		t.Errorf("got %+v, want %+v", *id, want)
	}
	if err := flow.Reload(t.Context()); err != nil || flow.Identity() != id {
		t.Errorf("Reload of credentials that come from no file: got error %v and identity %p, want none and %p", err, flow.Identity(), id)
	}
}

func TestFlowDoesNotShareItsCredentials(t *testing.T) {
	t.Parallel()
	creds := credentials()
	s := newServices()
	flow := s.newFlowOf(t, creds, flows.Options{})
	creds.ClientID, creds.ClientSecret = "another", "another"
	mustFetch(t, flow, "acme", "")
	if form := s.received()[0].Body; !strings.Contains(form, "client_id=sb-client&") {
		t.Errorf("the credentials were altered after NewFlow, and the flow sent %s", form)
	}
}

func TestLandscapeIsEscaped(t *testing.T) {
	t.Parallel()
	creds := credentials()
	creds.Landscape = " eu10/../x?y#z\n"
	s := newServices()
	mustFetch(t, s.newFlowOf(t, creds, flows.Options{}), "acme", "")
	want := destURL + "/destination-configuration/v2/destinations/sap-managed-runtime-ias-eu10%2F..%2Fx%3Fy%23z@provider_subaccount"
	if got := s.received()[2].URL; got != want {
		t.Errorf("the destination is at %s, want %s", got, want)
	}
}

func TestNothingPrintsTheSecret(t *testing.T) {
	t.Parallel()
	creds := credentials()
	creds.URL = "https://" + gatewayJWT + "@provider.example.com" // not checked yet
	flow := newServices().newFlow(t, flows.Options{})
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, v := range []any{creds, *creds, flow, struct{ C *lob.Credentials }{creds}, []lob.Credentials{*creds}, struct{ F flows.Flow }{flow}} {
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
	for _, v := range []any{creds, flow} {
		if text := fmt.Sprint(v); !strings.Contains(text, "sb-client") || !strings.Contains(text, "test") {
			t.Errorf("%T prints as %q, want its client id and source", v, text)
		}
	}
}
