package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// These tests are about contexts that remember where the token of their last call is
// cached. rememberToken makes the calls after which ctx remembers: the first one fetches
// or finds the token, the second one looks it up, the third one remembers.
func (b *testbed) rememberToken(ctx context.Context) *tokensource.Token {
	b.t.Helper()
	token := b.token(ctx)
	for range 2 {
		if again := b.token(ctx); again != token {
			b.t.Fatalf("a hit returned %v, want the cached token %v", again, token)
		}
	}
	return token
}

// Two sources find their own tokens with the same context.
func TestContextUsedWithTwoSources(t *testing.T) {
	inBubble(t, func(t *testing.T, first *testbed) {
		second := newTestbed(t, tokensource.Options{})
		second.flow.setClient("two")
		for i, ctx := range fourSubjects(t.Context()) {
			for range 3 {
				assertTokenOfClient(t, first.rememberToken(ctx), "one", fmt.Sprintf("subject %d of the first source", i))
				assertTokenOfClient(t, second.rememberToken(ctx), "two", fmt.Sprintf("subject %d of the second source", i))
			}
		}
		first.assertRequests(4, "one for each subject")
		second.assertRequests(4, "one for each subject")
	})
}

// Two sources of flows with equal identities do not share their tokens, either: they may
// be of two services.
func TestContextUsedWithTwoSourcesOfEqualIdentity(t *testing.T) {
	inBubble(t, func(t *testing.T, first *testbed) {
		second := newTestbed(t, tokensource.Options{})
		second.flow.identity.Store(first.flow.Identity()) // the same pointer
		ctx := asUser(t.Context(), "alice")
		for range 3 {
			if first.rememberToken(ctx) == second.rememberToken(ctx) {
				t.Fatal("two sources served the same token")
			}
		}
		first.assertRequests(1, "each source has a token of its own")
		second.assertRequests(1, "each source has a token of its own")
	})
}

func TestContextUsedWithTwoIdentities(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		ctx := asUser(t.Context(), "alice")
		for _, client := range []string{"one", "two", "three"} {
			bed.flow.setClient(client)
			assertTokenOfClient(t, bed.rememberToken(ctx), client, "client in force: "+client)
		}
		bed.assertRequests(3, "one for each client")
	})
}

// A movingFlow says that its own tenant is own, and ignores what a call requests.
type movingFlow struct {
	*scriptedFlow
	own string
}

func (f *movingFlow) Tenant(context.Context, string) (string, error) { return f.own, nil }

// The flow can decide on another tenant for the same context.
func TestContextUsedWithTwoTenantsOfTheFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow := &movingFlow{scriptedFlow: newFlow()}
		bed := newTestbedOver(t, flow, flow.scriptedFlow, tokensource.Options{})
		ctx := asUser(t.Context(), "alice")
		for _, flow.own = range []string{"a", "b", "a", "b"} {
			if got := bed.rememberToken(ctx).AccessToken(); !isTokenOf(got, flow.own, "alice") {
				t.Errorf("the flow's tenant is %s: got token %s", flow.own, got)
			}
		}
		bed.assertRequests(2, "one for each tenant")
	})
}

// Sources made by For complete a context by different tenants.
func TestContextUsedWithTwoDefaultTenants(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		shared := bed.source
		for i, ctx := range []context.Context{t.Context(), asUser(t.Context(), "alice"), tokensource.WithSystemToken(t.Context())} {
			for range 3 {
				for _, tenant := range []string{"a", "b"} {
					bed.source = shared.For(tokensource.SystemSubject().In(tenant))
					if got := bed.rememberToken(ctx).AccessToken(); !strings.HasPrefix(got, tenant+"/") {
						t.Errorf("context %d, default tenant %s: got token %s", i, tenant, got)
					}
				}
			}
		}
		bed.assertRequests(4, "two subjects in two tenants")
	})
}

// A context that remembers a token does not serve it once it has left the cache.
func TestRemovedTokenIsNotServedFromAContext(t *testing.T) {
	tests := []struct {
		name   string
		remove func(t *testing.T, bed *testbed, token *tokensource.Token)
	}{
		{"Forget", func(t *testing.T, bed *testbed, _ *tokensource.Token) {
			if err := bed.source.Forget(tokensource.UserSubject("alice")); err != nil {
				t.Fatal(err)
			}
		}},
		{"Purge", func(_ *testing.T, bed *testbed, _ *tokensource.Token) { bed.source.Purge() }},
		{"Invalidate", func(t *testing.T, bed *testbed, token *tokensource.Token) {
			if !bed.source.Invalidate(token) {
				t.Fatal("the token was not dropped")
			}
		}},
		{"eviction", func(t *testing.T, bed *testbed, _ *tokensource.Token) {
			for i := range 10 { // a token in use is spared for a while
				bed.token(asNumberedUser(t.Context(), i))
			}
		}},
		{"renewal", func(t *testing.T, bed *testbed, token *tokensource.Token) {
			time.Sleep(latestRenewal)
			if bed.token(asUser(t.Context(), "alice")) != token {
				t.Fatal("a due token was not served during its renewal")
			}
			synctest.Wait()
		}},
		{"another client", func(_ *testing.T, bed *testbed, _ *tokensource.Token) { bed.flow.setClient("two") }},
		{"expiry", func(*testing.T, *testbed, *tokensource.Token) { time.Sleep(expiry) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bed := newTestbed(t, tokensource.Options{Settings: tokensource.Settings{MaxUserTokens: 2}})
				ctx, other := asUser(t.Context(), "alice"), asUser(t.Context(), "alice")
				old := bed.rememberToken(ctx)
				bed.rememberToken(other)
				tt.remove(t, bed, old)
				for i, ctx := range []context.Context{ctx, other, asUser(t.Context(), "alice")} {
					if bed.rememberToken(ctx) == old {
						t.Errorf("context %d: got the token that has left the cache, want another one", i)
					}
				}
			})
		})
	}
}

// If the service denies the renewal of a token, contexts that remember it do not serve it.
func TestDeniedTokenIsNotServedFromAContext(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		ctx := asUser(t.Context(), "alice")
		bed.rememberToken(ctx)
		time.Sleep(latestRenewal)
		bed.flow.setFetch(failingWith(userDenied))
		bed.token(ctx) // sets the renewal off
		synctest.Wait()
		if err := bed.failure(ctx); err.Code != userDenied.Code {
			t.Errorf("after the denial: got error %v, want code %s", err, userDenied.Code)
		}
	})
}

// What a context remembers is served by the same rules as what is looked up.
func TestRememberedTokenIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		ctx := asUser(t.Context(), "alice")
		old := bed.rememberToken(ctx)
		time.Sleep(earliestRenewal - 1)
		bed.token(ctx)
		synctest.Wait()
		bed.assertRequests(1, "a fresh token is not renewed")
		time.Sleep(latestRenewal - earliestRenewal + 1)
		if bed.token(ctx) != old {
			t.Error("a due token is not served during its renewal")
		}
		synctest.Wait()
		bed.assertRequests(2, "a due token is renewed")
		if bed.rememberToken(ctx) == old {
			t.Error("the old token is served after its renewal")
		}
	})
}

// A blank user, a subject that is needed and a tenant that is invalid are noticed however
// often a context was used.
func TestRememberedContextsAreChecked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow := newFlow()
		lenient := newTestbedOver(t, flow, flow, tokensource.Options{})
		strict := newTestbedOver(t, flow, flow, tokensource.Options{RequireUser: true})
		ctx := tokensource.WithSystemToken(t.Context())
		for range 3 {
			lenient.rememberToken(ctx)
			if _, err := strict.call(ctx); err == nil {
				t.Error("a source that requires a user served the system token, because another source remembered it")
			}
		}
	})
}

// The second hit with a context takes no lock: it succeeds while all are held.
func TestHitTakesNoLock(t *testing.T) {
	t.Parallel()
	source, err := tokensource.New(newFlow(), tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ctx := range fourSubjects(t.Context()) {
		if _, err := source.AccessToken(ctx); err != nil { // fetches
			t.Fatal(err)
		}
	}
	subjects := fourSubjects(t.Context())
	for _, ctx := range subjects {
		if _, err := source.AccessToken(ctx); err != nil { // looks up, and remembers
			t.Fatal(err)
		}
	}
	unlock := source.LockEverything()
	hits := make(chan error)
	go func() {
		defer close(hits)
		for _, ctx := range subjects {
			_, err := source.AccessToken(ctx)
			hits <- err
		}
	}()
	for i := range subjects {
		select {
		case err := <-hits:
			if err != nil {
				t.Errorf("subject %d: got error %v, want the token that the context remembers", i, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("subject %d: a hit waits for a lock, want none to be taken", i)
			unlock()
			for range hits { // so that the goroutine ends
			}
			return
		}
	}
	unlock()
}

// A hit allocates nothing. The longest user token tells whether it is hashed, too: hashing
// a token of that length needs a buffer of its own.
func TestHitAllocatesNothing(t *testing.T) {
	acme := tokensource.WithTenant(context.Background(), "acme")
	child, cancel := context.WithCancel(asUser(context.Background(), userTokens(1)[0]))
	defer cancel()
	contexts := []struct {
		name string
		ctx  context.Context
	}{
		{"no subject", context.Background()},
		{"tenant", acme},
		{"user", asUser(context.Background(), userTokens(1)[0])},
		{"user in tenant", asUser(acme, userTokens(1)[0])},
		{"user with a token of 16 KiB", asUser(context.Background(), strings.Repeat("x", 16<<10))},
		{"child of a user's context", child},
	}
	source, err := tokensource.New(newFlow(), tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sources := []struct {
		name   string
		source *tokensource.Source
	}{
		{"source", source},
		{"source for a tenant", source.For(tokensource.SystemSubject().In("acme"))},
		{"source for the zero subject in a tenant", source.For(tokensource.Subject{}.In("acme"))},
	}
	for _, s := range sources {
		for _, c := range contexts {
			_, err := s.source.AccessToken(c.ctx)
			if errors.Is(err, tokensource.ErrNoSubject) {
				continue
			}
			if err != nil {
				t.Fatalf("%s, %s: got error %v, want a token", s.name, c.name, err)
			}
			allocs := testing.AllocsPerRun(100, func() {
				if _, err := s.source.AccessToken(c.ctx); err != nil {
					t.Error(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%s, %s: a hit allocates %v times, want none", s.name, c.name, allocs)
			}
		}
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := source.Token(); err != nil {
			t.Error(err)
		}
	})
	if allocs > 1 {
		t.Errorf("Token allocates %v times, want once at most: for the caller's own copy", allocs)
	}
}

// Whatever happens at the same time, a context that many goroutines share leads each
// source to its own token for the subject, and never to one that was forgotten, or of a
// client that is not in force any more, before the call began.
func TestSharedContextsUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, first *testbed) {
		second := newTestbed(t, tokensource.Options{Settings: tokensource.Settings{MaxUserTokens: 3, MaxSystemTokens: 2}})
		beds := []*testbed{first, second}
		for i, bed := range beds {
			bed.flow.setClient(fmt.Sprintf("%d.0", i))
			bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
				time.Sleep(rand.N(100 * time.Millisecond))
				return responseLivingFor(rand.N(20*time.Second) + time.Second), nil
			})
		}
		type subject struct {
			ctx          context.Context
			subject      tokensource.Subject
			tenant, user string
		}
		var subjects []subject
		for _, tenant := range []string{"", "acme"} {
			for _, user := range []string{"", "alice", "bob"} {
				s := subject{tokensource.WithTenant(t.Context(), tenant), tokensource.SystemSubject().In(tenant), tenant, user}
				if user != "" {
					s.ctx, s.subject = asUser(s.ctx, user), tokensource.UserSubject(user).In(tenant)
				}
				if tenant == "" {
					s.tenant = "provider"
				}
				subjects = append(subjects, s)
			}
		}

		// forgottenAt has, by source and subject, how many requests there had been when the
		// subject was last forgotten. Later calls get a token of a later request.
		var mu sync.Mutex
		forgottenAt := [2][6]int64{}
		setForgotten := func(b, i int, requests int64) {
			mu.Lock()
			defer mu.Unlock()
			forgottenAt[b][i] = max(forgottenAt[b][i], requests)
		}
		getForgotten := func(b, i int) int64 {
			mu.Lock()
			defer mu.Unlock()
			return forgottenAt[b][i]
		}

		var goroutines sync.WaitGroup
		for range 16 {
			goroutines.Go(func() {
				for range 200 {
					b, i := rand.N(2), rand.N(len(subjects))
					bed, s := beds[b], subjects[i]
					forgotten, client := getForgotten(b, i), bed.flow.client()
					token, err := bed.call(s.ctx)
					if errors.Is(err, tokensource.ErrForgotten) {
						continue // by another goroutine
					}
					if err != nil {
						t.Errorf("source %d, %s in %s: got error %v", b, s.user, s.tenant, err)
						return
					}
					parts := strings.Split(token.AccessToken(), "/")
					gotClient := parts[2]
					number, err := strconv.ParseInt(parts[3], 10, 64)
					if err != nil {
						t.Error(err)
					}
					if parts[0] != s.tenant || parts[1] != s.user || gotClient[0] != client[0] {
						t.Errorf("source %d, %s in %s: got token %s", b, s.user, s.tenant, token.AccessToken())
					}
					if clientNumber(gotClient) < clientNumber(client) {
						t.Errorf("source %d: asked when client %s was in force: got token %s", b, client, token.AccessToken())
					}
					if number <= forgotten {
						t.Errorf("source %d, %s in %s: got token %s although the subject was forgotten after %d requests", b, s.user, s.tenant, token.AccessToken(), forgotten)
					}
					switch rand.N(50) {
					case 0:
						requests := bed.flow.requests.Load()
						if err := bed.source.Forget(s.subject); err != nil {
							t.Error(err)
						}
						setForgotten(b, i, requests)
					case 1:
						bed.source.Invalidate(token)
					case 2:
						bed.flow.renewCredentials()
					}
					time.Sleep(rand.N(100 * time.Millisecond))
				}
			})
		}
		goroutines.Go(func() {
			for n := range 50 {
				time.Sleep(300 * time.Millisecond)
				b := n % 2
				bed := beds[b]
				requests := bed.flow.requests.Load()
				bed.source.Purge()
				for i := range subjects {
					setForgotten(b, i, requests)
				}
				bed.flow.setClient(fmt.Sprintf("%d.%d", b, n+1))
			}
		})
		goroutines.Wait()
	})
}

// clientNumber returns the number after the dot of a client such as "0.17".
func clientNumber(client string) (n int) {
	_, digits, _ := strings.Cut(client, ".")
	_, _ = fmt.Sscan(digits, &n)
	return n
}
