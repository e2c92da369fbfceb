package lob_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// TestServiceTokenRefusedTwice: a service token that is refused again within 10 s is
// not replaced. That is a passing failure: a user's token that is still valid is
// served meanwhile.
func TestServiceTokenRefusedTwice(t *testing.T) {
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	var ahead atomic.Int64
	begin := time.Now()
	clock := func() cache.Instant {
		d := time.Since(begin) + time.Duration(ahead.Load())
		return cache.At(d, begin.Add(d))
	}
	b := srv.DestinationBinding()
	creds := &lob.Credentials{Landscape: "agwtest", Binding: lob.Binding{
		ClientID: b["clientid"], ClientSecret: b["clientsecret"], URL: b["url"], URI: b["uri"], IdentityZone: b["identityzone"],
	}}
	base := srv.Transport()
	defer base.CloseIdleConnections()
	flow, err := lob.NewFlow(creds, &lob.Options{Base: base, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer flow.CloseIdleConnections()
	src, err := tokensource.New(flow, tokensource.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	get := func(user string) error {
		ctx := tokensource.WithTenant(tokensource.WithUserToken(t.Context(), user), "t1")
		_, err := src.TokenContext(ctx)
		return err
	}
	alice, bob := srv.UserToken(agwtest.User{Name: "alice", Tenant: "t1"}), srv.UserToken(agwtest.User{Name: "bob", Tenant: "t1"})
	srv.Destinations.SetLifetime(12 * time.Second)
	if err := get(alice); err != nil {
		t.Fatal(err)
	}
	srv.RevokeServiceTokens()
	if err := get(bob); err != nil { // replaces the service token
		t.Fatal(err)
	}
	srv.RevokeServiceTokens()
	ahead.Store(int64(8 * time.Second)) // alice's token is in its buffer, for 4 s more
	if err := get(alice); err != nil {
		t.Errorf("her token is valid, but: %v", err)
	}
	if n := src.Stats().UserTokens; n != 2 {
		t.Errorf("%d user tokens are cached, want 2", n)
	}
}
