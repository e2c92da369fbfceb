package agw_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// services answers for token services, the Destination Service and the gateway alike.
type services struct {
	mu     sync.Mutex
	hosts  []string
	closed int
}

func (s *services) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = append(s.hosts, req.URL.Host)
	body := `{"access_token": "technical", "expires_in": 600}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (s *services) CloseIdleConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
}

// customerAt and lobAt are configurations whose services are at the given scheme.
func customerAt(scheme string) agw.Config {
	return agw.Config{CustomerCredentials: &customer.Credentials{
		ClientID: "me", TokenServiceURL: scheme + "://ias.example/token", GatewayURL: scheme + "://gw.example",
	}}
}

func lobAt(scheme string) agw.Config {
	return agw.Config{LoBCredentials: &lob.Credentials{Landscape: "l", Binding: lob.Binding{
		ClientID: "me", ClientSecret: "s", IdentityZone: "zone", URL: scheme + "://zone.auth.example", URI: scheme + "://destinations.example",
	}}}
}

// Plain http is refused for services and gateway, unless allowed, and then for both.
func TestPlainHTTPIsAllowedEverywhereOrNowhere(t *testing.T) {
	t.Parallel()
	for _, cfg := range []agw.Config{customerAt("http"), lobAt("http")} {
		if _, err := agw.New(cfg); !errors.Is(err, tokensource.ErrInsecureURL) {
			t.Errorf("got %v", err)
		}
		cfg.DangerouslyAllowPlainHTTP = true
		if _, err := agw.New(cfg); err != nil {
			t.Error(err)
		}
	}
	cfg, s := customerAt("http"), new(services)
	cfg.DangerouslyAllowPlainHTTP, cfg.ServiceTransport, cfg.Transport = true, s, transport.Options{Base: s}
	gw, err := agw.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := gw.Client().Get(gw.URL("v1/mcp"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := strings.Join(s.hosts, " "); got != "ias.example gw.example" {
		t.Errorf("requests to %s", got)
	}
	if gw.CloseIdleConnections(); s.closed != 2 {
		t.Errorf("closed %d transports, want that of the gateway and that of the services", s.closed)
	}
}

// What both flows take is passed to both of them.
func TestConfigReachesTheFlows(t *testing.T) {
	t.Parallel()
	for _, cfg := range []agw.Config{customerAt("https"), lobAt("https")} {
		cfg.MaxConcurrentRequests = -1
		if _, err := agw.New(cfg); err == nil || !strings.Contains(err.Error(), "MaxConcurrentRequests") {
			t.Errorf("got %v", err)
		}
	}
	cfg := lobAt("https")
	cfg.Settings = cache.Settings{MaxUserTokens: -1}
	if _, err := agw.New(cfg); !errors.As(err, new(*cache.SettingError)) {
		t.Errorf("got %v", err)
	}
}

// The events of service tokens are told like those of the others.
func TestEventsOfBothSources(t *testing.T) {
	server := start(t, agwtest.Options{})
	setenv(t, server.LoBEnv())
	var mu sync.Mutex
	flows := make(map[string]bool)
	var logged logbook
	gw, err := agw.New(agw.Config{
		ServiceTransport: server.Transport(), Transport: transport.Options{Base: server.Transport()}, Tenant: "t1",
		Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(ev tokensource.Event) {
			mu.Lock()
			defer mu.Unlock()
			flows[ev.Flow] = true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer gw.CloseIdleConnections()
	defer server.Transport().CloseIdleConnections()
	if _, err := gw.Source().Token(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, flow := range []string{"lob", "lob-service"} {
		if !flows[flow] || !strings.Contains(logged.String(), "flow="+flow+" ") {
			t.Errorf("nothing is told of flow %s", flow)
		}
	}
}

// logbook is where a logger writes while a test reads.
type logbook struct {
	mu   sync.Mutex
	text []byte
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
