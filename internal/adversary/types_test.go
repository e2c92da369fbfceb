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
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// secret is in every field that is meant for secrets.
const secret = "the-password-is-swordfish-and-nothing-else"

// harmless are the exported types that hold nothing confidential: numbers, names,
// functions and interfaces.
var harmless = []string{
	"agw.Endpoint", "agw.FlowName",
	"cache.Clock", "cache.Instant", "cache.Lifetime", "cache.LRU", "cache.Settings", "cache.SettingError", "cache.Value",
	"customer.Dependency", "customer.Endpoint", "customer.NotFoundError",
	"lob.Endpoint", "lob.FragmentError", "lob.LoadError", "lob.SourceError", "lob.TenantError",
	"tokensource.ContextTokenSource", "tokensource.EventKind", "tokensource.Flow", "tokensource.GrantSource",
	"tokensource.Kind", "tokensource.Reloader",
}

// holders returns a value of every exported type that holds a secret, or something
// that does.
func holders(t *testing.T) map[string]any {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]any{}
	g, err := tokensource.NewGrant(secret, time.Now().Add(time.Hour), &url.URL{Scheme: "https", Host: "gw.example", User: url.UserPassword("me", secret)})
	must(err)
	subject := tokensource.Subject{Tenant: tenant, UserToken: secret}
	src, err := tokensource.New(flowFunc(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		return nil, &tokensource.Error{Op: "test", Err: errors.New("no")}
	}), tokensource.Options{})
	must(err)
	fixed, err := tokensource.Fixed(oauth2.StaticTokenSource(g.Token()), "https://gw.example")
	must(err)
	_, err = fixed.Grant(t.Context())
	must(err)
	resp := tokensource.Response{TokenResponse: cache.TokenResponse{
		AccessToken: secret, IDToken: secret, ExpiresAt: []byte(`"` + secret + `"`), ExpiresIn: []byte(`"` + secret + `"`),
	}}
	_, failed := src.For(subject).Grant(t.Context())
	var e *tokensource.Error
	errors.As(failed, &e)
	all["cache.Key"] = cache.NewKey(secret)
	all["cache.TokenResponse"] = resp.TokenResponse
	all["tokensource.Error"] = e
	all["tokensource.Event"] = tokensource.Event{Err: e, Subject: g.Fingerprint()}
	all["tokensource.FixedSource"] = fixed
	all["tokensource.Grant"] = g
	all["tokensource.Identity"] = identity
	all["tokensource.Options"] = tokensource.Options{}
	all["tokensource.Response"] = resp
	all["tokensource.Source"] = src.For(subject)
	all["tokensource.Stats"] = src.Stats()
	all["tokensource.Subject"] = subject
	all["transport.Options"] = transport.Options{}
	all["transport.Transport"] = transport.New(src.For(subject), nil)
	return all
}

// flowHolders adds those of the flows and of the gateway on top.
func flowHolders(t *testing.T, all map[string]any) map[string]any {
	t.Helper()
	c := &customer.Credentials{
		TokenServiceURL: "https://me:" + secret + "@ts.example/?key=" + secret, ClientID: "client", Certificate: secret,
		PrivateKey: secret, GatewayURL: "https://me:" + secret + "@gw.example",
	}
	_, err := customer.NewFlow(c, nil)
	var ce *customer.ConfigError
	if !errors.As(err, &ce) {
		t.Fatal(err)
	}
	all["customer.Credentials"], all["customer.ConfigError"], all["customer.Options"] = c, ce, &customer.Options{}
	b := lob.Binding{ClientID: "client", ClientSecret: secret, URL: "https://me:" + secret + "@z.example", URI: "https://me:" + secret + "@d.example", IdentityZone: "z"}
	_, err = lob.NewFlow(&lob.Credentials{Binding: b, Landscape: "l"}, nil)
	var be *lob.BindingError
	if !errors.As(err, &be) {
		t.Fatal(err)
	}
	all["lob.Binding"], all["lob.BindingError"], all["lob.Credentials"] = b, be, lob.Credentials{Binding: b}
	b.URL, b.URI = "https://z.a.example", "https://d.example"
	lf, err := lob.NewFlow(&lob.Credentials{Binding: b, Landscape: "l"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all["lob.Flow"], all["lob.Options"] = lf, lob.Options{}
	return all
}

// Nothing that this module exports prints, marshals or logs a secret: neither by
// itself nor as a part of something else.
func TestNoTypePrintsASecret(t *testing.T) {
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	root := t.TempDir()
	if err := srv.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SERVICE_BINDING_ROOT", root)
	cfg := agw.Config{RootCAs: srv.RootCAs()}
	gw, err := agw.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := customer.LoadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := customer.NewFlow(creds, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := flowHolders(t, holders(t))
	all["agw.Config"], all["agw.Gateway"], all["customer.Flow"] = cfg, gw, flow
	w := &world{vault: &vault{}, output: newOutput()}
	w.lock("secret", secret)
	w.lockKey(creds.PrivateKey)
	subject := tokensource.Subject{UserToken: secret}
	all["http.Client"] = gw.ClientFor(subject)
	all["context"] = tokensource.WithUserToken(tokensource.WithTenant(t.Context(), tenant), secret)
	all["http.Request"], _ = http.NewRequestWithContext(all["context"].(context.Context), "GET", "/", nil)
	for name, v := range all {
		w.value(name, v)
		w.value("pointer to "+name, &v)
		w.value("field "+name, struct{ V any }{v})
		w.value("slice of "+name, []any{v})
		w.value("map of "+name, map[string]any{"v": v})
		w.value("error with "+name, fmt.Errorf("with %v and %+v", v, v))
	}
	w.check(t, "types", w.vault)
	for _, name := range exportedTypes(t) {
		if _, tested := all[name]; !tested {
			t.Errorf("%s is a new type: is it harmless, or does it hold a secret?", name)
		}
	}
}

// exportedTypes returns the exported types of the packages for users but those that
// are harmless.
func exportedTypes(t *testing.T) (names []string) {
	t.Helper()
	known := strings.Join(harmless, " ") + " "
	for _, dir := range []string{".", "cache", "tokensource", "transport", "flows/customer", "flows/lob"} {
		files, _ := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range typesIn(parsed) {
				if !strings.Contains(known, name+" ") {
					names = append(names, name)
				}
			}
		}
	}
	if len(names) < 20 {
		t.Errorf("only %d types were found", len(names))
	}
	return names
}

func typesIn(file *ast.File) (names []string) {
	for _, decl := range file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range d.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() {
				names = append(names, file.Name.Name+"."+s.Name.Name)
			}
		}
	}
	return names
}
