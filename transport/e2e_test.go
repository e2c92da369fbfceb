package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// newAgent returns a client of srv with real tokens behind it.
func newAgent(t *testing.T, srv *agwtest.Server, opts transport.Options) *http.Client {
	t.Helper()
	raw, err := json.Marshal(srv.Credentials())
	if err != nil {
		t.Fatal(err)
	}
	creds, err := customer.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := customer.NewFlow(creds, &customer.Options{RootCAs: srv.RootCAs()})
	if err != nil {
		t.Fatal(err)
	}
	src, err := tokensource.New(flow, tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opts.Base = srv.Transport()
	client := transport.New(src, &opts).Client()
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func start(t *testing.T) *agwtest.Server {
	t.Helper()
	srv, err := agwtest.Start(agwtest.Options{GatewayPath: "/base"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// call returns what the gateway saw of a request with a body.
func call(t *testing.T, ctx context.Context, client *http.Client, url string) agwtest.Echo {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	echo, err := agwtest.DecodeEcho(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || echo.Body != "content" {
		t.Fatalf("status %d, echo %+v, error %v", resp.StatusCode, echo, err)
	}
	return echo
}

func TestEndToEnd(t *testing.T) {
	t.Parallel()
	srv := start(t)
	client := newAgent(t, srv, transport.Options{})
	// A fetch must not go through the transport that waits for it.
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, client)
	alice := tokensource.WithUserToken(ctx, srv.UserToken(agwtest.User{Name: "alice"}))

	for _, target := range []string{"https://agent-gateway.invalid/v1/x", "/v1/x", srv.GatewayURL() + "/v1/x"} {
		if echo := call(t, alice, client, target); echo.User != "alice" || echo.Path != "/base/v1/x" {
			t.Errorf("%s: the gateway saw %+v", target, echo)
		}
		if echo := call(t, ctx, client, target); echo.User != "" {
			t.Errorf("%s: the gateway saw %+v", target, echo)
		}
	}
	if n := srv.Counts().Token; n != 2 {
		t.Errorf("%d tokens were fetched, want 2", n)
	}
	srv.RevokeUser("alice")
	if echo := call(t, alice, client, "/v1/x"); echo.User != "alice" {
		t.Errorf("the gateway saw %+v", echo)
	}
	if n := srv.Counts().Token; n != 3 {
		t.Errorf("%d tokens were fetched, want 3", n)
	}
}

func TestEndToEndNothingLeaks(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for _, pass := range []bool{false, true} {
		client := newAgent(t, srv, transport.Options{PassForeignHosts: pass})
		for _, target := range []string{srv.ForeignURL() + "/x", "/redirect?status=307&to=" + url.QueryEscape(srv.ForeignURL()+"/x")} {
			resp, err := client.Get(target)
			if err == nil {
				_ = resp.Body.Close()
			}
			if pass != (err == nil) || !pass && !errors.Is(err, transport.ErrForeignHost) {
				t.Errorf("%s, pass %v: error %v", target, pass, err)
			}
		}
	}
	if got := srv.Counts(); got.Foreign != 2 || got.Leaked != 0 {
		t.Errorf("the foreign host got %d requests, %d of them with a token", got.Foreign, got.Leaked)
	}
}
