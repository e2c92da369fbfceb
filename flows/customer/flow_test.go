package customer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"golang.org/x/oauth2"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// newMockedFlow returns a flow whose token service gives the same response to every
// request, and a function that returns the requests so far.
func newMockedFlow(t *testing.T, creds *customer.Credentials, respond httpmock.Responder) (flow flows.Flow, requests func() []*http.Request) {
	t.Helper()
	mock := httpmock.NewMockTransport()
	var received []*http.Request
	mock.RegisterResponder("POST", tokenURL, func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		r.Form = must(url.ParseQuery(string(body)))(t)
		received = append(received, r)
		return respond(r)
	})
	return newFlow(t, creds, flows.Options{ServiceTransport: mock}), func() []*http.Request { return received }
}

func TestTokenRequests(t *testing.T) {
	t.Parallel()
	const resource = "urn:sap:identity:application:provider:name:agent-gateway"
	systemForm := url.Values{"client_id": {"the-client"}, "grant_type": {"client_credentials"}, "resource": {resource}, "response_type": {"token"}}
	userForm := url.Values{
		"client_id": {"the-client"}, "grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "resource": {resource},
		"assertion": {userJWT}, "token_format": {"jwt"},
	}
	header := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}, "Idempotency-Key": nil}
	env := &customer.Credentials{TokenServiceURL: tokenURL, ClientID: "the-client", GatewayURL: gatewayURL}
	for _, test := range []struct {
		name    string
		creds   *customer.Credentials
		subject tokensource.Subject
		form    url.Values
	}{
		{"a system token with a certificate", parseWith(t, nil), tokensource.SystemSubject(), systemForm},
		{"a user token with a certificate", parseWith(t, nil), tokensource.UserSubject(userJWT), userForm},
		{"a system token without a certificate", env, tokensource.SystemSubject(), systemForm},
		{"a user token without a certificate", env, tokensource.UserSubject(userJWT), userForm},
	} {
		flow, requests := newMockedFlow(t, test.creds, httpmock.NewStringResponder(200,
			`{"access_token":"abc","token_type":"bearer","expires_in":"3600","expires_at":5,"id_token":"x.y.z","refresh_token":"r"}`))
		resp, err := flow.Fetch(t.Context(), test.subject)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if resp.AccessToken != "abc" || string(resp.ExpiresIn) != `"3600"` || string(resp.ExpiresAt) != "5" || resp.IDToken != "x.y.z" || resp.GatewayURL.String() != gatewayURL {
			t.Errorf("%s: got token %q, expires_in %s, expires_at %s, id token %q and gateway %v, want what the service and the credentials say",
				test.name, resp.AccessToken, resp.ExpiresIn, resp.ExpiresAt, resp.IDToken, resp.GatewayURL)
		}
		r := requests()[0]
		if !maps.EqualFunc(r.Form, test.form, slices.Equal) {
			t.Errorf("%s: sent the form %v, want %v", test.name, r.Form, test.form)
		}
		if !maps.EqualFunc(r.Header, header, slices.Equal) {
			t.Errorf("%s: sent the header %v, want %v", test.name, r.Header, header)
		}
	}
}

func TestTokenResponsesThatAreNotSuccess(t *testing.T) {
	t.Parallel()
	const temporary, permanent, denied = tokensource.Temporary, tokensource.Permanent, tokensource.Denied
	for _, test := range []struct {
		status int
		body   string
		kind   tokensource.Kind
		want   string // a part of the error
	}{
		{400, `{"error":"invalid_grant","error_description":"` + userJWT + ` is not good"}`, denied, `invalid_grant: "[redacted] is not good"`},
		{401, `{"error":"invalid_client"}`, denied, "invalid_client"},
		{401, ``, temporary, "status 401: the response does not say why"},
		{403, `<html>hidden</html>`, temporary, "status 403: the response is HTML, not JSON: is a proxy in between?"},
		{407, `<html>hidden</html>`, temporary, "status 407: the response is HTML, not JSON: is a proxy in between?"},
		{400, `<html><title>400 The SSL certificate error</title>hidden</html>`, denied, "status 400: the server refused the client certificate"},
		{429, `slow down`, temporary, "slow down"},
		{500, `<html>assertion=` + userJWT, temporary, "status 500"},
		{302, ``, permanent, "redirects are not followed"},
		{200, `<html>hidden</html>`, temporary, "is a proxy in between?"},
		{200, ``, temporary, "not a JSON object or array"},
		{200, `{"access_token":"hidd`, temporary, "not a JSON object or array"},
		{200, strings.Repeat(" ", 10<<20) + `{"access_token":"hidden"}`, temporary, "larger than 1 MiB"},
		{200, `{"token_type":"Bearer"}`, temporary, "access_token is missing or empty"},
		{200, `{"access_token":null}`, temporary, "access_token is missing or empty"},
		{200, `{"access_token":"hid\r\nden"}`, temporary, "access_token has a character"},
		{200, `{"access_token":7}`, temporary, "access_token is not a string"},
		{200, `{"access_token":"hidden","token_type":"DPoP"}`, permanent, "not of type Bearer"},
		{200, `{"error":"invalid_grant"}`, temporary, "access_token is missing or empty"},
	} {
		t.Run(fmt.Sprintf("%d %.40s", test.status, test.body), func(t *testing.T) {
			t.Parallel()
			flow, requests := newMockedFlow(t, parseWith(t, nil), httpmock.NewStringResponder(test.status, test.body))
			_, err := flow.Fetch(t.Context(), tokensource.UserSubject(userJWT))
			var e *tokensource.Error
			if !errors.As(err, &e) {
				t.Fatalf("got error %v (%T), want a *tokensource.Error", err, err)
			}
			if e.Kind != test.kind || !strings.Contains(e.Error(), test.want) {
				t.Errorf("got %v (%v), want %v and %q", e, e.Kind, test.kind, test.want)
			}
			if e.Op != "exchange user token" || e.URL != tokenURL || e.StatusCode != test.status {
				t.Errorf("got Op %q, URL %q and status %d, want them to say which request it was", e.Op, e.URL, e.StatusCode)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "hid") || strings.Contains(text, "eyJ") {
				t.Errorf("the error shows a token: %s", text)
			}
			var r *oauth2.RetrieveError
			if is := errors.As(err, &r); is != (e.Code != "") {
				t.Errorf("the error is an *oauth2.RetrieveError: %v, but its code is %q", is, e.Code)
			}
			if n := len(requests()); n != 1 {
				t.Errorf("sent %d requests, want 1: retries are not the flow's business", n)
			}
		})
	}
}

func TestUserTokenThatIsNotAJWTIsNotShown(t *testing.T) {
	t.Parallel()
	flow, _ := newMockedFlow(t, parseWith(t, nil), httpmock.NewStringResponder(400, `{"error":"invalid_request","error_description":"opaque-token+1 or opaque-token%2B1"}`))
	_, err := flow.Fetch(t.Context(), tokensource.UserSubject("opaque-token+1"))
	if err == nil || strings.Contains(err.Error(), "opaque") {
		t.Errorf("got error %v, want one that does not show the token", err)
	}
}

func TestNewFlowChecksTheCredentials(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		change      func(*customer.Credentials)
		field, want string
	}{
		{"no token service", func(c *customer.Credentials) { c.TokenServiceURL = "" }, "TokenServiceURL", "empty"},
		{"token service that is not a URL", func(c *customer.Credentials) { c.TokenServiceURL = "hidden" }, "TokenServiceURL", "not an absolute https URL"},
		{"token service with a password", func(c *customer.Credentials) { c.TokenServiceURL = "https://u:hidden@a.example/" }, "TokenServiceURL", "user info"},
		{"token service over plain http", func(c *customer.Credentials) { c.TokenServiceURL = "http://a.example/hidden" }, "TokenServiceURL", "plain http to another machine (a.example)"},
		{"no client id", func(c *customer.Credentials) { c.ClientID = " " }, "ClientID", "empty"},
		{"no gateway", func(c *customer.Credentials) { c.GatewayURL = "" }, "GatewayURL", "not an absolute"},
		{"gateway with a query", func(c *customer.Credentials) { c.GatewayURL = "https://g.example/?hidden" }, "GatewayURL", "more than"},
		{"gateway over plain http", func(c *customer.Credentials) { c.GatewayURL = "http://g.example/hidden" }, "GatewayURL", "plain http to another machine (g.example)"},
		{"no ORD id", func(c *customer.Credentials) { c.Dependencies = []flows.Dependency{{ORDID: "", GlobalTenantID: "b"}} }, "Dependencies[0].ORDID", "empty"},
		{"no tenant", func(c *customer.Credentials) {
			c.Dependencies = []flows.Dependency{{ORDID: "a", GlobalTenantID: "b"}, {ORDID: "a", GlobalTenantID: " "}}
		}, "Dependencies[1].GlobalTenantID", "empty"},
		{"tenant ..", func(c *customer.Credentials) { c.Dependencies = []flows.Dependency{{ORDID: "a", GlobalTenantID: ".."}} }, "Dependencies[0].GlobalTenantID", "not a segment"},
	} {
		c := customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Source: "my vault"}
		test.change(&c)
		_, err := c.NewFlow(flows.Options{})
		assertConfigError(t, test.name, err, "my vault", test.field, test.want)
		if want := strings.Contains(test.name, "plain http"); errors.Is(err, tokensource.ErrInsecureURL) != want {
			t.Errorf("%s: error %v is an ErrInsecureURL: %v, want %v", test.name, err, !want, want)
		}
	}
	_, err := (*customer.Credentials)(nil).NewFlow(flows.Options{})
	assertConfigError(t, "credentials that are nil", err, "", "Credentials", "nil")
}

func TestNewFlowChecksTheOptions(t *testing.T) {
	t.Parallel()
	creds := customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL, Source: "my vault"}
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("unused") }
	tenant := func(context.Context) (string, error) { return "acme", nil }
	for _, test := range []struct {
		name        string
		opts        flows.Options
		field, want string
	}{
		{"less than no requests", flows.Options{MaxConcurrentRequests: -1}, "MaxConcurrentRequests", "-1, must be at least 0"},
		{"a transport that makes TLS connections by itself", flows.Options{ServiceTransport: &http.Transport{DialTLSContext: dial}}, "ServiceTransport", "the client certificate have no effect"},
		{"a tenant", flows.Options{Tenant: "acme"}, "Tenant", "from my vault are a customer's, of one tenant"},
		{"a function that finds the tenant", flows.Options{TenantFunc: tenant}, "TenantFunc", "only LoB credentials act in several"},
	} {
		_, err := creds.NewFlow(test.opts)
		assertConfigError(t, test.name, err, "", test.field, test.want)
	}
}

// A program for many tenants that finds a customer's credentials would act for all of them
// as that one customer.
func TestCallsThatNameATenantFail(t *testing.T) {
	t.Parallel()
	creds := parseWith(t, nil)
	creds.Source = "my vault"
	flow, requests := newMockedFlow(t, creds, httpmock.NewStringResponder(200, `{"access_token":"abc","expires_in":3600}`))
	src := newSource(t, flow)
	inTenant := tokensource.WithTenant(t.Context(), "acme")
	for name, call := range map[string]func(context.Context) error{
		"a system token": func(ctx context.Context) error { _, err := src.AccessToken(ctx); return err },
		"a user token": func(ctx context.Context) error {
			_, err := src.AccessToken(tokensource.WithUserToken(ctx, userJWT))
			return err
		},
		"MCP servers": func(ctx context.Context) error { _, err := flow.MCPServers(ctx); return err },
		"agents":      func(ctx context.Context) error { _, err := flow.Agents(ctx); return err },
	} {
		before := len(requests())
		err := call(inTenant)
		assertConfigError(t, name, err, "", "", `the call names the tenant "acme", but the credentials from my vault are a customer's`)
		if len(requests()) != before {
			t.Errorf("%s: a request was sent", name)
		}
		if err := call(tokensource.WithTenant(t.Context(), "")); err != nil {
			t.Errorf("%s, without a tenant: %v", name, err)
		}
	}
	err := src.Forget(tokensource.UserSubject(userJWT).In("acme"))
	assertConfigError(t, "to forget the user of a tenant", err, "", "", `names the tenant "acme"`)
	if _, err := flow.Tenant(t.Context(), strings.Repeat("x", 10_000)); err == nil || len(err.Error()) > 300 {
		t.Errorf("a long name: got error %.400v, want one that quotes a part of it", err)
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		tokens, gateway string
		allow           bool
		field           string // that the error names; "" for none
	}{
		{"to other machines, allowed", "http://a.example/token", "http://g.example", true, ""},
		{"to this machine", "http://localhost:1234/token", "http://127.0.0.1:1235", false, ""},
		{"to the token service", "http://a.example/token", gatewayURL, false, "tokenServiceUrl"},
		{"to the gateway", tokenURL, "http://g.example/base", false, "gatewayUrl"},
	} {
		creds := parseWith(t, map[string]any{"tokenServiceUrl": test.tokens, "gatewayUrl": test.gateway})
		_, err := creds.NewFlow(flows.Options{DangerouslyAllowPlainHTTP: test.allow})
		if test.field == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		assertConfigError(t, test.name, err, "", test.field, "plain http to another machine")
		if !errors.Is(err, tokensource.ErrInsecureURL) {
			t.Errorf("%s: error %v is not an ErrInsecureURL", test.name, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	creds := parseWith(t, map[string]any{"gatewayUrl": gatewayURL + "/base//"})
	flow := newFlow(t, creds, flows.Options{})
	creds.ClientID, creds.Dependencies[0].ORDID = "altered", "altered" // the flow has a copy
	id := flow.Identity()
	if id.Flow != "customer" || id.TokenEndpoint != tokenURL || id.ClientID != "the-client" ||
		id.Resource != "urn:sap:identity:application:provider:name:agent-gateway" || id.GatewayURL.String() != gatewayURL+"/base" {
		t.Errorf("got identity %+v, want what the credentials said when the flow was made", *id)
	}
	if servers := must(flow.MCPServers(t.Context()))(t); servers[0].ORDID != ordID {
		t.Errorf("got MCP server %+v, want what the credentials said when the flow was made", servers[0])
	}
	if c, err := flow.ClientID(t.Context()); c != "the-client" || err != nil {
		t.Errorf("ClientID returned %q and error %v", c, err)
	}
	if tenant, err := flow.Tenant(t.Context(), ""); tenant != "" || err != nil {
		t.Errorf("Tenant returned %q and error %v, want none of both", tenant, err)
	}
	flow.Purge()
	if got := reload(t, flow); got != id {
		t.Errorf("after Purge and Reload: got identity %+v, want the same, since there is no file", *got)
	}
}

func TestSourceOfAFlow(t *testing.T) {
	t.Parallel()
	flow, requests := newMockedFlow(t, parseWith(t, nil), httpmock.NewStringResponder(200, `{"access_token":"abc","expires_in":3600}`))
	src := newSource(t, flow)
	for range 3 {
		if token := must(src.Token())(t); token.AccessToken != "abc" || time.Until(token.Expiry) < 50*time.Minute {
			t.Errorf("got token %q until %v, want that of the service for an hour", token.AccessToken, token.Expiry)
		}
		token := must(src.AccessToken(tokensource.WithUserToken(t.Context(), "Bearer "+userJWT)))(t)
		if token.GatewayURL().String() != gatewayURL {
			t.Errorf("got a token for gateway %v, want %s", token.GatewayURL(), gatewayURL)
		}
	}
	if r := requests(); len(r) != 2 || r[1].Form.Get("assertion") != userJWT {
		t.Errorf("sent %d token requests, want 2: for the system, and for the user with the JWT alone", len(r))
	}
}
