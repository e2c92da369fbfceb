package lob_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// world is a flow against the double, over TLS.
type world struct {
	*agwtest.Server
	flow *lob.Flow
	src  *tokensource.Source
}

// start is startWith without options.
func start(t *testing.T, root string) *world {
	t.Helper()
	return startWith(t, root, agwtest.Options{}, lob.Options{}, tokensource.Options{})
}

// startWith brings up a double and a flow that has the double's binding in files or,
// if root is "", in the environment.
func startWith(t *testing.T, root string, server agwtest.Options, flowOpts lob.Options, opts tokensource.Options) *world {
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
	flowOpts.Base = srv.Transport()
	flow, err := lob.NewFlow(creds, &flowOpts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(flow.CloseIdleConnections)
	src, err := tokensource.New(flow, opts)
	if err != nil {
		t.Fatal(err)
	}
	return &world{Server: srv, flow: flow, src: src}
}

func (w *world) expect(t *testing.T, what string, auth, fragments, destinations int) {
	t.Helper()
	c := w.Counts()
	got := fmt.Sprint(c.Auth, c.Fragments, c.Destination)
	if want := fmt.Sprint(auth, fragments, destinations); got != want {
		t.Errorf("%s: %s requests for service tokens, fragments, destinations; want %s", what, got, want)
	}
	w.ResetCounts()
}

func (w *world) asUser(tenant, name string) context.Context {
	ctx := tokensource.WithTenant(context.Background(), tenant)
	if name == "" {
		return ctx
	}
	return tokensource.WithUserToken(ctx, w.UserToken(agwtest.User{Name: name, Tenant: tenant}))
}

func (w *world) grant(t *testing.T, ctx context.Context) *tokensource.Grant {
	t.Helper()
	g, err := w.src.Grant(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestRequestCounts(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	system, alice := w.asUser("acme", ""), w.asUser("acme", "alice")

	w.grant(t, system)
	w.expect(t, "cold system token", 1, 1, 1)
	w.grant(t, alice)
	w.expect(t, "first user token of the tenant", 0, 1, 1)
	w.grant(t, w.asUser("acme", "bob"))
	w.expect(t, "second user token of the tenant", 0, 0, 1)
	w.grant(t, system)
	w.grant(t, alice)
	w.expect(t, "warm", 0, 0, 0)

	for _, ctx := range []context.Context{system, alice} {
		if !w.src.Invalidate(w.grant(t, ctx)) {
			t.Fatal("the grant was not dropped")
		}
		w.grant(t, ctx)
		w.expect(t, "renewed token", 0, 0, 1)
	}
}

func TestRequestCountOfClientID(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	for range 3 {
		id, err := w.flow.ClientID(t.Context())
		if err != nil || id != w.ClientID() {
			t.Fatalf("client id %q, %v", id, err)
		}
	}
	w.expect(t, "client id", 1, 0, 1)
}

func TestRequestCountsOfManyAtOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		what         string
		user         func(i int) string
		destinations int
	}{
		{"20 system callers", func(int) string { return "" }, 1},
		{"20 callers as 20 users", func(i int) string { return fmt.Sprint("user", i) }, 20},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			w := start(t, "")
			var group sync.WaitGroup
			for i := range 20 {
				ctx := w.asUser("acme", tt.user(i))
				group.Go(func() {
					if _, err := w.src.Grant(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			w.expect(t, tt.what, 1, 1, tt.destinations)
		})
	}
}
