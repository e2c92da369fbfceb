package lob_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

const (
	secret         = "s3cr3t&of=the client"
	serviceJWT     = "opaque-service-token-of-"
	gatewayJWT     = "gateway-bearer-0123456789"
	userJWT        = "JWT.of-the-user.alice"
	authURL        = "https://provider.authentication.example.com"
	destURL        = "https://destination.example.com/base"
	fragmentsPath  = "/destination-configuration/v1/instanceDestinationFragments"
	destinationURL = destURL + "/destination-configuration/v2/destinations/sap-managed-runtime-ias-eu10@provider_subaccount"
	gatewayURL     = "https://gateway.example.com/base"
	systemLabel    = "subscriber.ias"
	userLabel      = "subscriber.ias.user"
)

func credentials() *lob.Credentials {
	return &lob.Credentials{
		ClientID: "sb-client", ClientSecret: secret,
		URL: authURL, URI: destURL + "/", IdentityZone: "provider",
		Landscape: "eu10", Source: "test",
	}
}

// values are those of a complete binding, by key.
func values(clientID string) map[string]string {
	return map[string]string{
		"clientid": clientID, "clientsecret": secret, "identityzone": "provider", "url": authURL, "uri": destURL,
	}
}

func without(m map[string]string, keys ...string) map[string]string {
	m = maps.Clone(m)
	for _, key := range keys {
		delete(m, key)
	}
	return m
}

// environ returns an environment with a landscape and the given values of a binding.
func environ(values map[string]string) map[string]string {
	env := map[string]string{"APPFND_CONHOS_LANDSCAPE": "eu10"}
	for key, value := range values {
		env["CLOUD_SDK_CFG_DESTINATION_DEFAULT_"+strings.ToUpper(key)] = value
	}
	return env
}

func writeFiles(t *testing.T, dir string, values map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for key, value := range values {
		if err := os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A reloadableFlow is what NewFlow returns.
type reloadableFlow interface {
	flows.Flow
	tokensource.Reloader
}

// clockedFlow brings a clock to its source.
type clockedFlow struct {
	reloadableFlow
	now func() cache.Instant
}

func (f clockedFlow) Now() cache.Instant { return f.now() }

// request is one that the fake services received.
type request struct {
	Method, URL, Body string
	Header            http.Header
}

// service returns the name of the service that was meant.
func (r request) service() string {
	switch {
	case strings.HasSuffix(r.URL, "/oauth/token"):
		return "auth"
	case strings.Contains(r.URL, fragmentsPath):
		return "fragments"
	default:
		return "destination"
	}
}

// httpResponse is what a fake service responds with. Status 0 means that the connection
// is reset.
type httpResponse struct {
	status int
	body   string
}

// services are fakes of all services that the flow talks to. The functions may be
// replaced while no request is under way. Each is told the number of the request to its
// service, from 1 on, counted since the last call of sequence.
type services struct {
	auth, fragments, destination func(n int, r request) httpResponse

	mu       sync.Mutex
	requests []request
}

// newServices returns services all of whose responses are good.
func newServices() *services {
	return &services{
		auth: func(_ int, r request) httpResponse {
			u, _ := url.Parse(r.URL)
			tenant, _, _ := strings.Cut(u.Host, ".")
			return httpResponse{200, `{"access_token":"` + serviceJWT + tenant + `","token_type":"bearer","expires_in":3600}`}
		},
		fragments:   func(int, request) httpResponse { return httpResponse{200, `[{"FragmentName":"frag"}]`} },
		destination: func(int, request) httpResponse { return httpResponse{200, destination(`"` + gatewayURL + `/"`)} },
	}
}

// destination returns a good destination with a URL, which is given as JSON.
func destination(url string) string {
	return `{"destinationConfiguration":{"Name":"d","URL":` + url + `,"clientId":"ias-client"},` +
		`"authTokens":[{"type":"bearer","value":"x","http_header":{"key":"Authorization","value":"Bearer ` + gatewayJWT + `"},"expires_in":"600"}]}`
}

// destinationWithTokens returns a destination with these authTokens, which are given as
// JSON.
func destinationWithTokens(tokens string) string {
	return `{"destinationConfiguration":{"URL":"` + gatewayURL + `"},"authTokens":` + tokens + `}`
}

// authToken returns one of the authTokens, whose header has that value.
func authToken(headerValue string) string {
	b, _ := json.Marshal(map[string]any{"http_header": map[string]string{"key": "Authorization", "value": headerValue}, "expires_in": "600"})
	return string(b)
}

// transport returns a transport all of whose requests are for s.
func (s *services) transport() http.RoundTripper {
	mock := httpmock.NewMockTransport()
	mock.RegisterNoResponder(s.respond)
	return mock
}

func (s *services) respond(req *http.Request) (*http.Response, error) {
	r := request{Method: req.Method, URL: req.URL.String(), Header: req.Header.Clone()}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		r.Body = string(body)
	}
	s.mu.Lock()
	s.requests = append(s.requests, r)
	n := 0
	for _, earlier := range s.requests {
		if earlier.service() == r.service() {
			n++
		}
	}
	s.mu.Unlock()
	respond := map[string]func(int, request) httpResponse{"auth": s.auth, "fragments": s.fragments, "destination": s.destination}[r.service()]
	resp := respond(n, r)
	if resp.status == 0 {
		return nil, errors.New("connection reset")
	}
	return httpmock.NewStringResponse(resp.status, resp.body), nil
}

// received returns the requests since the last call of sequence.
func (s *services) received() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.requests...)
}

// sequence returns the names of the services that were asked since the last call of
// sequence, in order.
func (s *services) sequence() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, r := range s.requests {
		names = append(names, r.service())
	}
	s.requests = nil
	return strings.Join(names, " ")
}

// newFlow returns a flow of credentials() that talks to s.
func (s *services) newFlow(t *testing.T, opts flows.Options) reloadableFlow {
	t.Helper()
	return s.newFlowOf(t, credentials(), opts)
}

func (s *services) newFlowOf(t *testing.T, creds *lob.Credentials, opts flows.Options) reloadableFlow {
	t.Helper()
	opts.ServiceTransport = s.transport()
	flow, err := creds.NewFlow(opts)
	if err != nil {
		t.Fatalf("NewFlow: %v", err)
	}
	return flow.(reloadableFlow)
}

// newMountedFlow returns a flow of a binding in files, and the directory of those.
func (s *services) newMountedFlow(t *testing.T) (flow reloadableFlow, dir string) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "destination", "default")
	writeFiles(t, dir, values("sb-1"))
	creds, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": "eu10"})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return s.newFlowOf(t, creds, flows.Options{}), dir
}

func newSource(t *testing.T, flow tokensource.Flow, opts tokensource.Options) *tokensource.Source {
	t.Helper()
	src, err := tokensource.New(flow, opts)
	if err != nil {
		t.Fatalf("tokensource.New: %v", err)
	}
	return src
}

// subject returns the subject of the user with that JWT in a tenant, or of the system if
// jwt is "".
func subject(tenant, jwt string) tokensource.Subject {
	if jwt == "" {
		return tokensource.SystemSubject().In(tenant)
	}
	return tokensource.UserSubject(jwt).In(tenant)
}

// mustFetch fetches a token and fails the test if that fails.
func mustFetch(t *testing.T, flow flows.Flow, tenant, jwt string) *tokensource.Response {
	t.Helper()
	resp, err := flow.Fetch(context.Background(), subject(tenant, jwt))
	if err != nil {
		t.Fatalf("Fetch in tenant %s: %v", tenant, err)
	}
	return resp
}

// fetchError fetches a token and fails the test if that does not fail.
func fetchError(t *testing.T, flow flows.Flow, tenant, jwt string) error {
	t.Helper()
	resp, err := flow.Fetch(context.Background(), subject(tenant, jwt))
	if err == nil {
		t.Fatalf("Fetch in tenant %s: got a token for %v, want an error", tenant, resp.GatewayURL)
	}
	return err
}

func assertSequence(t *testing.T, when string, s *services, want string) {
	t.Helper()
	if got := s.sequence(); got != want {
		t.Errorf("%s: requests to %q, want %q", when, got, want)
	}
}

// assertError fails the test unless err has all of the texts in it, and no secret.
func assertError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q, want one that says %q", err, text)
		}
	}
	for _, s := range []string{secret, url.QueryEscape(secret), serviceJWT, gatewayJWT, userJWT} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("error %q shows the secret %q", err, s)
		}
	}
}

// requestError returns err as the error of a request.
func requestError(t *testing.T, err error) *tokensource.Error {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want a *tokensource.Error", err, err)
	}
	return e
}
