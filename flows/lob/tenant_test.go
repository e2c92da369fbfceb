package lob_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

var dnsLabel = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?$`)

func badTenants() []string {
	return []string{
		" ", "\t", "a b", " acme", "acme ", "acme\n", "evil.example.com", "acme.", ".acme", "a/b", "a\\b", "a_b",
		"a@b", "evil#", "a?b", "a:443", "a%2eb", "-acme", "acme-", "-", "a\x00b", "münchen", "аcme", "a\xffb", "*",
		strings.Repeat("a", 64), strings.Repeat("-", 5000),
	}
}

func TestBadTenantsAreRefusedBeforeAnyRequest(t *testing.T) {
	t.Parallel()
	for _, tenant := range badTenants() {
		s := newServices()
		flow := s.newFlow(t, flows.Options{})
		src := newSource(t, flow, tokensource.Options{})
		ctx := tokensource.WithTenant(t.Context(), tenant)
		_, bySource := src.AccessToken(ctx)
		_, byFetch := flow.Fetch(ctx, subject(tenant, ""))
		_, byList := flow.MCPServers(ctx)
		_, byTenant := flow.Tenant(ctx, tenant)
		for where, err := range map[string]error{"AccessToken": bySource, "Fetch": byFetch, "MCPServers": byList, "Tenant": byTenant} {
			var bad *lob.TenantError
			if !errors.As(err, &bad) || bad.Tenant != tenant || bad.Rule == "" {
				t.Errorf("%s with tenant %.80q: got %v, want a TenantError with a rule", where, tenant, err)
				continue
			}
			if text := err.Error(); !strings.Contains(text, bad.Rule) || len(text) > 400 || !isOneLine(text) {
				t.Errorf("%s with tenant %.80q: the error %q does not name the rule, or is not a short line", where, tenant, text)
			}
		}
		assertSequence(t, "bad tenant "+tenant, s, "")
	}
}

// isOneLine reports whether text can be shown on one line of a terminal.
func isOneLine(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// The provider's own service token is for "", which is not a tenant that a caller can name.
func TestEmptyTenantIsNotTheProvider(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{})
	fetchError(t, flow, "", "")
	if _, err := flow.Tenant(t.Context(), ""); !errors.Is(err, lob.ErrNoTenant) {
		t.Errorf("Tenant: got %v, want ErrNoTenant", err)
	}
	assertSequence(t, "calls without a tenant", s, "")
}

func TestGoodTenants(t *testing.T) {
	t.Parallel()
	flow := newServices().newFlow(t, flows.Options{})
	for _, tenant := range []string{"a", "A1", "1", "Acme-Corp", "a--b", strings.Repeat("a", 63)} {
		if got, err := flow.Tenant(t.Context(), tenant); got != tenant || err != nil {
			t.Errorf("tenant %q: got %q and %v, want it as it is", tenant, got, err)
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
	both := flows.Options{Tenant: "fixed", TenantFunc: fromContext}
	tests := []struct {
		name      string
		opts      flows.Options
		value     any // that TenantFunc finds in the context
		requested string
		want      string
		err       error
		isBad     bool
	}{
		{name: "requested", opts: both, value: "func", requested: "asked", want: "asked"},
		{name: "function", opts: both, value: "func", want: "func"},
		{name: "function knows none", opts: both, want: "fixed"},
		{name: "string only", opts: flows.Options{Tenant: "fixed"}, want: "fixed"},
		{name: "none", opts: flows.Options{TenantFunc: fromContext}, err: lob.ErrNoTenant},
		{name: "function fails", opts: both, value: errLookup, err: errLookup},
		{name: "function returns a bad one", opts: both, value: "evil.example", isBad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			flow := newServices().newFlow(t, tt.opts)
			got, err := flow.Tenant(context.WithValue(t.Context(), key{}, tt.value), tt.requested)
			if got != tt.want || (err != nil) != (got == "") {
				t.Errorf("got tenant %q and error %v, want %q", got, err, tt.want)
			}
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("got error %v, want %v", err, tt.err)
			}
			var bad *lob.TenantError
			if errors.As(err, &bad) != tt.isBad {
				t.Errorf("got error %v; is a TenantError: %v, want %v", err, !tt.isBad, tt.isBad)
			}
		})
	}
}

func TestErrorOfTenantFuncNamesIt(t *testing.T) {
	t.Parallel()
	flow := newServices().newFlow(t, flows.Options{TenantFunc: func(context.Context) (string, error) { return "", errors.New("no session") }})
	_, err := flow.Tenant(t.Context(), "")
	var bad *tokensource.ConfigError
	if !errors.As(err, &bad) || bad.Field != "TenantFunc" || err.Error() != "agw: TenantFunc: no session" {
		t.Errorf("got %v, want a ConfigError of TenantFunc", err)
	}
}

// What a TenantFunc panics with could hold anything: the error says only of which type it is.
func TestTenantFuncPanics(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tenantFunc func(context.Context) (string, error)
		text       string
	}{
		"a text":  {func(context.Context) (string, error) { panic(secret) }, "agw: TenantFunc: panic with a string"},
		"a value": {func(context.Context) (string, error) { panic(lob.TenantError{Tenant: secret}) }, "agw: TenantFunc: panic with a lob.TenantError"},
		"a mistake": {func(ctx context.Context) (string, error) { return ctx.Value(secret).(string), nil },
			"agw: TenantFunc: panic with a *runtime.TypeAssertionError"},
	} {
		s := newServices()
		flow := s.newFlow(t, flows.Options{Tenant: "acme", TenantFunc: tt.tenantFunc})
		src := newSource(t, flow, tokensource.Options{})
		for where, call := range map[string]func() error{
			"AccessToken": func() error { _, err := src.AccessToken(t.Context()); return err },
			"MCPServers":  func() error { _, err := flow.MCPServers(t.Context()); return err },
			"Forget":      func() error { return src.Forget(tokensource.SystemSubject()) },
		} {
			func() {
				defer func() {
					if recover() != nil {
						t.Errorf("%s: the panic reaches the caller of %s", name, where)
					}
				}()
				err := call()
				var bad *tokensource.ConfigError
				if !errors.As(err, &bad) || bad.Field != "TenantFunc" || err.Error() != tt.text {
					t.Errorf("%s: %s: got %v, want a ConfigError of TenantFunc that says %q", name, where, err, tt.text)
				}
			}()
		}
		assertSequence(t, name, s, "")
	}
}

func FuzzTenant(f *testing.F) {
	for _, s := range append(badTenants(), "acme", "A-1", "") {
		f.Add(s)
	}
	flow, err := credentials().NewFlow(flows.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, tenant string) {
		got, err := flow.Tenant(context.Background(), tenant)
		if valid := dnsLabel.MatchString(tenant) && !strings.HasSuffix(tenant, "\n"); valid != (err == nil) || valid && got != tenant {
			t.Errorf("tenant %q: got %q and %v; is a DNS label: %v", tenant, got, err, valid)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("tenant %.80q: the error has %d bytes, want at most 600", tenant, len(err.Error()))
		}
	})
}
