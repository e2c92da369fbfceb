package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// A reloadingFlow is a scripted flow that can be told to read its credentials again.
type reloadingFlow struct {
	*scriptedFlow
	reloads atomic.Int64

	reloadMu sync.Mutex
	reload   func(context.Context) error
}

func (f *reloadingFlow) Reload(ctx context.Context) error {
	f.reloads.Add(1)
	f.reloadMu.Lock()
	reload := f.reload
	f.reloadMu.Unlock()
	return reload(ctx)
}

// setReload sets what the next calls of Reload do.
func (f *reloadingFlow) setReload(reload func(context.Context) error) {
	f.reloadMu.Lock()
	defer f.reloadMu.Unlock()
	f.reload = reload
}

// writeFile changes the credentials that the next call of Reload puts in force.
func (f *reloadingFlow) writeFile(client string) {
	var once sync.Once
	f.setReload(func(context.Context) error {
		once.Do(func() { f.setClient(client) })
		return nil
	})
}

// inBubbleReloading is inBubble for a flow that can be told to reload. Its file has the
// credentials that are in force.
func inBubbleReloading(t *testing.T, test func(t *testing.T, flow *reloadingFlow, bed *testbed)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow := &reloadingFlow{scriptedFlow: newFlow(), reload: func(context.Context) error { return nil }}
		test(t, flow, newTestbedOver(t, flow, flow.scriptedFlow, tokensource.Options{}))
	})
}

// denyingClientOne denies the client "one" with err, and issues tokens to all others.
func denyingClientOne(flow *scriptedFlow, err tokensource.Error) fetchFunc {
	return func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
		if flow.client() == "one" {
			return failingWith(err)(ctx, s)
		}
		return responseLivingFor(time.Hour), nil
	}
}

// denyingIdentity denies the credentials of id, and issues tokens to all others.
func denyingIdentity(flow *scriptedFlow, id *tokensource.Identity) fetchFunc {
	return func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
		if flow.Identity() == id {
			return failingWith(clientDenied)(ctx, s)
		}
		return responseLivingFor(time.Hour), nil
	}
}

func assertTokenOfClient(t *testing.T, token *tokensource.Token, client, when string) {
	t.Helper()
	if !isTokenOfClient(token.AccessToken(), client) {
		t.Errorf("%s: got token %s, want one of client %q", when, token.AccessToken(), client)
	}
}

// Once another client is in force, no token of the old one is served, and its gateway is
// not known.
func TestRotationWhileNothingIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		for _, ctx := range fourSubjects(t.Context()) {
			bed.token(ctx)
		}
		bed.flow.setClient("two")
		for _, ctx := range fourSubjects(t.Context()) {
			if gateway, _ := bed.source.Gateway(ctx); gateway != nil {
				t.Errorf("the gateway %v of the old client is known", gateway)
			}
		}
		for range 2 {
			for _, ctx := range fourSubjects(t.Context()) {
				assertTokenOfClient(t, bed.token(ctx), "two", "after the rotation")
			}
		}
		bed.assertRequests(8, "one for each of four subjects and two clients")
		if n := bed.source.Stats().Rotations; n != 1 {
			t.Errorf("counters: got %d rotations, want 1", n)
		}
	})
}

// A token is bound to every field of the identity.
func TestEveryFieldOfTheIdentityCounts(t *testing.T) {
	tests := []struct {
		name  string
		alter func(*tokensource.Identity)
	}{
		{"flow", func(id *tokensource.Identity) { id.Flow = "other" }},
		{"token endpoint", func(id *tokensource.Identity) { id.TokenEndpoint = "https://other.example" }},
		{"client id", func(id *tokensource.Identity) { id.ClientID = "other" }},
		{"resource", func(id *tokensource.Identity) { id.Resource = "other" }},
		{"gateway", func(id *tokensource.Identity) {
			id.GatewayURL = &url.URL{Scheme: "https", Host: "other.example"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				old := bed.token(t.Context())
				bed.flow.setIdentity(tt.alter)
				got := bed.token(t.Context())
				if got == old || got.Fingerprint() == old.Fingerprint() {
					t.Errorf("after another %s: got token %v, want one with another fingerprint than %v", tt.name, got, old)
				}
				bed.assertRequests(2, "one for each identity")
				if n := bed.source.Stats().Rotations; n != 1 {
					t.Errorf("counters: got %d rotations, want 1", n)
				}
			})
		})
	}
}

// A renewed certificate or secret of the same client leaves everything as it is.
func TestRenewedCredentialsKeepTheTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.source.Invalidate(bed.token(t.Context()))
		bed.failureOnce(asUser(t.Context(), "bob"), userDenied)
		subjects := fourSubjects(t.Context())
		var tokens []*tokensource.Token
		for _, ctx := range subjects {
			tokens = append(tokens, bed.token(ctx))
		}
		requests, before := bed.flow.requests.Load(), bed.source.Stats()

		bed.flow.renewCredentials()
		for i, ctx := range subjects {
			for range 2 { // the first one looks the token up, the second one remembers
				if got := bed.token(ctx); got != tokens[i] {
					t.Errorf("subject %d: after the renewal of the credentials, got another token %v", i, got)
				}
			}
			if gateway, _ := bed.source.Gateway(ctx); gateway == nil {
				t.Errorf("subject %d: after the renewal of the credentials, the gateway is not known", i)
			}
		}
		bed.assertRequests(requests, "no token is fetched again")
		if bed.source.Invalidate(tokens[0]) {
			t.Error("the renewal of the credentials made the rejection of a moment ago forgotten")
		}
		bed.failure(asUser(t.Context(), "bob"))
		bed.assertRequests(requests, "a user who was denied backs off, whatever the credentials")
		after := bed.source.Stats()
		if after.SystemTokens != before.SystemTokens || after.UserTokens != before.UserTokens || after.GatewayURLs != before.GatewayURLs || after.Histories != before.Histories {
			t.Errorf("the renewal of the credentials dropped something: had %+v, have %+v", before, after)
		}
		if n := after.Rotations; n != 0 {
			t.Errorf("counters: got %d rotations, want none, because the client is the same", n)
		}
	})
}

func TestRotationUnderLoad(t *testing.T) {
	inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
		flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			time.Sleep(rand.N(300 * time.Millisecond))
			return responseLivingFor(10 * time.Second), nil
		})
		var mu sync.Mutex
		served := make(map[string]bool)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var callers sync.WaitGroup
		for i := range 50 {
			callers.Go(func() {
				subject := fourSubjects(t.Context())[i%4]
				for ctx.Err() == nil {
					client := flow.client()
					token, err := bed.call(subject)
					if err != nil {
						t.Errorf("a call failed while the credentials were rotated: %v", err)
						return
					}
					if client == "two" {
						assertTokenOfClient(t, token, "two", "asked after the rotation")
					}
					mu.Lock()
					served[token.AccessToken()] = true
					mu.Unlock()
					time.Sleep(rand.N(100 * time.Millisecond))
				}
			})
		}
		time.AfterFunc(12*time.Second, func() { flow.writeFile("two") })
		callers.Wait()
		synctest.Wait()
		for _, subject := range fourSubjects(t.Context()) {
			token := bed.token(subject)
			assertTokenOfClient(t, token, "two", "long after the rotation")
			served[token.AccessToken()] = true
		}
		if extra := int(flow.requests.Load()) - len(served); extra > 4 {
			t.Errorf("the tokens of %d requests were served to nobody, want 4 at most: one for each subject", extra)
		}
		if n := bed.source.Stats().Rotations; n != 1 {
			t.Errorf("counters: got %d rotations, want 1", n)
		}
	})
}

// A call that begins when another client is in force never gets a token of an earlier
// one, however often the clients change.
func TestRotationIsSeenByEveryLaterCall(t *testing.T) {
	t.Parallel()
	flow := newFlow()
	flow.setClient("0")
	source, err := tokensource.New(flow, tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	numberOf := func(client string) (n int) {
		if _, err := fmt.Sscan(client, &n); err != nil {
			t.Errorf("client %q is not a number", client)
		}
		return n
	}
	const clients = 100
	var calls atomic.Int64
	subjects := fourSubjects(t.Context())
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for inForce := 0; inForce < clients; {
				inForce = numberOf(flow.client())
				token, err := source.AccessToken(subjects[i%4])
				calls.Add(1)
				if err != nil {
					if !strings.Contains(err.Error(), "keep changing") {
						t.Errorf("a call failed while the clients change: %v", err)
					}
					continue
				}
				if got := numberOf(strings.Split(token.AccessToken(), "/")[2]); got < inForce {
					t.Errorf("asked when client %d was in force: got a token of client %d", inForce, got)
				}
			}
		})
	}
	for n := 1; n <= clients; n++ {
		for before := calls.Load(); calls.Load() < before+5; {
			runtime.Gosched()
		}
		flow.setClient(fmt.Sprint(n))
	}
	callers.Wait()
}

// If another client comes into force during a fetch, its callers get a token of the new
// one, at the cost of one more request at most.
func TestRotationDuringAFetch(t *testing.T) {
	tests := []struct {
		name     string
		outcome  fetchFunc // for the old client
		rotateAt time.Duration
		requests int64
	}{
		{"the old client gets a token", tokenLivingFor(time.Hour), 500 * time.Millisecond, 2},
		{"the old client is denied", failingWith(clientDenied), 500 * time.Millisecond, 2},
		{"the user is denied", failingWith(userDenied), 500 * time.Millisecond, 2},
		{"the service is down", failingWith(unavailable), 500 * time.Millisecond, 2},
		{"permanent failure", failingWith(notFound), 500 * time.Millisecond, 2},
		{"between two attempts", failingWith(unavailable), 1050 * time.Millisecond, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				bed.flow.setFetch(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
					if bed.flow.client() == "one" {
						time.Sleep(time.Second)
						return tt.outcome(ctx, s)
					}
					return responseLivingFor(time.Hour), nil
				})
				time.AfterFunc(tt.rotateAt, func() { bed.flow.setClient("two") })
				tokens, errs := bed.callAtOnce(t.Context(), 100)
				if len(errs) > 0 || len(tokens) != 1 {
					t.Fatalf("100 callers who wait during the rotation: %d failed and the others got %d different tokens, want one token for all; errors: %.3v", len(errs), len(tokens), errs)
				}
				token := bed.token(t.Context())
				assertTokenOfClient(t, token, "two", "after the rotation")
				if tokens[token.AccessToken()] != 100 {
					t.Errorf("%d of 100 callers who waited got the token that is served later, want all", tokens[token.AccessToken()])
				}
				if got := bed.flow.requests.Load(); got > tt.requests {
					t.Errorf("got %d requests, want %d at most", got, tt.requests)
				}
			})
		})
	}
}

// Who asks after the rotation does not wait for a fetch of the old client, and is not
// served its result when that comes.
func TestCallAfterARotationDuringAFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			if bed.flow.client() == "one" {
				time.Sleep(10 * time.Second)
			}
			return responseLivingFor(time.Hour), nil
		})
		early := make(chan *tokensource.Token)
		go func() { early <- bed.token(t.Context()) }()
		time.Sleep(time.Second)
		bed.flow.setClient("two")

		start := time.Now()
		token := bed.token(t.Context())
		assertTokenOfClient(t, token, "two", "asked after the rotation")
		if waited := time.Since(start); waited != 0 {
			t.Errorf("asked after the rotation: waited %v for a fetch of the old client", waited)
		}
		if got := <-early; got != token {
			t.Errorf("asked before the rotation: got token %v, want the new client's %v", got, token)
		}
		synctest.Wait()
		if got := bed.token(t.Context()); got != token {
			t.Errorf("after the end of the old fetch: got token %v, want %v", got, token)
		}
		bed.assertRequests(2, "one extra request")
	})
}

// A renewal in the background has nobody who could begin anew: its result is of no use.
func TestRotationDuringARenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(t.Context())
		time.Sleep(latestRenewal)
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		if got := bed.token(t.Context()); got != old {
			t.Errorf("token due: got %v, want the old token", got)
		}
		time.Sleep(500 * time.Millisecond)
		bed.flow.setClient("two")
		for range 2 {
			assertTokenOfClient(t, bed.token(t.Context()), "two", "after the rotation")
			time.Sleep(time.Second)
			synctest.Wait()
		}
		bed.assertRequests(3, "the first token, its renewal that came too late, and the token of the new client")
	})
}

// A caller who waits for the renewal of a token in its buffer is not served the old token
// once another client is in force.
func TestRotationWhileACallerWaitsInTheBuffer(t *testing.T) {
	t.Run("the fetch sees it", func(t *testing.T) {
		inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
			bed.token(t.Context())
			time.Sleep(bufferStart)
			flow.writeFile("two")
			assertTokenOfClient(t, bed.token(t.Context()), "two", "after the file changed")
			bed.assertRequests(2, "one for each client")
		})
	})
	t.Run("the fetch hangs", func(t *testing.T) {
		inBubble(t, func(t *testing.T, bed *testbed) {
			bed.token(t.Context())
			time.Sleep(bufferStart)
			bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
				if bed.flow.client() == "one" {
					time.Sleep(10 * time.Second)
				}
				return responseLivingFor(time.Hour), nil
			})
			time.AfterFunc(500*time.Millisecond, func() { bed.flow.setClient("two") })
			assertTokenOfClient(t, bed.token(t.Context()), "two", "500 ms after the rotation")
		})
	})
}

// The credentials of one client can be renewed during a fetch. It is not known with which
// of them the service was asked, so it is asked again.
func TestRenewedCredentialsDuringAFetch(t *testing.T) {
	tests := []struct {
		name    string
		outcome fetchFunc // of the first request
	}{
		{"token", tokenLivingFor(time.Hour)},
		{"client denied", failingWith(clientDenied)},
		{"permanent failure", failingWith(notFound)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				bed.flow.setFetch(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
					if bed.flow.requests.Load() == 1 {
						time.Sleep(time.Second)
						return tt.outcome(ctx, s)
					}
					return responseLivingFor(time.Hour), nil
				})
				time.AfterFunc(500*time.Millisecond, bed.flow.renewCredentials)
				token := bed.token(t.Context())
				if !strings.HasSuffix(token.AccessToken(), "/2") {
					t.Errorf("got token %s, want that of the second request", token.AccessToken())
				}
				bed.assertRequests(2, "one extra request")
				if stats := bed.source.Stats(); stats.Fetches != 1 || stats.Failures != 0 || stats.Retries != 0 {
					t.Errorf("counters: got %d fetches, %d failures and %d retries, want 1, 0 and 0", stats.Fetches, stats.Failures, stats.Retries)
				}
			})
		})
	}
}

// A fetch reads the credentials again before it asks the service.
func TestFetchReloadsBeforeItAsks(t *testing.T) {
	tests := []struct {
		name      string
		client    string
		rotations uint64
	}{
		{"another client", "two", 1},
		{"other credentials of the same client", "one", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
				old := flow.Identity()
				flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
					if flow.Identity() == old {
						t.Error("the service was asked with the old credentials")
					}
					time.Sleep(time.Second)
					return responseLivingFor(time.Hour), nil
				})
				flow.writeFile(tt.client)
				first := make(chan *tokensource.Token)
				go func() { first <- bed.token(t.Context()) }()
				time.Sleep(500 * time.Millisecond)
				second := bed.token(t.Context())
				if got := <-first; got != second {
					t.Errorf("two callers at once got different tokens: %v and %v", got, second)
				}
				assertTokenOfClient(t, second, tt.client, "after the file changed")
				bed.assertRequests(1, "the change was seen before the first request")
				if stats := bed.source.Stats(); stats.Rotations != tt.rotations || stats.Shared != 1 {
					t.Errorf("counters: got %d rotations and %d shared, want %d and 1", stats.Rotations, stats.Shared, tt.rotations)
				}
			})
		})
	}
}

// The file can change while the service refuses the old credentials. It is read again
// then, and nobody notices.
func TestFetchReloadsAfterARefusal(t *testing.T) {
	for _, tt := range []struct{ name, client string }{
		{"another client", "two"},
		{"other credentials of the same client", "one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
				old := flow.Identity()
				flow.setFetch(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
					if flow.Identity() == old {
						flow.writeFile(tt.client)
						return failingWith(clientDenied)(ctx, s)
					}
					return responseLivingFor(time.Hour), nil
				})
				assertTokenOfClient(t, bed.token(t.Context()), tt.client, "after the refusal")
				bed.assertRequests(2, "one with the old credentials, one with the new ones")
			})
		})
	}
}

// If the user is denied, and not the client, there is no reason to read the file again.
func TestDenialOfAUserReloadsNothing(t *testing.T) {
	inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
		flow.setFetch(failingWith(userDenied))
		for range 100 {
			bed.failure(asUser(t.Context(), "alice"))
			time.Sleep(time.Millisecond)
		}
		if n := flow.reloads.Load(); n != 1 {
			t.Errorf("the file was read %d times for a user who is denied, want once, before the request", n)
		}
	})
}

// The backoff after refused credentials ends when others come into force.
func TestBackoffEndsWithTheRefusedCredentials(t *testing.T) {
	for _, tt := range []struct{ name, client string }{
		{"another client", "two"},
		{"other credentials of the same client", "one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				bed.flow.setFetch(denyingIdentity(bed.flow, bed.flow.Identity()))
				for range 3 {
					bed.failure(t.Context())
				}
				bed.assertRequests(1, "the subject backs off")
				bed.flow.setClient(tt.client)
				assertTokenOfClient(t, bed.token(t.Context()), tt.client, "at once after the rotation")
				bed.assertRequests(2, "one with the new credentials")
			})
		})
	}
}

// Other credentials of the same client say nothing about a service that is down.
func TestBackoffAfterAnOutageOutlivesTheCredentials(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(failingWith(unavailable))
		first := bed.failure(t.Context())
		bed.flow.renewCredentials()
		if err := bed.failure(t.Context()); err != first {
			t.Errorf("during the backoff, with renewed credentials: got error %v, want the old one, %v", err, first)
		}
		bed.assertRequests(3, "the attempts of one fetch")
	})
}

// While subjects back off because the credentials were refused, the file is read again
// once in a second.
func TestRefusedCredentialsAreReadAgainDuringTheBackoff(t *testing.T) {
	for _, tt := range []struct{ name, client string }{
		{"another client", "two"},
		{"other credentials of the same client", "one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
				flow.setFetch(denyingIdentity(flow.scriptedFlow, flow.Identity()))
				for range 200 { // 20 s: the backoff has grown to 16 s
					for _, subject := range fourSubjects(t.Context()) {
						bed.failure(subject)
					}
					time.Sleep(100 * time.Millisecond)
				}
				// At most 20 looks of callers who back off, and two for each of 4*5 fetches.
				if n := flow.reloads.Load(); n > 60 || n < 20 {
					t.Errorf("the file was read %d times in 20 s, want 20 to 60", n)
				}
				requests := flow.requests.Load()
				flow.writeFile(tt.client)
				time.Sleep(time.Second)
				assertTokenOfClient(t, bed.token(t.Context()), tt.client, "1 s after the file changed")
				bed.assertRequests(requests+1, "one with the new credentials")
			})
		})
	}
}

// Credentials that change with every request end in an error, not in an endless loop.
func TestCredentialsThatKeepChanging(t *testing.T) {
	tests := []struct {
		name     string
		change   func(*reloadingFlow)
		requests int64
	}{
		{"other credentials of the same client with each request", func(flow *reloadingFlow) {
			flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
				flow.renewCredentials()
				return responseLivingFor(time.Hour), nil
			})
		}, 5},
		{"other credentials of the same client after each refusal", func(flow *reloadingFlow) {
			flow.setFetch(failingWith(clientDenied))
			flow.setReload(func(context.Context) error {
				flow.renewCredentials()
				return nil
			})
		}, 5},
		{"another client with each request", func(flow *reloadingFlow) {
			flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
				flow.setClient(flow.client() + "+")
				return responseLivingFor(time.Hour), nil
			})
		}, 5},
		{"another client with each reading of the file", func(flow *reloadingFlow) {
			flow.setReload(func(context.Context) error {
				flow.setClient(flow.client() + "+")
				return nil
			})
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
				tt.change(flow)
				err := bed.failure(t.Context())
				if !err.Temporary() || !strings.Contains(err.Error(), "the credentials keep changing") {
					t.Errorf("got error %v (temporary: %v), want a temporary one that says that the credentials keep changing", err, err.Temporary())
				}
				bed.assertRequests(tt.requests, "no more than 5 rounds")

				flow.setFetch(tokenLivingFor(time.Hour))
				flow.setReload(func(context.Context) error { return nil })
				time.Sleep(time.Second)
				bed.token(t.Context())
			})
		})
	}
}

// A file that cannot be read leaves the old credentials in force.
func TestReloadFails(t *testing.T) {
	inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
		errFile := errors.New("credentials: unexpected end of JSON input")
		flow.setReload(func(context.Context) error { return errFile })
		assertTokenOfClient(t, bed.token(t.Context()), "one", "with a file that cannot be read")
		events := bed.events.ofKind(tokensource.EventReload)
		if len(events) != 1 || events[0].Err != errFile {
			t.Errorf("got events %+v, want one of kind %q with error %v", events, tokensource.EventReload, errFile)
		}
	})
}

// A Reload that misbehaves holds no caller longer than its context allows, and does no
// lasting harm.
func TestReloadMisbehaves(t *testing.T) {
	tests := []struct {
		name   string
		reload func(context.Context) error
	}{
		{"hangs until its context ends", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}},
		{"ignores its context", func(context.Context) error {
			time.Sleep(90 * time.Second)
			return nil
		}},
		{"panics", func(context.Context) error { panic(secret) }},
		{"ends its goroutine", func(context.Context) error {
			runtime.Goexit()
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
				healthy := func(context.Context) error { return nil }
				call := func(when string) {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
					start := time.Now()
					_, err := bed.call(ctx)
					if waited := time.Since(start); err == nil || waited > 100*time.Millisecond {
						t.Errorf("%s: caller who allows 100 ms got error %v after %v, want an error in time", when, err, waited)
					}
					assertHides(t, secret, err)
				}
				flow.setFetch(failingWith(clientDenied))
				flow.setReload(tt.reload)
				call("without a token")
				time.Sleep(2 * time.Minute)
				synctest.Wait()

				flow.setReload(healthy)
				bed.failure(t.Context())
				flow.setReload(tt.reload)
				call("during the backoff")
				time.Sleep(2 * time.Minute)
				call("after the backoff")
				time.Sleep(2 * time.Minute)
				synctest.Wait()

				flow.setReload(healthy)
				flow.setFetch(tokenLivingFor(time.Hour))
				bed.token(t.Context())
				assertHides(t, secret, bed.events.all())
			})
		})
	}
}

// A Reload that hangs does not take a token away that is good.
func TestReloadHangsDuringARenewal(t *testing.T) {
	inBubbleReloading(t, func(t *testing.T, flow *reloadingFlow, bed *testbed) {
		old := bed.token(t.Context())
		arrival := time.Now()
		flow.setReload(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		flow.setFetch(afterDelay(time.Millisecond, tokenLivingFor(time.Hour))) // unless the context has ended
		time.Sleep(latestRenewal)
		for time.Since(arrival) < bufferStart+20*time.Second {
			if got := bed.token(t.Context()); got != old {
				t.Fatalf("got another token %v, want the old one", got)
			}
			time.Sleep(time.Second)
		}
	})
}

// After a panic of Reload the old credentials stay in force, and the panic is reported.
func TestPanicOfAReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		flow := &reloadingFlow{scriptedFlow: newFlow(), reload: func(context.Context) error { panic(secret) }}
		bed := newTestbedOver(t, flow, flow.scriptedFlow, tokensource.Options{Logger: jsonLogger(&log)})
		assertTokenOfClient(t, bed.token(t.Context()), "one", "although Reload panicked")
		synctest.Wait() // for what is logged after the call
		if !strings.Contains(log.String(), "the flow panicked in Reload") || len(bed.events.ofKind(tokensource.EventReload)) != 1 {
			t.Errorf("a panic of Reload: want a line in the log and an event %q, got the log\n%s", tokensource.EventReload, log.String())
		}
		assertHides(t, secret, log.String(), bed.events.all())
	})
}

// A fetch that ends because its client was replaced is not a failure: its callers get a
// token of the new client.
func TestRotationIsNotAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		bed := newTestbed(t, tokensource.Options{Logger: jsonLogger(&log)})
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		time.AfterFunc(500*time.Millisecond, func() { bed.flow.setClient("two") })
		bed.token(t.Context())
		synctest.Wait()
		if n := bed.source.Stats().Failures; n != 0 {
			t.Errorf("counters: got %d failures, want none", n)
		}
		if strings.Contains(log.String(), "WARN") {
			t.Errorf("the log has a warning:\n%s", log.String())
		}
	})
}

// If the secret is renewed right after the service refused the old one, calls with the new
// one do not back off.
func TestRefusalIsThatOfTheCredentialsThatWereSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow := newFlow()
		var refused atomic.Bool
		bed := newTestbedOver(t, clockedFlow{flow, func() cache.Instant {
			if refused.Swap(false) { // when the failure is filed
				flow.renewCredentials()
			}
			return cache.Now()
		}}, flow, tokensource.Options{})
		old := flow.Identity()
		flow.setFetch(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if flow.Identity() == old {
				refused.Store(true)
				return failingWith(clientDenied)(ctx, s)
			}
			return responseLivingFor(time.Hour), nil
		})
		bed.failure(t.Context())
		if token, err := bed.call(t.Context()); err != nil {
			t.Errorf("with credentials that nobody has refused: got token %v and error %v, want a token", token, err)
		}
	})
}

// A call that begins anew because of rotations counts as shared once.
func TestSharedCallsAreCountedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		for i := range 3 {
			time.AfterFunc(time.Duration(i)*time.Second+500*time.Millisecond, func() { bed.flow.setClient(fmt.Sprint("client", i)) })
		}
		bed.callAtOnce(t.Context(), 3)
		if stats := bed.source.Stats(); stats.Shared > stats.Misses {
			t.Errorf("counters: got %d shared of %d misses, want at most as many", stats.Shared, stats.Misses)
		}
	})
}

// Between two attempts a fetch notices that its client has been replaced, before it asks
// again.
func TestRotationBetweenTwoAttempts(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(denyingClientOne(bed.flow, unavailable))
		time.AfterFunc(50*time.Millisecond, func() { bed.flow.setClient("two") })
		bed.token(t.Context())
		bed.assertRequests(2, "one of each client")
	})
}

// The generations of clients are apart in everything that is remembered of them.
func TestHistoryIsThatOfOneClient(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(denyingClientOne(bed.flow, unavailable))
		bed.failure(t.Context())
		bed.flow.setClient("two")
		token := bed.token(t.Context())
		assertTokenOfClient(t, token, "two", "although the service was down for the old client")
		if !bed.source.Invalidate(token) {
			t.Error("the first rejected token of the new client was not dropped")
		}
		kinds := []tokensource.EventKind{}
		for _, ev := range bed.events.all() {
			if ev.Kind == tokensource.EventRotate || ev.Kind == tokensource.EventReject {
				kinds = append(kinds, ev.Kind)
			}
		}
		if want := []tokensource.EventKind{tokensource.EventRotate, tokensource.EventReject}; !slices.Equal(kinds, want) {
			t.Errorf("got events %v, want %v", kinds, want)
		}
	})
}
