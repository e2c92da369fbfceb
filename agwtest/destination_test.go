package agwtest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
)

// serviceToken obtains a tenant's token for the Destination Service.
func serviceToken(t *testing.T, srv *agwtest.Server, c *http.Client, tenant string) string {
	t.Helper()
	r := post(t, c, authURL(srv, tenant), serviceForm(srv))
	if r.StatusCode != http.StatusOK {
		t.Fatalf("no service token: %s %s", r.Status, r.text)
	}
	return r.field("access_token")
}

func authURL(srv *agwtest.Server, tenant string) string {
	zone := srv.DestinationBinding()["identityzone"]
	return strings.Replace(srv.AuthURL(), "//"+zone+".", "//"+tenant+".", 1) + "/oauth/token"
}

func serviceForm(srv *agwtest.Server) url.Values {
	b := srv.DestinationBinding()
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {b["clientid"]}, "client_secret": {b["clientsecret"]}}
}

func filterURL(srv *agwtest.Server, filter string) string {
	return srv.DestinationURL() + "/destination-configuration/v1/instanceDestinationFragments?$filter=" + url.QueryEscape(filter)
}

func labelURL(srv *agwtest.Server, label string) string {
	return filterURL(srv, "Label['sap-managed-runtime-type'] HAS ('"+label+"')")
}

func destinationURL(srv *agwtest.Server) string {
	return srv.DestinationURL() + "/destination-configuration/v2/destinations/" + srv.DestinationName() + "@provider_subaccount"
}

func fragmentNames(t *testing.T, r result) []string {
	t.Helper()
	var list []struct{ FragmentName string }
	if err := json.Unmarshal([]byte(r.text), &list); err != nil {
		t.Fatalf("%v in %s %s", err, r.Status, r.text)
	}
	names := []string{}
	for _, f := range list {
		names = append(names, f.FragmentName)
	}
	return names
}

type destination struct {
	Configuration map[string]any `json:"destinationConfiguration"`
	Tokens        []struct {
		Type, Value, Error string
		HTTPHeader         struct{ Key, Value string } `json:"http_header"`
		ExpiresIn          string                      `json:"expires_in"`
	} `json:"authTokens"`
}

func destinationOf(t *testing.T, r result) destination {
	t.Helper()
	var d destination
	if err := json.Unmarshal([]byte(r.text), &d); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("destination: %v %s %s", err, r.Status, r.text)
	}
	return d
}

func TestDestinationFlow(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{SecondGateway: []string{"t2"}})
	c := client(t, srv)
	for _, tenant := range []string{"t1", "t2"} {
		service := serviceToken(t, srv, c, tenant)
		if names := fragmentNames(t, call(t, c, labelURL(srv, agwtest.LabelSystem), service)); len(names) != 1 || names[0] != "ias-"+tenant {
			t.Fatalf("fragments: %v", names)
		}
		system := destinationOf(t, call(t, c, destinationURL(srv), service,
			"Accept", "application/json", "X-fragment-name", "ias-"+tenant+"@instance"))
		user := destinationOf(t, call(t, c, destinationURL(srv), service,
			"Accept", "application/json", "X-fragment-name", "ias-user-"+tenant+"@instance",
			"X-user-token", srv.UserToken(agwtest.User{Name: "alice", Tenant: tenant})))
		if system.Configuration["URL"] != srv.TenantGatewayURL(tenant) || system.Tokens[0].ExpiresIn != "3600" {
			t.Errorf("destination: %+v", system)
		}
		e := echoOf(t, call(t, c, srv.TenantGatewayURL(tenant), system.Tokens[0].Value))
		if e.User != "" || e.Tenant != tenant || e.Client != srv.ClientID() {
			t.Errorf("system identity: %+v", e.Caller)
		}
		e = echoOf(t, call(t, c, srv.TenantGatewayURL(tenant), user.Tokens[0].Value))
		if e.User != "alice" || e.Tenant != tenant {
			t.Errorf("user identity: %+v", e.Caller)
		}
		for _, other := range []string{"t1", "t2"} {
			if r := call(t, c, srv.TenantGatewayURL(other), user.Tokens[0].Value); (r.StatusCode == 200) != (other == tenant) {
				t.Errorf("token of %s at the gateway of %s: %s", tenant, other, r.Status)
			}
		}
	}
	want := agwtest.Counts{Auth: 2, Fragments: 2, Destination: 4, Gateway: 8}
	if got := srv.Counts(); got != want || got.Services() != 8 {
		t.Errorf("counts: %+v", got)
	}
}

func TestServiceTokenRequestIsChecked(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{Tenants: []string{"t1"}})
	c := client(t, srv)
	form := func(name string, values ...string) url.Values {
		f := serviceForm(srv)
		f[name] = values
		return f
	}
	tests := map[string]struct {
		url    string
		form   url.Values
		header []string
		status int
	}{
		"good":           {authURL(srv, "t1"), serviceForm(srv), nil, 200},
		"provider":       {authURL(srv, "provider"), serviceForm(srv), nil, 200},
		"no such tenant": {authURL(srv, "t2"), serviceForm(srv), nil, 404},
		"no tenant host": {"https://127.0.0.1" + authURL(srv, "t1")[strings.LastIndexByte(authURL(srv, "t1"), ':'):], serviceForm(srv), nil, 404},
		"deep host":      {authURL(srv, "t1.authentication"), serviceForm(srv), nil, -1},
		"path":           {authURL(srv, "t1") + "/x", serviceForm(srv), nil, 404},
		"basic":          {authURL(srv, "t1"), serviceForm(srv), []string{"Authorization", "Basic eDp5"}, 400},
		"secret wrong":   {authURL(srv, "t1"), form("client_secret", "x"), nil, 401},
		"secret missing": {authURL(srv, "t1"), form("client_secret"), nil, 400},
		"client wrong":   {authURL(srv, "t1"), form("client_id", "x"), nil, 401},
		"grant wrong":    {authURL(srv, "t1"), form("grant_type", "password"), nil, 400},
		"resource":       {authURL(srv, "t1"), form("resource", resource), nil, 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.status < 0 {
				if resp, err := c.PostForm(test.url, test.form); err == nil {
					resp.Body.Close()
					t.Fatal("the certificate covers a host of two labels")
				}
				return
			}
			if r := post(t, c, test.url, test.form, test.header...); r.StatusCode != test.status {
				t.Errorf("got %s %s, want %d", r.Status, r.text, test.status)
			}
		})
	}
}

func TestTenantIsReadOffTenantHostsOnly(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	_, port, _ := strings.Cut(authURL(srv, "t1"), ".invalid")
	for host, want := range map[string]int{
		"T1.Authentication.agwtest.invalid": 200,
		"t1.agwtest.invalid":                404,
		"127.0.0.1":                         404,
		"localhost":                         404,
	} {
		if r := post(t, c, "https://"+host+port, serviceForm(srv)); r.StatusCode != want {
			t.Errorf("%s: %s", host, r.Status)
		}
	}
	if tenant := payload(t, serviceToken(t, srv, c, "T1"))["zid"]; tenant != "T1" {
		t.Errorf("the case of the tenant is lost: %v", tenant)
	}
}

func TestDestinationRequestIsChecked(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	service := serviceToken(t, srv, c, "t1")
	ias := token(t, srv, c, systemForm(srv))
	user := srv.UserToken(agwtest.User{Tenant: "t1"})
	tests := map[string]struct {
		bearer string
		url    string
		header []string // fragment, user token, others
		status int
	}{
		"no bearer":         {"", destinationURL(srv), nil, 401},
		"garbage":           {"x", destinationURL(srv), nil, 401},
		"identity token":    {ias, destinationURL(srv), nil, 422},
		"user's token":      {user, destinationURL(srv), nil, 401},
		"fragments, ias":    {ias, labelURL(srv, agwtest.LabelMCP), nil, 422},
		"other destination": {service, srv.DestinationURL() + "/destination-configuration/v2/destinations/x@provider_subaccount", nil, 404},
		"no level":          {service, strings.TrimSuffix(destinationURL(srv), "@provider_subaccount"), nil, 404},
		"other endpoint":    {service, srv.DestinationURL() + "/x", nil, 404},
		"no accept":         {service, destinationURL(srv), []string{"Accept", "*/*"}, 400},
		"no fragment":       {service, destinationURL(srv), nil, 400},
		"fragment level":    {service, destinationURL(srv), []string{"X-fragment-name", "ias-t1"}, 400},
		"unknown fragment":  {service, destinationURL(srv), []string{"X-fragment-name", "x@instance"}, 404},
		"other's fragment":  {service, destinationURL(srv), []string{"X-fragment-name", "ias-t2@instance"}, 404},
		"system fragment":   {service, destinationURL(srv), []string{"X-fragment-name", "ias-t1@instance"}, 200},
		"user, no token":    {service, destinationURL(srv), []string{"X-fragment-name", "ias-user-t1@instance"}, 404},
		"user and token":    {service, destinationURL(srv), []string{"X-fragment-name", "ias-user-t1@instance", "X-user-token", user}, 200},
		"x-tenant and user": {service, destinationURL(srv), []string{"X-fragment-name", "ias-user-t1@instance", "X-user-token", user, "X-tenant", "t1"}, 400},
		"prefixed user":     {service, destinationURL(srv), []string{"X-fragment-name", "ias-user-t1@instance", "X-user-token", "Bearer " + user}, 401},
		"expired user":      {service, destinationURL(srv), []string{"X-fragment-name", "ias-user-t1@instance", "X-user-token", srv.UserToken(agwtest.User{Tenant: "t1", Lifetime: -1})}, 401},
		"user of another":   {service, destinationURL(srv), []string{"X-fragment-name", "ias-user-t1@instance", "X-user-token", srv.UserToken(agwtest.User{Tenant: "t2"})}, 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := call(t, c, test.url, test.bearer, append([]string{"Accept", "application/json"}, test.header...)...)
			if r.StatusCode != test.status || r.StatusCode != 200 && r.field("ErrorMessage") == "" {
				t.Errorf("got %s %s, want %d", r.Status, r.text, test.status)
			}
		})
	}
	for _, url := range []string{destinationURL(srv), labelURL(srv, agwtest.LabelMCP)} {
		r := do(t, c, request(t, "POST", url, "", "Authorization", "Bearer "+service))
		if r.StatusCode != 405 {
			t.Errorf("POST: %s", r.Status)
		}
	}
}

func TestClientIDOfDestination(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{ClientID: "my-agent"})
	c := client(t, srv)
	r := call(t, c, destinationURL(srv)+"?$skipTokenRetrieval=true", serviceToken(t, srv, c, "provider"), "Accept", "application/json")
	if d := destinationOf(t, r); d.Configuration["clientId"] != "my-agent" || d.Tokens != nil {
		t.Errorf("got %+v", d)
	}
}

func TestFragmentSearch(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	service := serviceToken(t, srv, c, "t1")
	tests := map[string]struct {
		filter string
		want   string // names, "!" for a 400
	}{
		"as documented":  {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias')", "ias-t1"},
		"blanks":         {" label [ 'sap-managed-runtime-type' ]has( 'subscriber.ias' ) ", "ias-t1"},
		"several":        {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias','subscriber.ias.user')", "ias-t1 ias-user-t1"},
		"unknown value":  {"Label['sap-managed-runtime-type'] HAS ('x')", ""},
		"other label":    {"Label['x'] HAS ('subscriber.ias')", ""},
		"quoted quote":   {"Label['sap-managed-runtime-type'] HAS ('it''s')", ""},
		"empty":          {"", "!"},
		"no quotes":      {"Label[sap-managed-runtime-type] HAS (subscriber.ias)", "!"},
		"no parentheses": {"Label['sap-managed-runtime-type'] HAS 'subscriber.ias'", "!"},
		"open quote":     {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias)", "!"},
		"open list":      {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias'", "!"},
		"empty value":    {"Label['sap-managed-runtime-type'] HAS ('')", "!"},
		"more after it":  {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias') and x", "!"},
		"other function": {"Label['sap-managed-runtime-type'] EQ ('subscriber.ias')", "!"},
		"an injection":   {"Label['sap-managed-runtime-type'] HAS ('x' or 'y')", "!"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := call(t, c, filterURL(srv, test.filter), service)
			if test.want == "!" {
				if r.StatusCode != 400 || r.field("ErrorMessage") == "" {
					t.Errorf("got %s %s", r.Status, r.text)
				}
				return
			}
			if got := strings.Join(fragmentNames(t, r), " "); got != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestFragmentsCanBeSet(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	service := serviceToken(t, srv, c, "t1")
	search := labelURL(srv, agwtest.LabelSystem)
	ask := func(fragment string) int {
		return call(t, c, destinationURL(srv), service, "Accept", "application/json", "X-fragment-name", fragment+"@instance").StatusCode
	}
	srv.SetFragments("t1", agwtest.LabelSystem, agwtest.Fragment{Properties: map[string]string{"URL": "x"}}, agwtest.Fragment{Name: "new"})
	if names := fragmentNames(t, call(t, c, search, service)); len(names) != 2 || names[0] != "" || names[1] != "new" {
		t.Errorf("set: %q", names)
	}
	if ask("new") != 200 || ask("ias-t1") != 404 {
		t.Error("the destinations do not know the fragments that were set")
	}
	srv.SetFragments("t1", agwtest.LabelSystem)
	if r := call(t, c, search, service); r.text != "[]" {
		t.Errorf("none: %s", r.text)
	}
	srv.SetRawFragments("t1", agwtest.LabelSystem, `{"not":"a list"}`)
	if r := call(t, c, search, service); r.text != `{"not":"a list"}` || ask("new") != 404 {
		t.Errorf("raw: %s", r.text)
	}
	srv.SetRawFragments("t1", agwtest.LabelSystem, `[7, {"fragmentName":"lower"}]`)
	if ask("lower") != 200 {
		t.Error("fragmentName is not known")
	}
	if names := fragmentNames(t, call(t, c, labelURL(srv, agwtest.LabelA2A), service)); len(names) != 2 {
		t.Errorf("agents: %q", names)
	}
}

func TestDestinationKnobs(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	service := serviceToken(t, srv, c, "t1")
	ask := func(header ...string) destination {
		return destinationOf(t, call(t, c, destinationURL(srv), service,
			append([]string{"Accept", "application/json", "X-fragment-name", "ias-t1@instance"}, header...)...))
	}
	srv.SetDestinationProperty("URL", nil)
	srv.Destinations.SetField("expires_in", "-5")
	srv.ShapeAuthTokens(func(entry map[string]any) []any { return []any{map[string]any{"error": "first"}, entry} })
	d := ask()
	if _, has := d.Configuration["URL"]; has || len(d.Tokens) != 2 || d.Tokens[0].Error != "first" || d.Tokens[1].ExpiresIn != "-5" {
		t.Errorf("got %+v", d)
	}
	srv.ShapeAuthTokens(nil)
	srv.Destinations.ResetToken()

	if a, b := ask(), ask(); a.Tokens[0].Value == b.Tokens[0].Value {
		t.Error("tokens are cached without being told so")
	}
	srv.CacheTokens(true)
	first := ask().Tokens[0]
	if ask().Tokens[0].Value != first.Value {
		t.Error("tokens are not cached")
	}
	srv.CacheTokens(false)
	srv.Destinations.SetLifetime(500 * time.Millisecond)
	srv.CacheTokens(true)
	if a, b := ask().Tokens[0], ask().Tokens[0]; a.Value == b.Value || a.ExpiresIn != "0" {
		t.Errorf("a token of no life is cached: %+v", a)
	}

	srv.Destinations.RefuseUser("bob", true)
	bob := []string{"X-fragment-name", "ias-user-t1@instance", "X-user-token", srv.UserToken(agwtest.User{Name: "bob", Tenant: "t1"})}
	if d := ask(bob...); d.Tokens[0].Error == "" || d.Tokens[0].Value != "" {
		t.Errorf("refused user: %+v", d)
	}
	srv.Destinations.RefuseUser("bob", false)
	if d := ask(bob...); d.Tokens[0].Error != "" {
		t.Errorf("accepted user: %+v", d)
	}
	srv.RevokeServiceTokens()
	if r := call(t, c, destinationURL(srv), service); r.StatusCode != 401 {
		t.Errorf("revoked service token: %s", r.Status)
	}
}
