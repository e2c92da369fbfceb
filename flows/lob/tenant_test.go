package lob_test

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

var label = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?$`)

// badTenants must all be refused.
func badTenants() []string {
	return []string{
		" ", "\t", "a b", " acme", "acme ", "acme\n", "evil.example.com", "acme.", ".acme", "a/b", "a\\b", "a_b",
		"a@b", "evil#", "a?b", "a:443", "a%2eb", "-acme", "acme-", "-", "a\x00b", "münchen", "аcme", "a\xffb",
		strings.Repeat("a", 64), strings.Repeat("-", 5000),
	}
}

func TestBadTenantsAreRefusedBeforeAnyRequest(t *testing.T) {
	t.Parallel()
	for _, bad := range badTenants() {
		f := newFake()
		flow := f.start(t, lob.Options{})
		src, err := tokensource.New(flow, tokensource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx := tokensource.WithTenant(t.Context(), bad)
		_, fromSource := src.Grant(ctx)
		_, direct := flow.Fetch(ctx, tokensource.Subject{Tenant: bad})
		_, listed := flow.MCPServers(ctx)
		_, checked := flow.Tenant(ctx, bad)
		for _, err := range []error{fromSource, direct, listed, checked} {
			var te *lob.TenantError
			if !errors.As(err, &te) || te.Tenant != bad || te.Rule == "" {
				t.Errorf("%.80q: got %v", bad, err)
				continue
			}
			if text := err.Error(); !strings.Contains(text, te.Rule) || len(text) > 400 || !printable(text) {
				t.Errorf("%.80q: text %q", bad, text)
			}
		}
		expectTrace(t, f, "")
	}
}

// printable reports whether text can be shown on one line of a terminal.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

func TestEmptyTenantIsNotTheProviders(t *testing.T) {
	t.Parallel()
	f := newFake()
	flow := f.start(t, lob.Options{})
	if _, err := flow.Fetch(t.Context(), tokensource.Subject{}); err == nil {
		t.Error("a token without a tenant")
	}
	if _, err := flow.Tenant(t.Context(), ""); !errors.Is(err, lob.ErrNoTenant) {
		t.Errorf("got %v", err)
	}
	expectTrace(t, f, "")
}

func TestGoodTenants(t *testing.T) {
	t.Parallel()
	flow := newFake().start(t, lob.Options{})
	for _, good := range []string{"a", "A1", "1", "Acme-Corp", "a--b", strings.Repeat("a", 63)} {
		if got, err := flow.Tenant(t.Context(), good); got != good || err != nil {
			t.Errorf("%q: got %q, %v", good, got, err)
		}
	}
}

func TestOwnTenant(t *testing.T) {
	t.Parallel()
	type key struct{}
	errLookup := errors.New("lookup failed")
	fromContext := func(ctx context.Context) (string, error) {
		switch v := ctx.Value(key{}).(type) {
		case error:
			return "", v
		case string:
			return v, nil
		}
		return "", nil
	}
	tests := []struct {
		what            string
		opts            lob.Options
		value           any
		requested, want string
		err             error
		isBad           bool
	}{
		{what: "requested", opts: lob.Options{Tenant: "fixed", TenantFunc: fromContext}, value: "func", requested: "asked", want: "asked"},
		{what: "function", opts: lob.Options{Tenant: "fixed", TenantFunc: fromContext}, value: "func", want: "func"},
		{what: "string", opts: lob.Options{Tenant: "fixed", TenantFunc: fromContext}, want: "fixed"},
		{what: "string only", opts: lob.Options{Tenant: "fixed"}, want: "fixed"},
		{what: "none", opts: lob.Options{TenantFunc: fromContext}, err: lob.ErrNoTenant},
		{what: "function fails", opts: lob.Options{Tenant: "fixed", TenantFunc: fromContext}, value: errLookup, err: errLookup},
		{what: "function is wrong", opts: lob.Options{Tenant: "fixed", TenantFunc: fromContext}, value: "evil.example", isBad: true},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			flow := newFake().start(t, tt.opts)
			got, err := flow.Tenant(context.WithValue(t.Context(), key{}, tt.value), tt.requested)
			var te *lob.TenantError
			if got != tt.want || tt.err != nil && !errors.Is(err, tt.err) || errors.As(err, &te) != tt.isBad || (err != nil) != (got == "") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func FuzzTenant(f *testing.F) {
	for _, s := range append(badTenants(), "acme", "A-1", "") {
		f.Add(s)
	}
	flow, err := lob.NewFlow(credentials(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, tenant string) {
		got, err := flow.Tenant(context.Background(), tenant)
		if valid := label.MatchString(tenant) && !strings.HasSuffix(tenant, "\n"); valid != (err == nil) || valid && got != tenant {
			t.Errorf("%q: got %q, %v", tenant, got, err)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("%d bytes of error", len(err.Error()))
		}
	})
}

func TestTokenURL(t *testing.T) {
	t.Parallel()
	tests := []struct{ base, zone, tenant, want string }{
		{"https://provider.auth.example.com", "provider", "acme", "https://acme.auth.example.com/oauth/token"},
		{"https://provider.auth.example.com", "provider", "", "https://provider.auth.example.com/oauth/token"},
		{"https://provider.auth.example.com:8443/", "provider", "acme", "https://acme.auth.example.com:8443/oauth/token"},
		{"https://PROVIDER.auth.example.com", "provider", "AcMe", "https://AcMe.auth.example.com/oauth/token"},
		{"https://auth.provider.example.com.", "provider", "acme", "https://auth.acme.example.com./oauth/token"},
		{"https://provider.provider.example.com", "provider", "acme", "https://acme.provider.example.com/oauth/token"},
		{"https://my-provider.provider.example.com", "provider", "acme", "https://my-provider.acme.example.com/oauth/token"},
		{"https://provider.example.com/provider/uaa//", "provider", "acme", "https://acme.example.com/provider/uaa/oauth/token"},
		{"https://provider.example.com/a%2fb/", "provider", "acme", "https://acme.example.com/a%2fb/oauth/token"},
		// A tenant never decides on a whole host, a top-level domain or an address.
		{"https://provider/", "provider", "acme", ""},
		{"https://provider.", "provider", "acme", ""},
		{"https://auth.provider", "provider", "acme", ""},
		{"https://auth.provider.", "provider", "acme", ""},
		{"https://myprovider.example.com", "provider", "acme", ""},
		{"https://provider-x.example.com", "provider", "acme", ""},
		{"https://auth.example.com/provider", "provider", "acme", ""},
		{"https://auth.example.com:443", "443", "acme", ""},
		{"https://127.0.0.1", "127", "acme", ""},
		{"https://[2001:db8::1]:8443", "2001:db8::1", "acme", ""},
		{"https://a.b.example.com", "a.b", "acme", ""},
		{"https://a.example.com", "", "acme", ""},
	}
	for _, tt := range tests {
		base, err := url.Parse(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := lob.TokenURL(base, tt.zone, tt.tenant)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s, %s, %s: got %q, %v", tt.base, tt.zone, tt.tenant, got, err)
		}
	}
}

// A token URL differs from the binding's in one label of the host and in the end of
// the path, whatever the binding.
func FuzzTokenURL(f *testing.F) {
	f.Add("https://provider.auth.example.com/x", "provider", "acme")
	f.Add("https://provider.provider.example:8443", "Provider", "A-1")
	f.Add("https://[fe80::1%25en0.provider.x]:1", "provider", "acme")
	f.Add("https://127.0.0.1", "0", "acme")
	f.Fuzz(func(t *testing.T, raw, zone, tenant string) {
		base, err := url.Parse(raw)
		if err != nil || base.User != nil || !label.MatchString(tenant) {
			return
		}
		got, err := lob.TokenURL(base, zone, tenant)
		if err != nil {
			return
		}
		u, err := url.Parse(got)
		if err != nil {
			return // a host that no request can have
		}
		if u.Port() != base.Port() || u.Scheme != base.Scheme || u.User != nil {
			t.Fatalf("%q: %q", raw, got)
		}
		was, is := strings.Split(base.Hostname(), "."), strings.Split(u.Hostname(), ".")
		if len(was) != len(is) {
			t.Fatalf("%q: %q has another number of labels", raw, got)
		}
		for i := range was {
			if was[i] == is[i] {
				continue
			}
			if !strings.EqualFold(was[i], zone) || is[i] != tenant || i == len(was)-1 {
				t.Fatalf("%q: %q", raw, got)
			}
			zone = "\x00" // no other label differs
		}
	})
}
