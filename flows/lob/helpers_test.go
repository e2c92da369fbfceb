package lob_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

const (
	secret      = "s3cr3t&of=the client"
	serviceJWT  = "opaque-service-token-of-"
	gatewayJWT  = "gateway-bearer-0123456789"
	userJWT     = "JWT.of-the-user.alice"
	authURL     = "https://provider.authentication.example.com"
	destURL     = "https://destination.example.com/base"
	fragmentURL = destURL + "/destination-configuration/v1/instanceDestinationFragments"
	whereURL    = destURL + "/destination-configuration/v2/destinations/sap-managed-runtime-ias-eu10@provider_subaccount"
	gatewayURL  = "https://gateway.example.com/base"
	systemLabel = "subscriber.ias"
	userLabel   = "subscriber.ias.user"
)

func credentials() *lob.Credentials {
	return &lob.Credentials{
		Landscape: "eu10",
		Binding: lob.Binding{
			ClientID: "sb-client", ClientSecret: secret,
			URL: authURL, URI: destURL + "/", IdentityZone: "provider",
			Source: "test",
		},
	}
}

// sent is a request that a fake received.
type sent struct {
	Method, URL, Body string
	Header            http.Header
}

// service tells which of the services was meant.
func (r sent) service() string {
	switch {
	case strings.HasSuffix(r.URL, "/oauth/token"):
		return "auth"
	case strings.HasPrefix(r.URL, fragmentURL):
		return "fragments"
	default:
		return "destination"
	}
}

// answer is an HTTP status and a body.
type answer struct {
	status int
	body   string
}

// fake answers in place of all services. Its funcs may be replaced before it is
// used; each gets the number of the request to its service, from 1.
type fake struct {
	auth, fragments, destination func(n int, r sent) answer

	mu       sync.Mutex
	requests []sent
	flow     *lob.Flow
}

// newFake returns a fake all of whose answers are good.
func newFake() *fake {
	return &fake{
		auth: func(_ int, r sent) answer {
			u, _ := url.Parse(r.URL)
			tenant, _, _ := strings.Cut(u.Host, ".")
			return answer{200, `{"access_token":"` + serviceJWT + tenant + `","token_type":"bearer","expires_in":3600}`}
		},
		fragments:   func(int, sent) answer { return answer{200, `[{"FragmentName":"frag"}]`} },
		destination: func(int, sent) answer { return answer{200, destination(`"` + gatewayURL + `/"`)} },
	}
}

// destination returns a good destination with a URL, given as JSON.
func destination(url string) string {
	return `{"destinationConfiguration":{"Name":"d","URL":` + url + `,"clientId":"ias-client"},` +
		`"authTokens":[{"type":"bearer","value":"x","http_header":{"key":"Authorization","value":"Bearer ` + gatewayJWT + `"},"expires_in":"600"}]}`
}

// withTokens returns a destination with these authTokens, given as JSON.
func withTokens(tokens string) string {
	return `{"destinationConfiguration":{"URL":"` + gatewayURL + `"},"authTokens":` + tokens + `}`
}

// header returns one of the authTokens whose header has that value.
func header(value string) string {
	b, _ := json.Marshal(map[string]any{"http_header": map[string]string{"key": "Authorization", "value": value}, "expires_in": "600"})
	return string(b)
}

// start returns a flow that talks to f.
func (f *fake) start(t *testing.T, opts lob.Options) *lob.Flow {
	t.Helper()
	return f.startWith(t, credentials(), opts)
}

func (f *fake) startWith(t *testing.T, creds *lob.Credentials, opts lob.Options) *lob.Flow {
	t.Helper()
	mock := httpmock.NewMockTransport()
	mock.RegisterNoResponder(f.respond)
	opts.Base = mock
	flow, err := lob.NewFlow(creds, &opts)
	if err != nil {
		t.Fatal(err)
	}
	f.flow = flow
	return flow
}

func (f *fake) respond(req *http.Request) (*http.Response, error) {
	r := sent{Method: req.Method, URL: req.URL.String(), Header: req.Header.Clone()}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		r.Body = string(body)
	}
	f.mu.Lock()
	f.requests = append(f.requests, r)
	n := 0
	for _, old := range f.requests {
		if old.service() == r.service() {
			n++
		}
	}
	f.mu.Unlock()
	decide := map[string]func(int, sent) answer{"auth": f.auth, "fragments": f.fragments, "destination": f.destination}[r.service()]
	a := decide(n, r)
	if a.status == 0 {
		return nil, errors.New("connection reset")
	}
	return httpmock.NewStringResponse(a.status, a.body), nil
}

// trace returns the services that were asked since the last trace, in order.
func (f *fake) trace() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, r := range f.requests {
		names = append(names, r.service())
	}
	f.requests = nil
	return strings.Join(names, " ")
}

// last returns the requests since the last trace.
func (f *fake) last() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]sent(nil), f.requests...)
}

func (f *fake) fetch(tenant, user string) (*tokensource.Response, error) {
	return f.flow.Fetch(context.Background(), tokensource.Subject{Tenant: tenant, UserToken: user})
}

func (f *fake) mustFetch(t *testing.T, tenant, user string) *tokensource.Response {
	t.Helper()
	resp, err := f.fetch(tenant, user)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func expectTrace(t *testing.T, f *fake, want string) {
	t.Helper()
	if got := f.trace(); got != want {
		t.Errorf("requests: %q, want %q", got, want)
	}
}

// expectError fails unless err has all of the texts in it, and none of the secrets.
func expectError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not have %q", err, text)
		}
	}
	for _, s := range []string{secret, url.QueryEscape(secret), serviceJWT, gatewayJWT, userJWT} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("error %q has a secret", err)
		}
	}
}

// typed returns err as the error of a request.
func typed(t *testing.T, err error) *tokensource.Error {
	t.Helper()
	var e *tokensource.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is not a *tokensource.Error", err, err)
	}
	return e
}
