package agwtest_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
)

func TestTokenOverMutualTLS(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv, currentCertificate(t, srv))

	system := postForm(t, client, srv.TokenURL(), systemForm(srv))
	if system.StatusCode != http.StatusOK || system.field("token_type") != "Bearer" || system.json["expires_in"] != 3600.0 {
		t.Fatalf("system token: got status %s and body %s, want a bearer token for an hour", system.Status, system.text)
	}
	e := decodeEcho(t, get(t, client, srv.GatewayURL()+"/v1/mcp/sap.s4:x:v1/t?q=1", system.field("access_token"), "X-Custom", "yes"))
	if want := (agwtest.Caller{Client: srv.ClientID(), Tenant: "provider", TokenID: e.TokenID}); e.Caller != want || e.TokenID == "" {
		t.Errorf("caller with a system token: got %+v, want %+v with a token id", e.Caller, want)
	}
	if e.Path != "/v1/mcp/sap.s4:x:v1/t" || e.RawQuery != "q=1" || e.Header.Get("X-Custom") != "yes" {
		t.Errorf("echo: got path %q, query %q, header %v; want those of the request", e.Path, e.RawQuery, e.Header)
	}
	if e.Header.Get("Authorization") != "" {
		t.Error("the echo repeats the bearer token")
	}

	exchanged := postForm(t, client, srv.TokenURL(), userForm(srv, srv.UserToken(agwtest.User{Name: "alice", Tenant: "t1"})))
	e = decodeEcho(t, get(t, client, srv.GatewayURL(), exchanged.field("access_token")))
	if want := (agwtest.Caller{Client: srv.ClientID(), User: "alice", Tenant: "t1", TokenID: e.TokenID}); e.Caller != want {
		t.Errorf("caller with a user's token: got %+v, want %+v", e.Caller, want)
	}
	if got, want := srv.Counts(), (agwtest.Counts{Token: 2, Gateway: 2}); got != want || got.Services() != 2 {
		t.Errorf("counts: got %+v with %d to services, want %+v with 2", got, got.Services(), want)
	}
}

// A client whose certificate is refused is told why, every time.
func TestHandshakeIsMutual(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{HTTP1: true})
	tests := map[string]struct {
		certificates []agwtest.Certificate
		alert        string
	}{
		"no certificate":            {nil, "certificate required"},
		"expired certificate":       {[]agwtest.Certificate{{NotAfter: time.Now().Add(-time.Minute)}}, "expired certificate"},
		"certificate not yet valid": {[]agwtest.Certificate{{NotBefore: time.Now().Add(time.Hour)}}, "expired certificate"},
		// net/http withholds a certificate of an authority that the server does
		// not ask for; this client presents it nevertheless.
		"certificate of a foreign authority": {[]agwtest.Certificate{{ForeignCA: true}}, "unknown certificate authority"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, srv)
			for _, spec := range test.certificates {
				cert := newCertificate(t, srv, spec)
				client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					return &cert, nil
				}
			}
			for attempt := range 20 {
				resp, err := client.PostForm(srv.TokenURL(), systemForm(srv))
				if err == nil {
					resp.Body.Close()
					t.Fatalf("attempt %d: got status %s, want a failed handshake", attempt, resp.Status)
				}
				if !strings.Contains(err.Error(), test.alert) {
					t.Fatalf("attempt %d: got error %v, want one that says %q", attempt, err, test.alert)
				}
			}
		})
	}
	t.Run("valid certificate", func(t *testing.T) {
		t.Parallel()
		client := newClient(t, srv, newCertificate(t, srv, agwtest.Certificate{}))
		assertStatus(t, "token request", postForm(t, client, srv.TokenURL(), systemForm(srv)), 200)
	})
}

func TestTokenRequestIsChecked(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	user := srv.UserToken(agwtest.User{Name: "alice"})
	with := func(form url.Values, name string, values ...string) url.Values {
		form[name] = values
		return form
	}
	system := func(name string, values ...string) url.Values { return with(systemForm(srv), name, values...) }
	exchange := func(name string, values ...string) url.Values { return with(userForm(srv, user), name, values...) }
	const badRequest, unauthorized = http.StatusBadRequest, http.StatusUnauthorized
	tests := map[string]struct {
		form   url.Values
		header []string
		status int
		code   string
	}{
		"client_id missing":               {system("client_id"), nil, badRequest, "invalid_request"},
		"client_id wrong":                 {system("client_id", "x"), nil, unauthorized, "invalid_client"},
		"client_id repeated":              {system("client_id", srv.ClientID(), srv.ClientID()), nil, badRequest, "invalid_request"},
		"grant_type missing":              {system("grant_type"), nil, badRequest, "invalid_request"},
		"grant_type unknown":              {system("grant_type", "password"), nil, badRequest, "unsupported_grant_type"},
		"resource missing":                {system("resource"), nil, badRequest, "invalid_request"},
		"resource wrong":                  {system("resource", "urn:x"), nil, badRequest, "invalid_target"},
		"response_type missing":           {system("response_type"), nil, badRequest, "invalid_request"},
		"response_type wrong":             {system("response_type", "code"), nil, badRequest, "invalid_request"},
		"response_type in an exchange":    {exchange("response_type", "token"), nil, badRequest, "invalid_request"},
		"client_secret":                   {system("client_secret", "x"), nil, badRequest, "invalid_request"},
		"scope":                           {exchange("scope", "x"), nil, badRequest, "invalid_request"},
		"app_tid":                         {system("app_tid", "x"), nil, badRequest, "invalid_request"},
		"assertion for a system token":    {system("assertion", user), nil, badRequest, "invalid_request"},
		"assertion missing":               {exchange("assertion"), nil, badRequest, "invalid_request"},
		"assertion with a prefix":         {exchange("assertion", "Bearer "+user), nil, badRequest, "invalid_grant"},
		"assertion that is not a JWT":     {exchange("assertion", "a.b.c"), nil, badRequest, "invalid_grant"},
		"assertion forged":                {exchange("assertion", user[:len(user)-4]+"AAAA"), nil, badRequest, "invalid_grant"},
		"assertion truncated":             {exchange("assertion", user[:len(user)-4]), nil, badRequest, "invalid_grant"},
		"assertion expired":               {exchange("assertion", srv.UserToken(agwtest.User{Lifetime: -time.Second})), nil, badRequest, "invalid_grant"},
		"assertion that is a token of it": {exchange("assertion", obtainToken(t, srv, client, systemForm(srv))), nil, badRequest, "invalid_grant"},
		"token_format missing":            {exchange("token_format"), nil, badRequest, "invalid_request"},
		"token_format wrong":              {exchange("token_format", "opaque"), nil, badRequest, "invalid_request"},
		"Authorization header":            {systemForm(srv), []string{"Authorization", "Basic eDp5"}, badRequest, "invalid_request"},
		"Accept wrong":                    {systemForm(srv), []string{"Accept", "*/*"}, badRequest, "invalid_request"},
		"Content-Type wrong":              {systemForm(srv), []string{"Content-Type", "application/json"}, badRequest, "invalid_request"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := postForm(t, client, tokenURLWithoutMTLS(srv), test.form, test.header...)
			if r.StatusCode != test.status || r.field("error") != test.code || r.field("error_description") == "" {
				t.Errorf("got status %s and body %s, want %d, %s and a description", r.Status, r.text, test.status, test.code)
			}
		})
	}

	tokenURL := tokenURLWithoutMTLS(srv)
	r := postForm(t, client, tokenURL, systemForm(srv), "Content-Type", "text/plain")
	if !strings.Contains(r.field("error_description"), "Content-Type") {
		t.Errorf("Content-Type text/plain: the description does not name the header: %s", r.text)
	}
	assertStatus(t, "method GET", send(t, client, newRequest(t, "GET", tokenURL, "")), 405)
	assertStatus(t, "query in the URL", postForm(t, client, tokenURL+"?a=b", systemForm(srv)), 400)
	assertStatus(t, "another path", postForm(t, client, tokenURL+"/x", systemForm(srv)), 404)
}

// A client writes on a connection whose handshake was refused: if the server had
// closed it, the second write would fail and could hide the reason.
func TestRefusedClientCanWrite(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	address := strings.TrimSuffix(strings.TrimPrefix(srv.TokenURL(), "https://"), "/oauth2/token")
	raw, err := srv.Transport().DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{RootCAs: srv.RootCAs(), ServerName: "localhost"})
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Fatalf("handshake without a certificate: got error %v, want one that says %q", err, "certificate required")
	}
	if _, err := io.ReadAll(raw); err != nil {
		t.Fatalf("the server did not close its side properly: %v", err)
	}
	for n := range 100 {
		if _, err := raw.Write([]byte("still here")); err != nil {
			t.Fatalf("write %d after the refusal: %v", n, err)
		}
	}
}

func TestLifetimeAndFieldsOfTokens(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	request := func() result { return postForm(t, client, tokenURLWithoutMTLS(srv), systemForm(srv)) }

	srv.Tokens.SetLifetime(90 * time.Second)
	if r := request(); r.json["expires_in"] != 90.0 {
		t.Errorf("lifetime of 90 s: got %s, want expires_in 90", r.text)
	}

	srv.Tokens.SetLifetime(1500 * time.Millisecond)
	srv.Tokens.SetField("expires_in", nil)
	srv.Tokens.SetField("access_token", "a\nb")
	srv.Tokens.SetField("expires_at", func(expiry time.Time) any { return expiry.UTC().Format(time.RFC3339) })
	srv.Tokens.SetField("odd", map[string]int{"x": 1})
	r := request()
	if _, has := r.json["expires_in"]; has {
		t.Errorf("expires_in is not left out: %s", r.text)
	}
	if r.field("access_token") != "a\nb" || r.json["odd"] == nil {
		t.Errorf("fields with a value are not overridden: %s", r.text)
	}
	at, err := time.Parse(time.RFC3339, r.field("expires_at"))
	if err != nil || time.Until(at) > 2*time.Second {
		t.Errorf("a field that is computed from the expiry: got %s, want a time within 1.5 s", r.text)
	}

	srv.Tokens.SetField("odd", func() {})
	if r := request(); r.StatusCode != 500 || json.Valid([]byte(r.text)) {
		t.Errorf("a field that cannot be JSON: got status %s and body %s, want 500 and a text that says so", r.Status, r.text)
	}
}

func TestUserIsRefused(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	form := userForm(srv, srv.UserToken(agwtest.User{Name: "bob"}))
	srv.Tokens.RefuseUser("bob", true)
	if r := postForm(t, client, tokenURLWithoutMTLS(srv), form); r.StatusCode != 400 || r.field("error") != "invalid_grant" {
		t.Errorf("a refused user: got status %s and body %s, want 400 and invalid_grant", r.Status, r.text)
	}
	obtainToken(t, srv, client, userForm(srv, srv.UserToken(agwtest.User{Name: "alice"}))) // not refused
	srv.Tokens.RefuseUser("bob", false)
	obtainToken(t, srv, client, form)
}
