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
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// recordingTransport answers every request with a token, and records where it went.
type recordingTransport struct {
	mu     sync.Mutex
	hosts  []string
	closed int
}

func (r *recordingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts = append(r.hosts, req.URL.Host)
	body := `{"access_token": "system", "expires_in": 600}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (r *recordingTransport) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
}

// customerCredentials and lobCredentials name services at URLs of the given scheme.
func customerCredentials(scheme string) *customer.Credentials {
	return &customer.Credentials{ClientID: "me", TokenServiceURL: scheme + "://ias.example/token", GatewayURL: scheme + "://gw.example"}
}

func lobCredentials(scheme string) *lob.Credentials {
	return &lob.Credentials{
		Landscape: "l", ClientID: "me", ClientSecret: "s", IdentityZone: "zone",
		URL: scheme + "://zone.auth.example", URI: scheme + "://destinations.example",
	}
}

// Plain http is refused for services and gateway, unless it is allowed, and then for both.
func TestPlainHTTPIsAllowedEverywhereOrNowhere(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]agw.Config{
		"customer": {Credentials: customerCredentials("http")},
		"lob":      {Credentials: lobCredentials("http")},
	} {
		if _, err := agw.New(cfg); !errors.Is(err, tokensource.ErrInsecureURL) {
			t.Errorf("%s: services over plain http: got %v, want ErrInsecureURL", name, err)
		}
		cfg.DangerouslyAllowPlainHTTP = true
		if _, err := agw.New(cfg); err != nil {
			t.Errorf("%s: plain http is allowed, and refused: %v", name, err)
		}
	}
	gatewayOnly := customerCredentials("https")
	gatewayOnly.GatewayURL = "http://gw.example"
	if _, err := agw.New(agw.Config{Credentials: gatewayOnly}); !errors.Is(err, tokensource.ErrInsecureURL) || !strings.Contains(err.Error(), "gw.example") {
		t.Errorf("a gateway over plain http: got %v, want an ErrInsecureURL that names it", err)
	}

	sent := new(recordingTransport)
	gw, err := agw.New(agw.Config{
		Credentials: customerCredentials("http"), DangerouslyAllowPlainHTTP: true, ServiceTransport: sent, Transport: sent,
	})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := gw.Client().Get(gw.URL("v1/mcp"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got, want := strings.Join(sent.hosts, " "), "ias.example gw.example"; got != want {
		t.Errorf("requests went to %s, want %s", got, want)
	}
	if gw.CloseIdleConnections(); sent.closed != 2 {
		t.Errorf("%d transports were told to close idle connections, want 2: that of the gateway and that of the services", sent.closed)
	}
}

// The events and log lines of LoB's service tokens are told like those of other tokens.
func TestEventsOfBothSources(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	setenv(t, server.LoBEnv())
	var mu sync.Mutex
	seen := make(map[string]bool)
	var logged lockedBuffer
	cfg := configFor(server)
	cfg.Tenant = "t1"
	cfg.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.OnEvent = func(ev tokensource.Event) {
		mu.Lock()
		defer mu.Unlock()
		seen[ev.Flow] = true
	}
	gw := newGateway(t, cfg)
	if _, err := gw.Source().Token(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, flow := range []string{"lob", "lob-service"} {
		if !seen[flow] || !strings.Contains(logged.String(), "flow="+flow+" ") {
			t.Errorf("flow %s: event told: %t, log line written: %t, want both", flow, seen[flow], strings.Contains(logged.String(), "flow="+flow+" "))
		}
	}
}

// A lockedBuffer is written by a logger while a test reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}
