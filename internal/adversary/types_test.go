package adversary_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// harmlessTypes are the exported types that hold nothing secret: numbers, names, functions
// and interfaces.
var harmlessTypes = []string{
	"cache.Instant", "cache.LRU",
	"flows.Credentials", "flows.Dependency", "flows.Endpoint", "flows.Flow", "flows.NotFoundError", "flows.Place",
	"lob.TenantError",
	"tokensource.ContextTokenSource", "tokensource.EventKind", "tokensource.Flow", "tokensource.Kind", "tokensource.Reloader",
	"tokensource.Settings",
	"transport.Source",
}

// valuesWithSecrets returns a value of every exported type that holds a secret, or
// something that does.
func valuesWithSecrets(t *testing.T) map[string]any {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	accessToken, err := tokensource.NewToken(secret, time.Now().Add(time.Hour), &url.URL{Scheme: "https", Host: "gw.example", User: url.UserPassword("me", secret)})
	must(err)
	subject := tokensource.UserSubject(secret).In(tenant)
	src, err := tokensource.New(flowFunc(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		return nil, &tokensource.Error{Op: "test", Err: errors.New("no")}
	}), tokensource.Options{})
	must(err)
	src = src.For(subject)
	_, err = src.AccessToken(t.Context())
	var fetchError *tokensource.Error
	errors.As(err, &fetchError)
	fixed, err := tokensource.Fixed(oauth2.StaticTokenSource(accessToken.OAuth2()), "https://gw.example")
	must(err)
	_, err = fixed.AccessToken(t.Context())
	must(err)
	key, now := cache.NewKey(secret), cache.Now()
	lru := cache.NewLRU[*tokensource.Token](1)
	lru.Put(key, accessToken, now.Add(time.Hour), now)

	customerCredentials := &customer.Credentials{
		TokenServiceURL: "https://me:" + secret + "@ts.example/?key=" + secret, ClientID: "client", Certificate: secret,
		PrivateKey: secret, GatewayURL: "https://me:" + secret + "@gw.example",
	}
	_, err = customerCredentials.NewFlow(flows.Options{})
	var configError *tokensource.ConfigError
	if !errors.As(err, &configError) {
		t.Fatalf("got error %v, want a *tokensource.ConfigError", err)
	}
	lobCredentials := &lob.Credentials{
		ClientID: "client", ClientSecret: secret, URL: "https://me:" + secret + "@z.a.example", URI: "https://me:" + secret + "@d.example",
		IdentityZone: "z", Landscape: "l",
	}
	_, lobError := lobCredentials.NewFlow(flows.Options{})
	good := *lobCredentials
	good.URL, good.URI = "https://z.a.example", "https://d.example"
	lobFlow, err := good.NewFlow(flows.Options{})
	must(err)
	return map[string]any{
		"cache.Entry":             lru.Get(key, now),
		"cache.Key":               key,
		"customer.Credentials":    customerCredentials,
		"flows.Options":           flows.Options{},
		"lob.Credentials":         lobCredentials,
		"lob flow":                lobFlow,
		"error of LoB":            lobError,
		"tokensource.ConfigError": configError,
		"tokensource.Error":       fetchError,
		"tokensource.Event":       tokensource.Event{Err: fetchError, Subject: accessToken.Fingerprint()},
		"tokensource.FixedSource": fixed,
		"tokensource.Identity":    testIdentity,
		"tokensource.Options":     tokensource.Options{},
		"tokensource.Response": tokensource.Response{
			AccessToken: secret, IDToken: secret, ExpiresAt: []byte(`"` + secret + `"`), ExpiresIn: []byte(`"` + secret + `"`),
		},
		"tokensource.Source":  src,
		"tokensource.Stats":   src.Stats(),
		"tokensource.Subject": subject,
		"tokensource.Token":   accessToken,
		"transport.Options":   transport.Options{},
		"transport.Transport": transport.New(src, transport.Options{}),
	}
}

// Nothing that this module exports prints, marshals or logs a secret, neither by itself nor
// as a part of something else.
func TestNoTypePrintsASecret(t *testing.T) {
	server, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	root := t.TempDir()
	if err := server.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	credentials, err := customer.LoadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := credentials.NewFlow(flows.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := agw.Config{Credentials: credentials, RootCAs: server.RootCAs()}
	gw, err := agw.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, o := &secrets{}, newOutput()
	s.add("secret", secret)
	s.addKey(credentials.PrivateKey)

	values := valuesWithSecrets(t)
	values["agw.Config"], values["agw.Gateway"], values["customer flow"] = cfg, gw, flow
	values["loaded customer.Credentials"] = credentials
	values["http.Client"] = gw.ClientFor(tokensource.UserSubject(secret))
	ctx := tokensource.WithUserToken(tokensource.WithTenant(t.Context(), tenant), secret)
	values["context"] = ctx
	values["http.Request"], _ = http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	for name, v := range values {
		o.addValue(name, v)
		o.addValue("pointer to "+name, &v)
		o.addValue("field "+name, struct{ V any }{v})
		o.addValue("slice of "+name, []any{v})
		o.addValue("map of "+name, map[string]any{"v": v})
		o.addValue("error with "+name, fmt.Errorf("with %v and %+v", v, v))
	}
	o.check(t, "types", s)

	names := exportedTypes(t)
	for _, name := range names {
		if _, tested := values[name]; !tested && !slices.Contains(harmlessTypes, name) {
			t.Errorf("%s is a new type: is it harmless, or does it hold a secret?", name)
		}
	}
	for _, name := range harmlessTypes {
		if !slices.Contains(names, name) {
			t.Errorf("harmlessTypes has %s, which does not exist", name)
		}
	}
}

// exportedTypes returns the exported types of the packages for users.
func exportedTypes(t *testing.T) (names []string) {
	t.Helper()
	for _, dir := range []string{".", "cache", "tokensource", "transport", "flows", "flows/customer", "flows/lob"} {
		files, _ := filepath.Glob(filepath.Join(moduleRoot, dir, "*.go"))
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range parsed.Decls {
				d, ok := decl.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() {
						names = append(names, parsed.Name.Name+"."+s.Name.Name)
					}
				}
			}
		}
	}
	if len(names) < 30 {
		t.Errorf("only %d exported types were found", len(names))
	}
	return names
}
