package agwtest_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/agwtest"
)

const (
	resource  = "urn:sap:identity:application:provider:name:agent-gateway"
	jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer starts a double that ends with the test.
func startServer(t *testing.T, options agwtest.Options) *agwtest.Server {
	t.Helper()
	srv, err := agwtest.Start(options)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// newClient returns a client of the double that follows no redirects, with the
// client certificate if there is one.
func newClient(t *testing.T, srv *agwtest.Server, certificates ...tls.Certificate) *http.Client {
	t.Helper()
	transport := srv.Transport()
	transport.TLSClientConfig.Certificates = certificates
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// startWithToken starts a double and obtains a token for the user alice.
func startWithToken(t *testing.T, options agwtest.Options) (*agwtest.Server, *http.Client, string) {
	t.Helper()
	srv := startServer(t, options)
	client := newClient(t, srv)
	return srv, client, obtainToken(t, srv, client, userForm(srv, srv.UserToken(agwtest.User{Name: "alice"})))
}

func newCertificate(t *testing.T, srv *agwtest.Server, c agwtest.Certificate) tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := srv.ClientCertificate(c)
	if err != nil {
		t.Fatalf("making a client certificate: %v", err)
	}
	return parsePair(t, certPEM, keyPEM)
}

// currentCertificate returns the client certificate in the credentials.
func currentCertificate(t *testing.T, srv *agwtest.Server) tls.Certificate {
	t.Helper()
	c := srv.Credentials()
	return parsePair(t, []byte(c["certificate"].(string)), []byte(c["privateKey"].(string)))
}

func parsePair(t *testing.T, certPEM, keyPEM []byte) tls.Certificate {
	t.Helper()
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatalf("certificate and key do not fit together: %v", err)
	}
	return cert
}

// tokenURLWithoutMTLS returns the token endpoint that needs no client certificate.
func tokenURLWithoutMTLS(srv *agwtest.Server) string {
	return srv.CustomerEnv()["INTEGRATION_AUTH_URL"]
}

func systemForm(srv *agwtest.Server) url.Values {
	return url.Values{
		"client_id":     {srv.ClientID()},
		"grant_type":    {"client_credentials"},
		"resource":      {resource},
		"response_type": {"token"},
	}
}

func userForm(srv *agwtest.Server, assertion string) url.Values {
	return url.Values{
		"client_id":    {srv.ClientID()},
		"grant_type":   {jwtBearer},
		"resource":     {resource},
		"assertion":    {assertion},
		"token_format": {"jwt"},
	}
}

// result is a response whose body has been read.
type result struct {
	*http.Response
	text string
	json map[string]any
	err  error // of reading the body
}

// field returns a string field of a JSON object, "" if there is none.
func (r result) field(name string) string {
	s, _ := r.json[name].(string)
	return s
}

func newRequest(t *testing.T, method, url, body string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatalf("request for %s: %v", url, err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func send(t *testing.T, client *http.Client, req *http.Request) result {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	out := result{Response: resp, text: string(body), err: err}
	_ = json.Unmarshal(body, &out.json)
	return out
}

// get sends a GET request with a bearer token.
func get(t *testing.T, client *http.Client, url, token string, header ...string) result {
	t.Helper()
	return send(t, client, newRequest(t, http.MethodGet, url, "", append([]string{"Authorization", "Bearer " + token}, header...)...))
}

// postForm sends a request for a token as a flow does.
func postForm(t *testing.T, client *http.Client, url string, form url.Values, header ...string) result {
	t.Helper()
	return send(t, client, newRequest(t, http.MethodPost, url, form.Encode(), append([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json",
	}, header...)...))
}

// obtainToken obtains an access token without mutual TLS.
func obtainToken(t *testing.T, srv *agwtest.Server, client *http.Client, form url.Values) string {
	t.Helper()
	r := postForm(t, client, tokenURLWithoutMTLS(srv), form)
	if r.StatusCode != http.StatusOK || r.field("access_token") == "" {
		t.Fatalf("no token: status %s, body %s", r.Status, r.text)
	}
	return r.field("access_token")
}

// decodeEcho returns the echo in a response of the gateway.
func decodeEcho(t *testing.T, r result) agwtest.Echo {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("the gateway did not respond with an echo: status %s, body %s", r.Status, r.text)
	}
	e, err := agwtest.DecodeEcho(strings.NewReader(r.text))
	if err != nil {
		t.Fatalf("decoding the echo: %v, body %s", err, r.text)
	}
	return e
}

// assertStatus fails the test if a response has another status code.
func assertStatus(t *testing.T, what string, r result, want int) {
	t.Helper()
	if r.StatusCode != want {
		t.Errorf("%s: got status %s, want %d; body %s", what, r.Status, want, r.text)
	}
}
