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
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

func startServer(t *testing.T) *agwtest.Server {
	t.Helper()
	srv, err := agwtest.Start(agwtest.Options{GatewayPath: "/base"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// newCustomerClient returns a client for the gateway of srv with tokens of its token service.
func newCustomerClient(t *testing.T, srv *agwtest.Server, opts transport.Options) *http.Client {
	t.Helper()
	raw, err := json.Marshal(srv.Credentials())
	if err != nil {
		t.Fatal(err)
	}
	creds, err := customer.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := creds.NewFlow(flows.Options{RootCAs: srv.RootCAs()})
	if err != nil {
		t.Fatal(err)
	}
	src, err := tokensource.New(flow, tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opts.Base = srv.Transport()
	client := transport.New(src, opts).Client()
	t.Cleanup(client.CloseIdleConnections)
	t.Cleanup(flow.CloseIdleConnections)
	return client
}

// post returns what the gateway saw of a request with a body.
func post(t *testing.T, ctx context.Context, client *http.Client, url string) agwtest.Echo {
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
		t.Fatalf("POST %s: got status %d, echo %+v, error %v; want 200 and an echo of the content", url, resp.StatusCode, echo, err)
	}
	return echo
}

func TestEndToEnd(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	client := newCustomerClient(t, srv, transport.Options{})
	// A fetch must not go through the client that waits for it, which would be a deadlock.
	system := context.WithValue(t.Context(), oauth2.HTTPClient, client)
	alice := tokensource.WithUserToken(system, srv.UserToken(agwtest.User{Name: "alice"}))

	for _, target := range []string{"https://agent-gateway.invalid/v1/x", "/v1/x", srv.GatewayURL() + "/v1/x"} {
		if echo := post(t, alice, client, target); echo.User != "alice" || echo.Path != "/base/v1/x" {
			t.Errorf("%s for alice: the gateway saw %+v, want user alice and path /base/v1/x", target, echo)
		}
		if echo := post(t, system, client, target); echo.User != "" {
			t.Errorf("%s for nobody: the gateway saw %+v, want the system token", target, echo)
		}
	}
	if n := srv.Counts().Token; n != 2 {
		t.Errorf("%d tokens were fetched, want 2: one for alice and the system token", n)
	}
	srv.RevokeUser("alice")
	if echo := post(t, alice, client, "/v1/x"); echo.User != "alice" {
		t.Errorf("after alice's token was revoked, the gateway saw %+v, want user alice", echo)
	}
	if n := srv.Counts().Token; n != 3 {
		t.Errorf("%d tokens were fetched, want 3: the revoked token was to be replaced once", n)
	}
}

func TestEndToEndForeignHostsGetNoToken(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	for _, pass := range []bool{false, true} {
		client := newCustomerClient(t, srv, transport.Options{PassForeignHosts: pass})
		for _, target := range []string{srv.ForeignURL() + "/x", "/redirect?status=307&to=" + url.QueryEscape(srv.ForeignURL()+"/x")} {
			resp, err := client.Get(target)
			if err == nil {
				_ = resp.Body.Close()
			}
			switch {
			case pass && err != nil:
				t.Errorf("%s with PassForeignHosts: got error %v, want a response", target, err)
			case !pass && !errors.Is(err, transport.ErrForeignHost):
				t.Errorf("%s: got error %v, want %v", target, err, transport.ErrForeignHost)
			}
		}
	}
	if got := srv.Counts(); got.Foreign != 2 || got.Leaked != 0 {
		t.Errorf("the foreign host got %d requests, %d of them with a token; want 2 (those that were passed), without tokens", got.Foreign, got.Leaked)
	}
}
