package agwtest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/agwtest"
)

// obtainServiceToken obtains a tenant's token for the Destination Service.
func obtainServiceToken(t *testing.T, srv *agwtest.Server, client *http.Client, tenant string) string {
	t.Helper()
	r := postForm(t, client, authURL(srv, tenant), serviceForm(srv))
	if r.StatusCode != http.StatusOK {
		t.Fatalf("no service token: status %s, body %s", r.Status, r.text)
	}
	return r.field("access_token")
}

// authURL returns the token endpoint of the authorization server for a tenant.
func authURL(srv *agwtest.Server, tenant string) string {
	b := srv.DestinationBinding()
	return strings.Replace(b["url"], "//"+b["identityzone"]+".", "//"+tenant+".", 1) + "/oauth/token"
}

func serviceForm(srv *agwtest.Server) url.Values {
	b := srv.DestinationBinding()
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {b["clientid"]}, "client_secret": {b["clientsecret"]}}
}

// filterURL returns the URL of a search for fragments with a $filter.
func filterURL(srv *agwtest.Server, filter string) string {
	return srv.DestinationBinding()["uri"] + "/destination-configuration/v1/instanceDestinationFragments?$filter=" + url.QueryEscape(filter)
}

// labelURL returns the URL of a search for the fragments with a label.
func labelURL(srv *agwtest.Server, label string) string {
	return filterURL(srv, "Label['sap-managed-runtime-type'] HAS ('"+label+"')")
}

const destinationName = "sap-managed-runtime-ias-agwtest"

func destinationURL(srv *agwtest.Server) string {
	return srv.DestinationBinding()["uri"] + "/destination-configuration/v2/destinations/" + destinationName + "@provider_subaccount"
}

func decodeFragmentNames(t *testing.T, r result) []string {
	t.Helper()
	var list []struct{ FragmentName string }
	if err := json.Unmarshal([]byte(r.text), &list); err != nil {
		t.Fatalf("not a list of fragments: %v; status %s, body %s", err, r.Status, r.text)
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

func decodeDestination(t *testing.T, r result) destination {
	t.Helper()
	var d destination
	if err := json.Unmarshal([]byte(r.text), &d); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("not a destination: %v; status %s, body %s", err, r.Status, r.text)
	}
	return d
}

// getDestination requests a destination with the token of a fragment.
func getDestination(t *testing.T, srv *agwtest.Server, client *http.Client, service, fragment string, header ...string) destination {
	t.Helper()
	return decodeDestination(t, get(t, client, destinationURL(srv), service,
		append([]string{"Accept", "application/json", "X-fragment-name", fragment + "@instance"}, header...)...))
}

func TestDestinationFlow(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{SecondGateway: []string{"t2"}})
	client := newClient(t, srv)
	for _, tenant := range []string{"t1", "t2"} {
		service := obtainServiceToken(t, srv, client, tenant)
		if names := decodeFragmentNames(t, get(t, client, labelURL(srv, "subscriber.ias"), service)); !slices.Equal(names, []string{"ias-" + tenant}) {
			t.Fatalf("fragments of %s for system tokens: got %q, want ias-%s alone", tenant, names, tenant)
		}
		system := getDestination(t, srv, client, service, "ias-"+tenant)
		user := getDestination(t, srv, client, service, "ias-user-"+tenant,
			"X-user-token", srv.UserToken(agwtest.User{Name: "alice", Tenant: tenant}))
		if got := system.Configuration; got["URL"] != srv.TenantGatewayURL(tenant) || got["clientId"] != srv.ClientID() || got["Name"] != destinationName {
			t.Errorf("destination of %s: got %v, want the URL %s", tenant, got, srv.TenantGatewayURL(tenant))
		}
		if got := system.Tokens[0]; got.ExpiresIn != "3600" || got.Type != "bearer" || got.HTTPHeader.Value != "Bearer "+got.Value {
			t.Errorf("system token of %s: got %+v, want a bearer token for an hour, also as a header", tenant, got)
		}
		e := decodeEcho(t, get(t, client, srv.TenantGatewayURL(tenant), system.Tokens[0].Value))
		if want := (agwtest.Caller{Client: srv.ClientID(), Tenant: tenant, TokenID: e.TokenID}); e.Caller != want {
			t.Errorf("caller with a system token of %s: got %+v, want %+v", tenant, e.Caller, want)
		}
		e = decodeEcho(t, get(t, client, srv.TenantGatewayURL(tenant), user.Tokens[0].Value))
		if want := (agwtest.Caller{Client: srv.ClientID(), User: "alice", Tenant: tenant, TokenID: e.TokenID}); e.Caller != want {
			t.Errorf("caller with a user's token of %s: got %+v, want %+v", tenant, e.Caller, want)
		}
		for _, other := range []string{"t1", "t2"} {
			want := http.StatusForbidden
			if other == tenant {
				want = http.StatusOK
			}
			assertStatus(t, "token of "+tenant+" at the gateway of "+other, get(t, client, srv.TenantGatewayURL(other), user.Tokens[0].Value), want)
		}
	}
	want := agwtest.Counts{Auth: 2, Fragments: 2, Destination: 4, Gateway: 8}
	if got := srv.Counts(); got != want || got.Services() != 8 {
		t.Errorf("counts: got %+v with %d to services, want %+v with 8", got, got.Services(), want)
	}
}

func TestDestinationWithoutToken(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	service := obtainServiceToken(t, srv, client, "provider")
	d := decodeDestination(t, get(t, client, destinationURL(srv)+"?$skipTokenRetrieval=true", service, "Accept", "application/json"))
	if d.Configuration["URL"] != srv.GatewayURL() || d.Tokens != nil {
		t.Errorf("token retrieval skipped: got %+v, want the gateway's URL and no token", d)
	}
}

func TestServiceTokenRequestIsChecked(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	form := func(name string, values ...string) url.Values {
		f := serviceForm(srv)
		f[name] = values
		return f
	}
	t1 := authURL(srv, "t1")
	tests := map[string]struct {
		url    string
		form   url.Values
		header []string
		status int
	}{
		"good":                  {t1, serviceForm(srv), nil, 200},
		"host of no tenant":     {"https://127.0.0.1" + t1[strings.LastIndexByte(t1, ':'):], serviceForm(srv), nil, 404},
		"another path":          {t1 + "/x", serviceForm(srv), nil, 404},
		"Authorization header":  {t1, serviceForm(srv), []string{"Authorization", "Basic eDp5"}, 400},
		"client_secret wrong":   {t1, form("client_secret", "x"), nil, 401},
		"client_secret missing": {t1, form("client_secret"), nil, 400},
		"client_id wrong":       {t1, form("client_id", "x"), nil, 401},
		"grant_type wrong":      {t1, form("grant_type", "password"), nil, 400},
		"resource":              {t1, form("resource", resource), nil, 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assertStatus(t, "service token request", postForm(t, client, test.url, test.form, test.header...), test.status)
		})
	}
	t.Run("host of two labels", func(t *testing.T) {
		t.Parallel()
		if resp, err := client.PostForm(authURL(srv, "t1.authentication"), serviceForm(srv)); err == nil {
			resp.Body.Close()
			t.Fatal("the server's certificate covers a tenant host of two labels")
		}
	})
}

func TestTenantIsReadOffTenantHostsOnly(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	_, port, _ := strings.Cut(authURL(srv, "t1"), ".invalid")
	for host, want := range map[string]int{
		"T1.Authentication.agwtest.invalid": 200,
		"t1.agwtest.invalid":                404,
		"127.0.0.1":                         404,
		"localhost":                         404,
	} {
		assertStatus(t, host, postForm(t, client, "https://"+host+port, serviceForm(srv)), want)
	}
	req := newRequest(t, "POST", authURL(srv, "t1"), serviceForm(srv).Encode(), "Content-Type", "application/x-www-form-urlencoded")
	req.Host = "t1.authentication.agwtest.invalid"
	assertStatus(t, "Host header without a port", send(t, client, req), 200)

	service := obtainServiceToken(t, srv, client, "T1")
	get(t, client, labelURL(srv, "subscriber.ias"), service)
	requests := srv.Requests()
	if got := requests[len(requests)-1].Tenant; got != "T1" {
		t.Errorf("tenant of a token that was requested at the host of T1: got %q, want T1 in the same case", got)
	}
}

func TestDestinationRequestIsChecked(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	service := obtainServiceToken(t, srv, client, "t1")
	accessToken := obtainToken(t, srv, client, systemForm(srv))
	user := srv.UserToken(agwtest.User{Tenant: "t1"})
	expired := srv.UserToken(agwtest.User{Tenant: "t1", Lifetime: -1})
	ofAnother := srv.UserToken(agwtest.User{Tenant: "t2"})
	fragment := func(name string, header ...string) []string {
		return append([]string{"X-fragment-name", name}, header...)
	}
	uri, good := srv.DestinationBinding()["uri"], destinationURL(srv)
	tests := map[string]struct {
		token  string
		url    string
		header []string
		status int
	}{
		"no token":                          {"", good, nil, 401},
		"not a token":                       {"x", good, nil, 401},
		"token for the gateway":             {accessToken, good, nil, 422},
		"JWT of a user as token":            {user, good, nil, 401},
		"fragments with a gateway token":    {accessToken, labelURL(srv, "agw.mcp.server"), nil, 422},
		"another destination":               {service, uri + "/destination-configuration/v2/destinations/x@provider_subaccount", nil, 404},
		"destination without level":         {service, strings.TrimSuffix(good, "@provider_subaccount"), nil, 404},
		"another endpoint":                  {service, uri + "/x", nil, 404},
		"Accept wrong":                      {service, good, []string{"Accept", "*/*"}, 400},
		"no fragment":                       {service, good, nil, 400},
		"fragment without level":            {service, good, fragment("ias-t1"), 400},
		"unknown fragment":                  {service, good, fragment("x@instance"), 404},
		"fragment of another tenant":        {service, good, fragment("ias-t2@instance"), 404},
		"fragment for system tokens":        {service, good, fragment("ias-t1@instance"), 200},
		"fragment for users without a user": {service, good, fragment("ias-user-t1@instance"), 404},
		"fragment for users with a user":    {service, good, fragment("ias-user-t1@instance", "X-user-token", user), 200},
		"X-tenant beside a user":            {service, good, fragment("ias-user-t1@instance", "X-user-token", user, "X-tenant", "t1"), 400},
		"user token with a prefix":          {service, good, fragment("ias-user-t1@instance", "X-user-token", "Bearer "+user), 401},
		"expired user token":                {service, good, fragment("ias-user-t1@instance", "X-user-token", expired), 401},
		"user of another tenant":            {service, good, fragment("ias-user-t1@instance", "X-user-token", ofAnother), 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := get(t, client, test.url, test.token, append([]string{"Accept", "application/json"}, test.header...)...)
			assertStatus(t, "response", r, test.status)
			if r.StatusCode != 200 && r.field("ErrorMessage") == "" {
				t.Errorf("the error has no ErrorMessage: %s", r.text)
			}
		})
	}
	for endpoint, url := range map[string]string{"destination": good, "fragments": labelURL(srv, "agw.mcp.server")} {
		r := send(t, client, newRequest(t, "POST", url, "", "Authorization", "Bearer "+service))
		assertStatus(t, endpoint+": method POST", r, 405)
	}
}

func TestFragmentSearch(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	service := obtainServiceToken(t, srv, client, "t1")
	const anError = "an error"
	tests := map[string]struct {
		filter string
		want   string // names, or anError
	}{
		"as documented":  {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias')", "ias-t1"},
		"blanks":         {" label [ 'sap-managed-runtime-type' ]has( 'subscriber.ias' ) ", "ias-t1"},
		"two values":     {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias','subscriber.ias.user')", "ias-t1 ias-user-t1"},
		"unknown value":  {"Label['sap-managed-runtime-type'] HAS ('x')", ""},
		"other label":    {"Label['x'] HAS ('subscriber.ias')", ""},
		"quoted quote":   {"Label['sap-managed-runtime-type'] HAS ('it''s')", ""},
		"empty":          {"", anError},
		"no quotes":      {"Label[sap-managed-runtime-type] HAS (subscriber.ias)", anError},
		"no parentheses": {"Label['sap-managed-runtime-type'] HAS 'subscriber.ias'", anError},
		"open quote":     {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias)", anError},
		"open list":      {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias'", anError},
		"empty value":    {"Label['sap-managed-runtime-type'] HAS ('')", anError},
		"empty values":   {"Label['sap-managed-runtime-type'] HAS ('','')", anError},
		"more after it":  {"Label['sap-managed-runtime-type'] HAS ('subscriber.ias') and x", anError},
		"other function": {"Label['sap-managed-runtime-type'] EQ ('subscriber.ias')", anError},
		"an injection":   {"Label['sap-managed-runtime-type'] HAS ('x' or 'y')", anError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := get(t, client, filterURL(srv, test.filter), service)
			if test.want == anError {
				if r.StatusCode != 400 || r.field("ErrorMessage") == "" {
					t.Errorf("filter %q: got status %s and body %s, want 400 and an ErrorMessage", test.filter, r.Status, r.text)
				}
				return
			}
			if got := strings.Join(decodeFragmentNames(t, r), " "); got != test.want {
				t.Errorf("filter %q: got the fragments %q, want %q", test.filter, got, test.want)
			}
		})
	}
}

func TestDefaultFragmentsOfServers(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{SecondGateway: []string{"t1"}, Dependencies: []agwtest.Dependency{{ORDID: "o", GlobalTenantID: "g"}}})
	client := newClient(t, srv)
	service := obtainServiceToken(t, srv, client, "t1")
	for label, kind := range map[string]string{"agw.mcp.server": "mcp", "agw.a2a.server": "a2a"} {
		r := get(t, client, labelURL(srv, label), service)
		want := `[{"FragmentName":"` + kind + `-o","URL":"` + srv.TenantGatewayURL("t1") + `/v1/` + kind + `/o/g"}]`
		if r.text != want {
			t.Errorf("fragments labeled %s: got %s, want %s", label, r.text, want)
		}
	}
}

func TestFragmentsCanBeSet(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	service := obtainServiceToken(t, srv, client, "t1")
	search := func() result { return get(t, client, labelURL(srv, "subscriber.ias"), service) }
	assertTokenWith := func(fragment string, status int) {
		t.Helper()
		r := get(t, client, destinationURL(srv), service, "Accept", "application/json", "X-fragment-name", fragment+"@instance")
		assertStatus(t, "destination with the fragment "+fragment, r, status)
	}
	for _, test := range []struct {
		name, body     string
		known, unknown string // fragments
	}{
		{"a list", `[{"URL":"x"}, {"FragmentName":"new"}]`, "new", "ias-t1"},
		{"an empty list", `[]`, "", "new"},
		{"not a list", `{"not":"a list"}`, "", "new"},
		{"a list with something else", `[7, {"fragmentName":"lower"}]`, "lower", "new"},
	} {
		srv.SetFragments("t1", "subscriber.ias", test.body)
		if r := search(); r.StatusCode != 200 || r.text != test.body {
			t.Errorf("%s: got status %s and body %s, want the body that was set, %s", test.name, r.Status, r.text, test.body)
		}
		if test.known != "" {
			assertTokenWith(test.known, 200)
		}
		assertTokenWith(test.unknown, 404)
	}
	if names := decodeFragmentNames(t, get(t, client, labelURL(srv, "agw.a2a.server"), service)); len(names) != 2 {
		t.Errorf("fragments with another label: got %q, want the two default ones", names)
	}
	other := obtainServiceToken(t, srv, client, "t2")
	if names := decodeFragmentNames(t, get(t, client, labelURL(srv, "subscriber.ias"), other)); !slices.Equal(names, []string{"ias-t2"}) {
		t.Errorf("fragments of another tenant: got %q, want ias-t2, the default one", names)
	}
}

func TestTokensOfDestinations(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	service := obtainServiceToken(t, srv, client, "t1")

	if a, b := getDestination(t, srv, client, service, "ias-t1"), getDestination(t, srv, client, service, "ias-t1"); a.Tokens[0].Value == b.Tokens[0].Value {
		t.Error("two requests got the same token, want a new one each")
	}
	srv.Destinations.SetField("expires_in", "-5")
	if got := getDestination(t, srv, client, service, "ias-t1").Tokens[0].ExpiresIn; got != "-5" {
		t.Errorf("overridden expires_in: got %q, want -5", got)
	}

	bob := []string{"X-user-token", srv.UserToken(agwtest.User{Name: "bob", Tenant: "t1"})}
	srv.Destinations.RefuseUser("bob", true)
	if got := getDestination(t, srv, client, service, "ias-user-t1", bob...).Tokens[0]; got.Error == "" || got.Value != "" {
		t.Errorf("a refused user: got %+v, want an error in place of the token", got)
	}
	srv.Destinations.RefuseUser("bob", false)
	if got := getDestination(t, srv, client, service, "ias-user-t1", bob...).Tokens[0]; got.Error != "" || got.Value == "" {
		t.Errorf("a user who is no longer refused: got %+v, want a token", got)
	}
}
