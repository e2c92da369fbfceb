package agwtest_test

import (
	"crypto/tls"
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
	srv := start(t, agwtest.Options{})
	c := client(t, srv, credentials(t, srv))

	system := post(t, c, srv.TokenURL(), systemForm(srv))
	if system.StatusCode != http.StatusOK || system.field("token_type") != "Bearer" || system.json["expires_in"] != 3600.0 {
		t.Fatalf("system token: %s %s", system.Status, system.text)
	}
	e := echoOf(t, call(t, c, srv.GatewayURL()+"/v1/mcp/sap.s4:x:v1/t?q=1", system.field("access_token"), "X-Custom", "yes"))
	if e.User != "" || e.Client != srv.ClientID() || e.Tenant != "provider" || e.TokenID == "" {
		t.Errorf("system identity: %+v", e.Caller)
	}
	if e.Path != "/v1/mcp/sap.s4:x:v1/t" || e.RawQuery != "q=1" || e.Header.Get("X-Custom") != "yes" || e.Header.Get("Authorization") != "" {
		t.Errorf("echo: %+v", e)
	}

	exchanged := post(t, c, srv.TokenURL(), userForm(srv, srv.UserToken(agwtest.User{Name: "alice", Tenant: "t1"})))
	e = echoOf(t, call(t, c, srv.GatewayURL(), exchanged.field("access_token")))
	if e.User != "alice" || e.Tenant != "t1" {
		t.Errorf("user identity: %+v", e.Caller)
	}
	if got := srv.Counts(); got.Token != 2 || got.Gateway != 2 || got.Services() != 2 {
		t.Errorf("counts: %+v", got)
	}
}

// TestHandshakeIsMutual also wants the client to be told why, every time.
func TestHandshakeIsMutual(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{HTTP1: true})
	tests := map[string]struct {
		certificates []agwtest.Certificate
		alert        string
	}{
		"none":          {nil, "certificate required"},
		"expired":       {[]agwtest.Certificate{{NotAfter: time.Now().Add(-time.Minute)}}, "expired certificate"},
		"not yet valid": {[]agwtest.Certificate{{NotBefore: time.Now().Add(time.Hour)}}, "expired certificate"},
		// net/http withholds a certificate of an authority that the server does
		// not ask for; this client presents it all the same.
		"foreign": {[]agwtest.Certificate{{ForeignCA: true}}, "unknown certificate authority"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, srv)
			for _, spec := range test.certificates {
				cert := certificate(t, srv, spec)
				c.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					return &cert, nil
				}
			}
			for range 20 {
				resp, err := c.PostForm(srv.TokenURL(), systemForm(srv))
				if err == nil {
					resp.Body.Close()
					t.Fatalf("the handshake succeeded: %s", resp.Status)
				}
				if !strings.Contains(err.Error(), test.alert) {
					t.Fatalf("got %v, want %s", err, test.alert)
				}
			}
		})
	}
	other := client(t, srv, certificate(t, srv, agwtest.Certificate{CommonName: "someone else"}))
	if r := post(t, other, srv.TokenURL(), systemForm(srv)); r.StatusCode != 401 || r.field("error") != "invalid_client" {
		t.Errorf("other subject: %s %s", r.Status, r.text)
	}
}

func TestTokenRequestIsChecked(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	user := srv.UserToken(agwtest.User{Name: "alice"})
	system := func(name string, values ...string) url.Values {
		form := systemForm(srv)
		form[name] = values
		return form
	}
	exchange := func(name string, values ...string) url.Values {
		form := userForm(srv, user)
		form[name] = values
		return form
	}
	tests := map[string]struct {
		form   url.Values
		header []string
		code   string
		status int
	}{
		"client_id missing":     {form: system("client_id"), code: "invalid_request"},
		"client_id wrong":       {form: system("client_id", "x"), code: "invalid_client", status: 401},
		"client_id repeated":    {form: system("client_id", srv.ClientID(), srv.ClientID()), code: "invalid_request"},
		"grant_type missing":    {form: system("grant_type"), code: "invalid_request"},
		"grant_type unknown":    {form: system("grant_type", "password"), code: "unsupported_grant_type"},
		"resource missing":      {form: system("resource"), code: "invalid_request"},
		"resource wrong":        {form: system("resource", "urn:x"), code: "invalid_target"},
		"response_type missing": {form: system("response_type"), code: "invalid_request"},
		"response_type wrong":   {form: system("response_type", "code"), code: "invalid_request"},
		"response_type of user": {form: exchange("response_type", "token"), code: "invalid_request"},
		"client_secret":         {form: system("client_secret", "x"), code: "invalid_request"},
		"scope":                 {form: exchange("scope", "x"), code: "invalid_request"},
		"app_tid":               {form: system("app_tid", "x"), code: "invalid_request"},
		"assertion of system":   {form: system("assertion", user), code: "invalid_request"},
		"assertion missing":     {form: exchange("assertion"), code: "invalid_request"},
		"assertion prefixed":    {form: exchange("assertion", "Bearer "+user), code: "invalid_grant"},
		"assertion garbage":     {form: exchange("assertion", "a.b.c"), code: "invalid_grant"},
		"assertion forged":      {form: exchange("assertion", user[:len(user)-4]+"AAAA"), code: "invalid_grant"},
		"assertion cut":         {form: exchange("assertion", user[:len(user)-4]), code: "invalid_grant"},
		"assertion expired":     {form: exchange("assertion", srv.UserToken(agwtest.User{Lifetime: -time.Second})), code: "invalid_grant"},
		"assertion is a token":  {form: exchange("assertion", token(t, srv, c, systemForm(srv))), code: "invalid_grant"},
		"token_format missing":  {form: exchange("token_format"), code: "invalid_request"},
		"token_format wrong":    {form: exchange("token_format", "opaque"), code: "invalid_request"},
		"authorization header":  {form: systemForm(srv), header: []string{"Authorization", "Basic eDp5"}, code: "invalid_request"},
		"accept":                {form: systemForm(srv), header: []string{"Accept", "*/*"}, code: "invalid_request"},
		"content type":          {form: systemForm(srv), header: []string{"Content-Type", "application/json"}, code: "invalid_request"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := post(t, c, srv.TokenURLNoClientCert(), test.form, test.header...)
			want := max(test.status, http.StatusBadRequest)
			if r.StatusCode != want || r.field("error") != test.code || r.field("error_description") == "" {
				t.Errorf("got %s %s, want %d %s", r.Status, r.text, want, test.code)
			}
		})
	}
	r := post(t, c, srv.TokenURLNoClientCert(), systemForm(srv), "Content-Type", "text/plain")
	if !strings.Contains(r.field("error_description"), "Content-Type") {
		t.Errorf("content type: %s", r.text)
	}
	if r := do(t, c, request(t, "GET", srv.TokenURLNoClientCert(), "")); r.StatusCode != 405 {
		t.Errorf("GET: %s", r.Status)
	}
	if r := post(t, c, srv.TokenURLNoClientCert()+"?a=b", systemForm(srv)); r.StatusCode != 400 {
		t.Errorf("query: %s", r.Status)
	}
	if r := post(t, c, srv.TokenURLNoClientCert()+"/x", systemForm(srv)); r.StatusCode != 404 {
		t.Errorf("path: %s", r.Status)
	}
}

// TestRefusedClientCanWrite writes on a connection whose handshake was refused:
// were it closed, the second write would fail and might hide the reason.
func TestRefusedClientCanWrite(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	address := strings.TrimSuffix(strings.TrimPrefix(srv.TokenURL(), "https://"), "/oauth2/token")
	raw, err := srv.Transport().DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{RootCAs: srv.RootCAs(), ServerName: "localhost"})
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Fatalf("got %v", err)
	}
	if _, err := io.ReadAll(raw); err != nil { // the server has closed its side
		t.Fatal(err)
	}
	for range 100 {
		if _, err := raw.Write([]byte("still here")); err != nil {
			t.Fatal(err)
		}
	}
}
