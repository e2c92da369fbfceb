package agw_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// movingFlow is a flow whose gateway comes with the token, and can be moved. Its tokens
// live for an hour.
type movingFlow struct {
	identity tokensource.Identity

	mu      sync.Mutex
	gateway string
	failure error
}

func newMovingFlow(gateway string) *movingFlow {
	return &movingFlow{identity: tokensource.Identity{Flow: "moving"}, gateway: gateway}
}

func (f *movingFlow) NewFlow(flows.Options) (flows.Flow, error)               { return f, nil }
func (f *movingFlow) Identity() *tokensource.Identity                         { return &f.identity }
func (f *movingFlow) Tenant(_ context.Context, tenant string) (string, error) { return tenant, nil }
func (f *movingFlow) ClientID(context.Context) (string, error)                { return "moving", nil }
func (f *movingFlow) MCPServers(context.Context) ([]flows.Endpoint, error)    { return nil, nil }
func (f *movingFlow) Agents(context.Context) ([]flows.Endpoint, error)        { return nil, nil }
func (f *movingFlow) Purge()                                                  {}
func (f *movingFlow) CloseIdleConnections()                                   {}

func (f *movingFlow) Fetch(context.Context, tokensource.Subject) (*tokensource.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure != nil {
		return nil, f.failure
	}
	gateway, err := tokensource.ParseGatewayURL(f.gateway)
	if err != nil {
		return nil, err
	}
	return &tokensource.Response{AccessToken: "for-" + gateway.Host, ExpiresIn: []byte("3600"), GatewayURL: gateway}, nil
}

// move changes the gateway of later tokens; failure, if not nil, comes instead of them.
func (f *movingFlow) move(gateway string, failure error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gateway, f.failure = gateway, failure
}

// sentTo is a transport that records where requests went, and with what.
type sentTo struct {
	mu       sync.Mutex
	requests []string
}

func (s *sentTo) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req.URL.Host+" "+req.Header.Get("Authorization"))
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func (s *sentTo) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		return "nothing"
	}
	return s.requests[len(s.requests)-1]
}

// A gateway that is known from another token must not keep a subject from its own.
func TestGatewayThatHasMoved(t *testing.T) {
	t.Parallel()
	const before, after = "https://before.example", "https://after.example"
	alice := tokensource.UserSubject("alice")
	for _, test := range []struct {
		name   string
		wait   time.Duration // between the first call, of the system, and the others
		client func(*agw.Gateway) *http.Client
	}{
		{"known from another subject of the tenant", 0, func(gw *agw.Gateway) *http.Client { return gw.ClientFor(alice) }},
		{"known from a token that has expired", time.Hour + time.Minute, (*agw.Gateway).Client},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				flow, sent := newMovingFlow(before), new(sentTo)
				gw := newGateway(t, agw.Config{Credentials: flow, Transport: sent})
				call := func(client *http.Client, url, wantSent string, wantErr error) {
					t.Helper()
					resp, err := client.Get(url)
					if err == nil {
						_ = resp.Body.Close()
					}
					if !errors.Is(err, wantErr) || sent.last() != wantSent {
						t.Errorf("GET %s: got error %v, and the last request was %q; want error %v and %q", url, err, sent.last(), wantErr, wantSent)
					}
				}
				call(gw.Client(), before+"/x", "before.example Bearer for-before.example", nil)
				flow.move(after, nil)
				time.Sleep(test.wait)
				client := test.client(gw)
				call(client, after+"/x", "after.example Bearer for-after.example", nil)
				call(client, before+"/x", "after.example Bearer for-after.example", transport.ErrForeignHost)
			})
		})
	}
}

// Without a token, the gateway that is known says which hosts are foreign.
func TestForeignHostsDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := &tokensource.Error{Op: "fetch system token", Kind: tokensource.Temporary, Err: errors.New("down")}
		for _, pass := range []bool{false, true} {
			flow, sent := newMovingFlow("https://gw.example"), new(sentTo)
			gw := newGateway(t, agw.Config{Credentials: flow, Transport: sent, PassForeignHosts: pass})
			if _, err := gw.Client().Get(gw.URL("x")); err != nil {
				t.Fatal(err)
			}
			flow.move("", down)
			time.Sleep(time.Hour + time.Minute)
			_, err := gw.Client().Get("https://elsewhere.example/x")
			if pass && (err != nil || sent.last() != "elsewhere.example ") {
				t.Errorf("with PassForeignHosts: got error %v, and the last request was %q; want the request to be passed without a token", err, sent.last())
			}
			failed := (*tokensource.Error)(nil)
			if !pass && (!errors.Is(err, transport.ErrForeignHost) || !errors.As(err, &failed)) {
				t.Errorf("got error %v, want %v, and why there was no token", err, transport.ErrForeignHost)
			}
			_, err = gw.Client().Get("https://gw.example/x")
			if errors.Is(err, transport.ErrForeignHost) || !errors.As(err, &failed) {
				t.Errorf("a request for the gateway itself: got error %v, want that of the fetch", err)
			}
		}
	})
}

// Only a gateway that no token can change is final: a host that is foreign to it needs no
// token to be refused.
func TestWhichGatewayIsFinal(t *testing.T) {
	t.Parallel()
	fixed, err := tokensource.Fixed(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}), "https://gw.example")
	if err != nil {
		t.Fatal(err)
	}
	ofToken := newGateway(t, agw.Config{Credentials: newMovingFlow("https://gw.example"), Transport: new(sentTo)})
	if gateway, final := ofToken.Source().Gateway(t.Context()); gateway != nil || final {
		t.Errorf("before the first token: got gateway %v, final: %t, want none", gateway, final)
	}
	if _, err := ofToken.Source().Token(); err != nil {
		t.Fatal(err)
	}
	configured := newGateway(t, agw.Config{Credentials: customerCredentials("https"), Transport: new(sentTo)})
	for _, test := range []struct {
		name   string
		source transport.Source
		final  bool
	}{
		{"configured", configured.Source(), true},
		{"Fixed", fixed, true},
		{"of a token", ofToken.Source(), false},
	} {
		gateway, final := test.source.Gateway(t.Context())
		if gateway == nil || gateway.Host != "gw.example" || final != test.final {
			t.Errorf("%s: got gateway %v, final: %t, want gw.example, final: %t", test.name, gateway, final, test.final)
		}
	}
	if _, err := configured.Client().Get("https://elsewhere.example/x"); !errors.Is(err, transport.ErrForeignHost) {
		t.Errorf("a foreign host: got error %v, want %v", err, transport.ErrForeignHost)
	}
	if n := configured.Source().Stats().Misses; n != 0 {
		t.Errorf("a foreign host was refused after the source had been asked for %d tokens, want none, since the gateway is configured", n)
	}
}

// What URL is given is often an id that was not set, or a URL that is complete already.
func TestURLOfBadParts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, path string
		segments   []string
		want       string
	}{
		{"empty segment", "v1/mcp", []string{"sap.s4:apiAccess:salesOrder:v1", ""}, "segment 2 given to gw.URL is empty: pass the id"},
		{"segment .", "v1/mcp", []string{"."}, `segment 1 given to gw.URL is "." or ".."`},
		{"segment ..", "v1/mcp", []string{".."}, `segment 1 given to gw.URL is "." or ".."`},
		{"URL as segment", "v1/mcp", []string{"https://gw.example/x"}, "segment 1 given to gw.URL is an absolute URL"},
		{"path .", ".", nil, `the path given to gw.URL has a "." or ".." segment`},
		{"path ..", "..", nil, `the path given to gw.URL has a "." or ".." segment`},
		{"URL as path", "https://gw.example/v1/mcp", nil, "the path given to gw.URL is an absolute URL: request that URL itself"},
		{"two slashes in the path", "v1/mcp//tenant", nil, "the path given to gw.URL has two slashes in a row"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			flow, sent := newMovingFlow("https://gw.example"), new(sentTo)
			gw := newGateway(t, agw.Config{Credentials: flow, Transport: sent, PassForeignHosts: true})
			raw := gw.URL(test.path, test.segments...)
			if _, err := url.Parse(raw); err != nil {
				t.Errorf("the URL %s does not parse, so that its error would be another one: %v", raw, err)
			}
			body := &closeCounter{Reader: strings.NewReader("content")}
			_, err := gw.Client().Post(raw, "text/plain", body)
			if !errors.Is(err, transport.ErrInvalidURL) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("a request for %s: got error %v, want one that says %q", raw, err, test.want)
			}
			if fetches := gw.Source().Stats().Fetches; fetches != 0 || sent.last() != "nothing" || body.closed != 1 {
				t.Errorf("%d tokens were fetched, %s was sent, and the body was closed %d times; want nothing to be sent, and once", fetches, sent.last(), body.closed)
			}
			if _, err := http.DefaultClient.Get(raw); err == nil || !strings.Contains(err.Error(), raw) {
				t.Errorf("another client: got error %v, want one that shows %s", err, raw)
			}
		})
	}
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestURL(t *testing.T) {
	t.Parallel()
	gw := newGateway(t, agw.Config{Credentials: newMovingFlow("https://gw.example/base"), Transport: new(sentTo)})
	for _, test := range []struct {
		path     string
		segments []string
		want     string
	}{
		{"", nil, "https://agent-gateway.invalid/"},
		{"/v1/x/", nil, "https://agent-gateway.invalid/v1/x/"},
		{"v1/x?q=1", nil, "https://agent-gateway.invalid/v1/x?q=1"},
		{"v1/mcp", []string{"sap.s4:apiAccess:salesOrder:v1", "a/b"}, "https://agent-gateway.invalid/v1/mcp/sap.s4:apiAccess:salesOrder:v1/a%2Fb"},
		{"", []string{"a"}, "https://agent-gateway.invalid/a"},
	} {
		if got := gw.URL(test.path, test.segments...); got != test.want {
			t.Errorf("URL(%q, %q) is %s, want %s", test.path, test.segments, got, test.want)
		}
	}
}

// Whoever follows a redirect of the gateway need not know where the gateway is.
func TestRedirectsOfTheGateway(t *testing.T) {
	t.Parallel()
	server := startServer(t, agwtest.Options{GatewayPath: "/base"})
	root := t.TempDir()
	if err := server.WriteBinding(root); err != nil {
		t.Fatal(err)
	}
	creds, err := customer.LoadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	cfg := configFor(server)
	cfg.Credentials = creds
	gw := newGateway(t, cfg)
	for _, test := range []struct{ start, to, location, path string }{
		{gw.URL("redirect"), "/base/v1/x", "/v1/x", "/base/v1/x"},
		{gw.URL("redirect"), "v1/x", "/v1/x", "/base/v1/x"},
		{gw.URL("redirect"), "/x", strings.TrimSuffix(server.GatewayURL(), "/base") + "/x", "/x"},
		{server.GatewayURL() + "/redirect", "/base/v1/x", server.GatewayURL() + "/v1/x", "/base/v1/x"},
	} {
		start := test.start + "?status=307&to=" + url.QueryEscape(test.to)
		client := gw.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := client.Get(start)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Location"); got != test.location {
			t.Errorf("GET %s: the Location is %q, want %q", start, got, test.location)
		}
		if test.path == "/x" {
			continue // the double of the gateway has nothing outside its base path
		}
		if echo := get(t.Context(), t, gw.Client(), start); echo.Path != test.path {
			t.Errorf("GET %s ended at %s, want %s", start, echo.Path, test.path)
		}
	}
}
