package customer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"golang.org/x/oauth2"

	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// mocked returns a flow whose token service gives the same answer each time, and
// the requests that it got.
func mocked(t *testing.T, creds *customer.Credentials, respond httpmock.Responder) (flow *customer.Flow, requests func() []*http.Request) {
	t.Helper()
	mock := httpmock.NewMockTransport()
	var got []*http.Request
	mock.RegisterResponder("POST", tokenURL, func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		r.Form = must(url.ParseQuery(string(body)))(t)
		got = append(got, r)
		return respond(r)
	})
	return must(customer.NewFlow(creds, &customer.Options{Base: mock}))(t), func() []*http.Request { return got }
}

func TestTokenRequest(t *testing.T) {
	t.Parallel()
	const resource = "urn:sap:identity:application:provider:name:agent-gateway"
	system := url.Values{"client_id": {"the-client"}, "grant_type": {"client_credentials"}, "resource": {resource}, "response_type": {"token"}}
	user := url.Values{
		"client_id": {"the-client"}, "grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "resource": {resource},
		"assertion": {userJWT}, "token_format": {"jwt"},
	}
	env := &customer.Credentials{TokenServiceURL: tokenURL, ClientID: "the-client", GatewayURL: gatewayURL}
	for name, test := range map[string]struct {
		creds   *customer.Credentials
		subject tokensource.Subject
		form    url.Values
	}{
		"file, system":        {parsed(t, nil), tokensource.Subject{}, system},
		"file, user":          {parsed(t, nil), tokensource.Subject{UserToken: userJWT}, user},
		"environment, system": {env, tokensource.Subject{}, system},
		"environment, user":   {env, tokensource.Subject{UserToken: userJWT}, user},
	} {
		flow, requests := mocked(t, test.creds, httpmock.NewStringResponder(200,
			`{"access_token":"abc","token_type":"bearer","expires_in":"3600","expires_at":5,"id_token":"x.y.z","refresh_token":"r"}`))
		resp, err := flow.Fetch(t.Context(), test.subject)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if resp.AccessToken != "abc" || string(resp.ExpiresIn) != `"3600"` || string(resp.ExpiresAt) != "5" || resp.IDToken != "x.y.z" || resp.GatewayURL.String() != gatewayURL {
			t.Errorf("%s: %s, %s, %s", name, resp.ExpiresIn, resp.ExpiresAt, resp.GatewayURL)
		}
		r := requests()[0]
		if !sameValues(r.Form, test.form) {
			t.Errorf("%s: form %v", name, r.Form)
		}
		want := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}, "Idempotency-Key": nil}
		if !sameValues(url.Values(r.Header), url.Values(want)) {
			t.Errorf("%s: header %v", name, r.Header)
		}
	}
}

func sameValues(a, b url.Values) bool {
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestTokenAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		body   string
		kind   tokensource.Kind
		want   string
	}{
		{400, `{"error":"invalid_grant","error_description":"` + userJWT + ` is not good"}`, tokensource.Refused, `invalid_grant: "[redacted] is not good"`},
		{401, `{"error":"invalid_client"}`, tokensource.Refused, "invalid_client"},
		{401, ``, tokensource.Refused, "status 401"},
		{429, `slow down`, tokensource.Passing, "slow down"},
		{500, `<html>assertion=` + userJWT, tokensource.Passing, "status 500"},
		{302, ``, tokensource.Permanent, "redirects are not followed"},
		{200, `<html>hidden</html>`, tokensource.Passing, "not a JSON object or array"},
		{200, ``, tokensource.Passing, "not a JSON object or array"},
		{200, `{"access_token":"hidd`, tokensource.Passing, "not a JSON object or array"},
		{200, strings.Repeat(" ", 10<<20) + `{"access_token":"hidden"}`, tokensource.Passing, "larger than 1 MiB"},
		{200, `{"token_type":"Bearer"}`, tokensource.Passing, "access_token is missing or empty"},
		{200, `{"access_token":null}`, tokensource.Passing, "access_token is missing or empty"},
		{200, `{"access_token":"hid\r\nden"}`, tokensource.Passing, "access_token has a character"},
		{200, `{"access_token":7}`, tokensource.Passing, "access_token is not a string"},
		{200, `{"access_token":"hidden","token_type":"DPoP"}`, tokensource.Permanent, "not of type Bearer"},
		{200, `{"error":"invalid_grant"}`, tokensource.Passing, "access_token is missing or empty"},
	} {
		flow, requests := mocked(t, parsed(t, nil), httpmock.NewStringResponder(test.status, test.body))
		_, err := flow.Fetch(t.Context(), tokensource.Subject{UserToken: userJWT})
		e := (*tokensource.Error)(nil)
		if !errors.As(err, &e) {
			t.Errorf("%d: %v", test.status, err)
			continue
		}
		if e.Kind != test.kind || e.Op != "exchange user token" || e.URL != tokenURL || e.StatusCode != test.status || !strings.Contains(e.Error(), test.want) {
			t.Errorf("%d %.40s: %v", test.status, test.body, e)
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "hid") || strings.Contains(text, "eyJ") {
			t.Errorf("%d %.40s: %s", test.status, test.body, text)
		}
		if r := (*oauth2.RetrieveError)(nil); errors.As(err, &r) != (e.Code != "") {
			t.Errorf("%d %.40s: RetrieveError %v", test.status, test.body, r)
		}
		if len(requests()) != 1 {
			t.Errorf("%d %.40s: %d requests", test.status, test.body, len(requests()))
		}
	}
}

// What is sent is not always a JWT.
func TestOpaqueUserTokenIsNotShown(t *testing.T) {
	t.Parallel()
	flow, _ := mocked(t, parsed(t, nil), httpmock.NewStringResponder(400, `{"error":"invalid_request","error_description":"opaque-token+1 or opaque-token%2B1"}`))
	_, err := flow.Fetch(t.Context(), tokensource.Subject{UserToken: "opaque-token+1"})
	if err == nil || strings.Contains(err.Error(), "opaque") {
		t.Error(err)
	}
}

func TestNewFlowChecks(t *testing.T) {
	t.Parallel()
	good := customer.Credentials{TokenServiceURL: tokenURL, ClientID: "c", GatewayURL: gatewayURL}
	for name, test := range map[string]struct {
		alter       func(*customer.Credentials)
		field, want string
	}{
		"no endpoint":      {func(c *customer.Credentials) { c.TokenServiceURL = "" }, "TokenServiceURL", "empty"},
		"not a URL":        {func(c *customer.Credentials) { c.TokenServiceURL = "hidden" }, "TokenServiceURL", "not an absolute https URL"},
		"password":         {func(c *customer.Credentials) { c.TokenServiceURL = "https://u:hidden@a.example/" }, "TokenServiceURL", "user info"},
		"plain http":       {func(c *customer.Credentials) { c.TokenServiceURL = "http://a.example/hidden" }, "TokenServiceURL", "plain http"},
		"no client":        {func(c *customer.Credentials) { c.ClientID = " " }, "ClientID", "empty"},
		"no gateway":       {func(c *customer.Credentials) { c.GatewayURL = "" }, "GatewayURL", "not an absolute"},
		"gateway, query":   {func(c *customer.Credentials) { c.GatewayURL = "https://g.example/?hidden" }, "GatewayURL", "more than"},
		"no ORD id":        {func(c *customer.Credentials) { c.Dependencies = []customer.Dependency{{"", "b"}} }, "Dependencies[0].ordId", "empty"},
		"no tenant":        {func(c *customer.Credentials) { c.Dependencies = []customer.Dependency{{"a", "b"}, {"a", " "}} }, "Dependencies[1].globalTenantId", "empty"},
		"tenant is a step": {func(c *customer.Credentials) { c.Dependencies = []customer.Dependency{{"a", ".."}} }, "Dependencies[0].globalTenantId", "not a segment"},
	} {
		c := good
		c.Source = "my vault"
		test.alter(&c)
		_, err := customer.NewFlow(&c, nil)
		t.Run(name, func(t *testing.T) { checkConfigError(t, err, "my vault", test.field, test.want) })
		if errors.Is(err, tokensource.ErrInsecureURL) != (name == "plain http") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := customer.NewFlow(nil, nil)
	checkConfigError(t, err, "", "", "nil")
	_, err = customer.NewFlow(&good, &customer.Options{MaxConcurrentRequests: -1})
	checkConfigError(t, err, "", "MaxConcurrentRequests", "negative")
	good.TokenServiceURL = "http://a.example/token"
	if _, err = customer.NewFlow(&good, &customer.Options{DangerouslyAllowPlainHTTP: true}); err != nil {
		t.Error(err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	creds := parsed(t, map[string]any{"gatewayUrl": gatewayURL + "/base//"})
	flow := must(customer.NewFlow(creds, nil))(t)
	creds.ClientID, creds.Dependencies[0].ORDID = "altered", "altered" // the flow has a copy
	id := flow.Identity()
	if id.Flow != "customer" || id.TokenEndpoint != tokenURL || id.ClientID != "the-client" || !strings.HasSuffix(id.Resource, ":agent-gateway") || id.GatewayURL.String() != gatewayURL+"/base" {
		t.Errorf("%+v", *id)
	}
	if c, err := flow.ClientID(t.Context()); c != "the-client" || err != nil {
		t.Errorf("%q, %v", c, err)
	}
	if tenant, err := flow.Tenant(t.Context(), "anything/at all"); tenant != "" || err != nil {
		t.Errorf("%q, %v", tenant, err)
	}
	if err := flow.Reload(t.Context(), true); err != nil || flow.Identity() != id {
		t.Error("there is nothing to reload", err)
	}
	if e := must(flow.MCPServers(t.Context()))(t); e[0].ORDID != ordID {
		t.Errorf("%+v", e)
	}
}

func TestCredentialsPrintWithoutSecrets(t *testing.T) {
	t.Parallel()
	c := parsed(t, map[string]any{"tokenServiceUrl": "https://u:hidden@a.example/t?hidden", "gatewayUrl": "https://hidden@g.example"})
	key, cert := c.PrivateKey[60:90], c.Certificate[60:90]
	bad := *c
	bad.TokenServiceURL = "https://hidden\x00"
	flow := must(customer.NewFlow(parsed(t, map[string]any{"certificate": c.Certificate, "privateKey": c.PrivateKey}), nil))(t)
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "pointer", c, "value", *c, "in", struct{ C *customer.Credentials }{c})
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %d %x", c, c, c, c, c, c, c), fmt.Sprintf("%v %+v %#v", *c, *c, *c), fmt.Sprint([]any{c, *c, bad, map[string]any{"c": c}}),
		string(must(json.Marshal(c))(t)), string(must(json.Marshal([]customer.Credentials{*c}))(t)), log.String(),
		fmt.Sprintf("%v %+v %#v", flow, flow, *flow.Identity()),
	} {
		if strings.Contains(text, key) || strings.Contains(text, cert) || strings.Contains(text, "hidden") {
			t.Errorf("%s", text)
		}
	}
	if text := fmt.Sprint(c); !strings.Contains(text, "the-client") || !strings.Contains(text, "a.example") || !strings.Contains(text, "dependencies:1") {
		t.Errorf("%s says too little", text)
	}
	if text := fmt.Sprint(customer.Credentials{}); !strings.Contains(text, "certificate:none") {
		t.Error(text)
	}
}

func TestSourceOverFlow(t *testing.T) {
	t.Parallel()
	flow, requests := mocked(t, parsed(t, nil), httpmock.NewStringResponder(200, `{"access_token":"abc","expires_in":3600}`))
	src := must(tokensource.New(flow, tokensource.Options{}))(t)
	for range 3 {
		token := must(src.Token())(t)
		if token.AccessToken != "abc" || time.Until(token.Expiry) < 50*time.Minute {
			t.Errorf("%s, %v", token.AccessToken, token.Expiry)
		}
		grant := must(src.Grant(tokensource.WithUserToken(t.Context(), "Bearer "+userJWT)))(t)
		if grant.GatewayURL().String() != gatewayURL {
			t.Error(grant)
		}
	}
	if len(requests()) != 2 || requests()[1].Form.Get("assertion") != userJWT {
		t.Errorf("%d requests", len(requests()))
	}
}
