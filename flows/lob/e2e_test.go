package lob_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// endToEnd is a source over a flow that talks to the double, over TLS.
type endToEnd struct {
	server *agwtest.Server
	flow   flows.Flow
	source *tokensource.Source
}

// credentialsOf returns credentials of the double.
func credentialsOf(srv *agwtest.Server) *lob.Credentials {
	b := srv.DestinationBinding()
	return &lob.Credentials{
		ClientID: b["clientid"], ClientSecret: b["clientsecret"], URL: b["url"], URI: b["uri"], IdentityZone: b["identityzone"],
		Landscape: "agwtest",
	}
}

// startEndToEnd starts the double, and a flow whose binding is in files below root or, if
// that is "", in the environment.
func startEndToEnd(t *testing.T, root string) *endToEnd {
	t.Helper()
	return startEndToEndWith(t, root, agwtest.Options{}, tokensource.Options{}, cache.Now)
}

func startEndToEndWith(t *testing.T, root string, server agwtest.Options, opts tokensource.Options, now func() cache.Instant) *endToEnd {
	t.Helper()
	srv, err := agwtest.Start(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	env := srv.LoBEnv()
	if root != "" {
		if err := srv.WriteDestinationBinding(root); err != nil {
			t.Fatal(err)
		}
		env["SERVICE_BINDING_ROOT"] = root
	}
	creds, err := lob.LoadFrom(env)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := lob.NewFlowWithClock(creds, flows.Options{ServiceTransport: srv.Transport(), Tokens: opts}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(flow.CloseIdleConnections)
	return &endToEnd{server: srv, flow: flow, source: newSource(t, clockedFlow{flow.(reloadableFlow), now}, opts)}
}

// assertRequests checks how many requests there were to each service since the last time.
func (e *endToEnd) assertRequests(t *testing.T, when string, serviceTokens, fragments, destinations int) {
	t.Helper()
	c := e.server.Counts()
	got := fmt.Sprint(c.Auth, c.Fragments, c.Destination)
	if want := fmt.Sprint(serviceTokens, fragments, destinations); got != want {
		t.Errorf("%s: %s requests for service tokens, fragments and destinations, want %s", when, got, want)
	}
	e.server.ResetCounts()
}

// context returns a context that acts for a user, or the system if name is "", in a tenant.
func (e *endToEnd) context(tenant, name string) context.Context {
	ctx := tokensource.WithTenant(context.Background(), tenant)
	if name == "" {
		return ctx
	}
	return tokensource.WithUserToken(ctx, e.server.UserToken(agwtest.User{Name: name, Tenant: tenant}))
}

func TestRequestCounts(t *testing.T) {
	t.Parallel()
	e := startEndToEnd(t, "")
	system, alice := e.context("acme", ""), e.context("acme", "alice")

	mustAccessToken(t, e.source, system)
	e.assertRequests(t, "first system token", 1, 1, 1)
	mustAccessToken(t, e.source, alice)
	e.assertRequests(t, "first user token of the tenant", 0, 1, 1)
	mustAccessToken(t, e.source, e.context("acme", "bob"))
	e.assertRequests(t, "second user token of the tenant", 0, 0, 1)
	mustAccessToken(t, e.source, system)
	mustAccessToken(t, e.source, alice)
	e.assertRequests(t, "cached tokens", 0, 0, 0)

	for _, ctx := range []context.Context{system, alice} {
		if !e.source.Invalidate(mustAccessToken(t, e.source, ctx)) {
			t.Fatal("the token was not dropped")
		}
		mustAccessToken(t, e.source, ctx)
		e.assertRequests(t, "after Invalidate", 0, 0, 1)
	}
}

func TestRequestCountOfClientID(t *testing.T) {
	t.Parallel()
	e := startEndToEnd(t, "")
	for range 3 {
		id, err := e.flow.ClientID(t.Context())
		if err != nil || id != e.server.ClientID() {
			t.Fatalf("got client id %q and error %v, want %q", id, err, e.server.ClientID())
		}
	}
	e.assertRequests(t, "client id, three times", 1, 0, 1)
}

func TestRequestCountsOfManyAtOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		user         func(i int) string
		destinations int
	}{
		{"20 system callers", func(int) string { return "" }, 1},
		{"20 callers as 20 users", func(i int) string { return fmt.Sprint("user", i) }, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEndToEnd(t, "")
			var group sync.WaitGroup
			for i := range 20 {
				ctx := e.context("acme", tt.user(i))
				group.Go(func() {
					if _, err := e.source.AccessToken(ctx); err != nil {
						t.Errorf("caller %d: %v", i, err)
					}
				})
			}
			group.Wait()
			e.assertRequests(t, tt.name, 1, 1, tt.destinations)
		})
	}
}

func TestRenewedSecretOverTLS(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := startEndToEnd(t, root)
	ctx := e.context("acme", "")
	mustAccessToken(t, e.source, ctx)

	if err := e.server.RotateCredentials(); err != nil {
		t.Fatalf("rotation: %v", err)
	}
	if err := e.server.WriteDestinationBinding(root); err != nil {
		t.Fatal(err)
	}
	e.server.RefuseOldCredentials()
	e.server.ResetCounts()
	mustAccessToken(t, e.source, ctx)
	e.assertRequests(t, "cached token after the secret was renewed", 0, 0, 0)
	mustAccessToken(t, e.source, e.context("acme", "alice"))
	e.assertRequests(t, "user of a tenant whose service token is cached", 0, 1, 1)
	mustAccessToken(t, e.source, e.context("umbrella", ""))
	e.assertRequests(t, "tenant without a service token", 1, 1, 1)

	// Now the old secret is refused before the new one is there.
	if err := e.server.RotateCredentials(); err != nil {
		t.Fatalf("rotation: %v", err)
	}
	e.server.RefuseOldCredentials()
	if _, err := e.source.AccessToken(e.context("globex", "")); err == nil {
		t.Fatal("the old secret is accepted")
	}
	if err := e.server.WriteDestinationBinding(root); err != nil {
		t.Fatal(err)
	}
	e.server.ResetCounts()
	if _, err := e.flow.ClientID(t.Context()); err != nil {
		t.Fatalf("ClientID with the new secret: %v", err)
	}
	e.assertRequests(t, "client id with the new secret", 1, 0, 1)
	mustAccessToken(t, e.source, e.context("globex", ""))
	e.assertRequests(t, "the tenant for which the old secret was refused", 1, 1, 1)
}
