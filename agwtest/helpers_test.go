package agwtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/agwtest"
)

const (
	resource  = "urn:sap:identity:application:provider:name:agent-gateway"
	jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// start brings a double up that ends with the test.
func start(t *testing.T, options agwtest.Options) *agwtest.Server {
	t.Helper()
	srv, err := agwtest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// client is a client of the double that follows no redirects, with the client
// certificate if there is one.
func client(t *testing.T, srv *agwtest.Server, certificates ...tls.Certificate) *http.Client {
	t.Helper()
	transport := srv.Transport()
	transport.TLSClientConfig.Certificates = certificates
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func certificate(t *testing.T, srv *agwtest.Server, c agwtest.Certificate) tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := srv.ClientCertificate(c)
	if err != nil {
		t.Fatal(err)
	}
	return pair(t, certPEM, keyPEM)
}

func pair(t *testing.T, certPEM, keyPEM []byte) tls.Certificate {
	t.Helper()
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// credentials is the certificate of the credentials of now.
func credentials(t *testing.T, srv *agwtest.Server) tls.Certificate {
	t.Helper()
	c := srv.Credentials()
	return pair(t, []byte(c["certificate"].(string)), []byte(c["privateKey"].(string)))
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

// result is an answer that has been read.
type result struct {
	*http.Response
	text string
	json map[string]any
	err  error // of reading the body
}

func (r result) field(name string) string {
	s, _ := r.json[name].(string)
	return s
}

func do(t *testing.T, c *http.Client, req *http.Request) result {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	out := result{Response: resp, text: string(body), err: err}
	_ = json.Unmarshal(body, &out.json)
	return out
}

func request(t *testing.T, method, url, body string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// post sends a form as a flow does.
func post(t *testing.T, c *http.Client, url string, form url.Values, header ...string) result {
	t.Helper()
	req := request(t, http.MethodPost, url, form.Encode(), append([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json",
	}, header...)...)
	return do(t, c, req)
}

// token obtains an access token without mutual TLS.
func token(t *testing.T, srv *agwtest.Server, c *http.Client, form url.Values) string {
	t.Helper()
	r := post(t, c, srv.TokenURLNoClientCert(), form)
	if r.StatusCode != http.StatusOK || r.field("access_token") == "" {
		t.Fatalf("no token: %s %s", r.Status, r.text)
	}
	return r.field("access_token")
}

// payload is what a token claims.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(body, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// call sends a request with a bearer.
func call(t *testing.T, c *http.Client, url, bearer string, header ...string) result {
	t.Helper()
	return do(t, c, request(t, http.MethodGet, url, "", append([]string{"Authorization", "Bearer " + bearer}, header...)...))
}

func echoOf(t *testing.T, r result) agwtest.Echo {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("gateway: %s %s", r.Status, r.text)
	}
	e, err := agwtest.DecodeEcho(strings.NewReader(r.text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func poolOf(t *testing.T, certPEM []byte) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certPEM) {
		t.Fatal("no certificate")
	}
	return pool
}
