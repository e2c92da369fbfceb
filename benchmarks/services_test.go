package benchmarks_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

const (
	gatewayURL = "https://gateway.example"
	tokenSize  = 1500
)

// newToken returns a JWT of tokenSize bytes for a subject, good for hours.
func newToken(subject string) string {
	claims := fmt.Sprintf(`{"exp":%d,"sub":"%s","pad":"`, time.Now().Add(6*time.Hour).Unix(), subject)
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "."
	const signature = ".signed-by-nobody"
	size := (tokenSize - len(head) - len(signature)) / 4 * 3
	claims += strings.Repeat("x", size-len(claims)-2) + `"}`
	token := head + base64.RawURLEncoding.EncodeToString([]byte(claims)) + signature
	return token + strings.Repeat("y", tokenSize-len(token))
}

// exchanged returns the token that a user's is exchanged for.
func exchanged(user string) string { return user[:len(user)-9] + "exchanged" }

// services stands in for all token services: it answers at once and counts. It keeps
// nothing of what it is asked.
type services struct {
	system   string // the system token
	requests atomic.Int64
}

func newServices() *services { return &services{system: newToken("system")} }

func (s *services) RoundTrip(req *http.Request) (*http.Response, error) {
	s.requests.Add(1)
	if req.Body != nil {
		defer req.Body.Close()
		if err := req.ParseForm(); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(s.answer(req))),
		Request:    req,
	}, nil
}

// Do makes services what MSAL calls an HTTP client.
func (s *services) Do(req *http.Request) (*http.Response, error) { return s.RoundTrip(req) }

func (*services) CloseIdleConnections() {}

func (s *services) answer(req *http.Request) string {
	tenant, _, _ := strings.Cut(req.URL.Host, ".")
	switch path := req.URL.Path; {
	case strings.HasSuffix(path, "/openid-configuration"):
		return `{"authorization_endpoint":"https://login.example/t/authorize","token_endpoint":"https://login.example/t/token","issuer":"https://login.example/t"}`
	case path == "/oauth/token": // the service token of a tenant
		return tokenAnswer(newToken(tenant))
	case strings.HasSuffix(path, "/instanceDestinationFragments"):
		return `[{"FragmentName":"gateway"}]`
	case strings.Contains(path, "/destinations/"):
		bearer := req.Header.Get("Authorization")
		return `{"destinationConfiguration":{"URL":"` + gatewayURL + `"},"authTokens":[{"type":"Bearer","expires_in":"3600",` +
			`"http_header":{"key":"Authorization","value":"` + exchanged(bearer) + `"}}]}`
	case req.PostForm.Get("assertion") != "":
		return tokenAnswer(exchanged(req.PostForm.Get("assertion")))
	default:
		return tokenAnswer(s.system)
	}
}

func tokenAnswer(token string) string {
	return `{"access_token":"` + token + `","token_type":"Bearer","expires_in":3600,"scope":"scope"}`
}

// oauth2Token returns the system token as the libraries of others have it.
func (s *services) oauth2Token() *oauth2.Token {
	return &oauth2.Token{AccessToken: s.system, TokenType: "Bearer", Expiry: time.Now().Add(time.Hour)}
}

// customerSource returns a source over the customer's flow and s.
func (s *services) customerSource(tb testing.TB, settings tokensource.Settings) *tokensource.Source {
	tb.Helper()
	creds := &customer.Credentials{
		TokenServiceURL: "https://token.example/oauth2/token", ClientID: "client", GatewayURL: gatewayURL,
	}
	return newSource(tb, creds, flows.Options{ServiceTransport: s, Tokens: tokensource.Options{Settings: settings}})
}

// lobSource returns a source over the LoB flow and s.
func (s *services) lobSource(tb testing.TB, settings tokensource.Settings) *tokensource.Source {
	tb.Helper()
	creds := &lob.Credentials{
		ClientID: "client", ClientSecret: "secret", IdentityZone: "provider", Landscape: "landscape",
		URL: "https://provider.auth.example", URI: "https://destinations.example",
	}
	return newSource(tb, creds, flows.Options{ServiceTransport: s, Tokens: tokensource.Options{Settings: settings}})
}

func newSource(tb testing.TB, creds flows.Credentials, opts flows.Options) *tokensource.Source {
	tb.Helper()
	flow, err := creds.NewFlow(opts)
	if err != nil {
		tb.Fatal(err)
	}
	src, err := tokensource.New(flow, opts.Tokens)
	if err != nil {
		tb.Fatal(err)
	}
	return src
}
