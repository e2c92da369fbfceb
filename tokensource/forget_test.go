package tokensource_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

var aliceInAcme = tokensource.UserSubject("alice").In("acme")

func asAliceInAcme(ctx context.Context) context.Context {
	return tokensource.WithTenant(asUser(ctx, "alice"), "acme")
}

// A way to make a source forget alice in acme.
type wayToForget struct {
	name        string
	forget      func()
	endsWaiting bool // with ErrForgotten
}

// forgetsAlice runs test for each way to make a source forget alice in acme.
func forgetsAlice(t *testing.T, test func(t *testing.T, bed *testbed, way wayToForget)) {
	t.Helper()
	t.Run("Forget", func(t *testing.T) {
		inBubble(t, func(t *testing.T, bed *testbed) {
			test(t, bed, wayToForget{"Forget", func() {
				if err := bed.source.Forget(aliceInAcme); err != nil {
					t.Errorf("Forget(%v) failed: %v", aliceInAcme, err)
				}
			}, true})
		})
	})
	t.Run("Purge", func(t *testing.T) {
		inBubble(t, func(t *testing.T, bed *testbed) { test(t, bed, wayToForget{"Purge", bed.source.Purge, false}) })
	})
}

func TestForgottenTokenIsNotServed(t *testing.T) {
	forgetsAlice(t, func(t *testing.T, bed *testbed, way wayToForget) {
		old := bed.token(asAliceInAcme(t.Context()))
		way.forget()
		if n := bed.source.Stats().UserTokens; n != 0 {
			t.Errorf("%d user tokens are cached, want none", n)
		}
		if bed.token(asAliceInAcme(t.Context())) == old {
			t.Error("a forgotten token is served")
		}
		if n := len(bed.events.ofKind(tokensource.EventForget)); n != 1 {
			t.Errorf("got %d events %q, want 1", n, tokensource.EventForget)
		}
	})
}

// A forgotten fetch leaves nothing behind. After Forget, those who wait for it fail at
// once: they act for a user who has logged out. After Purge, they get its result.
func TestForgetDuringAFetch(t *testing.T) {
	forgetsAlice(t, func(t *testing.T, bed *testbed, way wayToForget) {
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		failed := make(chan []error)
		go func() {
			_, errs := bed.callAtOnce(asAliceInAcme(t.Context()), 10)
			failed <- errs
		}()
		time.Sleep(500 * time.Millisecond)
		way.forget()
		if n := bed.source.Stats().InFlight; n != 0 {
			t.Errorf("%d fetches count as under way, want none", n)
		}
		errs := <-failed
		for _, err := range errs {
			if err != tokensource.ErrForgotten {
				t.Errorf("a caller who waited during %s: got error %#v, want ErrForgotten itself: no fetch has failed", way.name, err)
			}
		}
		if way.endsWaiting != (len(errs) == 10) || !way.endsWaiting && len(errs) > 0 {
			t.Errorf("%d of 10 callers who waited during %s failed, want all: %t", len(errs), way.name, way.endsWaiting)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := bed.source.Stats().UserTokens; n != 0 {
			t.Errorf("after the forgotten fetch: %d user tokens are cached, want none", n)
		}
		bed.assertRequests(1, "the callers share the forgotten fetch")
		bed.token(asAliceInAcme(t.Context()))
		bed.assertRequests(2, "its result is not cached")
	})
}

// Who comes after the log-out does not get what was fetched before it.
func TestForgetSeparatesBeforeFromAfter(t *testing.T) {
	forgetsAlice(t, func(t *testing.T, bed *testbed, way wayToForget) {
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		before := make(chan *tokensource.Token)
		go func() {
			token, err := bed.call(asAliceInAcme(t.Context()))
			if way.endsWaiting != errors.Is(err, tokensource.ErrForgotten) {
				t.Errorf("a caller who waited during %s: got error %v, want ErrForgotten: %t", way.name, err, way.endsWaiting)
			}
			before <- token
		}()
		time.Sleep(500 * time.Millisecond)
		way.forget()
		after := bed.token(asAliceInAcme(t.Context()))
		if <-before == after {
			t.Error("a call after the log-out joined a fetch from before it")
		}
		synctest.Wait()
		if bed.token(asAliceInAcme(t.Context())) != after {
			t.Error("the result of the forgotten fetch replaced the newer one")
		}
		bed.assertRequests(2, "one before, one after")
	})
}

func TestForgottenFailure(t *testing.T) {
	forgetsAlice(t, func(t *testing.T, bed *testbed, way wayToForget) {
		bed.flow.setFetch(failingWith(notFound))
		bed.failure(asAliceInAcme(t.Context()))
		way.forget()
		if n := bed.source.Stats().Histories; n != 0 {
			t.Errorf("%d histories are kept, want none", n)
		}

		bed.flow.setFetch(afterDelay(time.Second, failingWith(notFound)))
		failed := make(chan error)
		go func() {
			_, err := bed.call(asAliceInAcme(t.Context()))
			failed <- err
		}()
		time.Sleep(500 * time.Millisecond)
		way.forget()
		err := <-failed
		if e := (*tokensource.Error)(nil); !way.endsWaiting && (!errors.As(err, &e) || e.StatusCode != 404 || !e.NextAttempt.IsZero()) {
			t.Errorf("caller of a forgotten fetch: got error %v, want the 404 without a next attempt, as nobody backs off", err)
		}
		if way.endsWaiting && !errors.Is(err, tokensource.ErrForgotten) {
			t.Errorf("caller of a forgotten fetch: got error %v, want ErrForgotten", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := bed.source.Stats().Histories; n != 0 {
			t.Errorf("after a forgotten fetch that failed: %d histories are kept, want none", n)
		}

		bed.flow.setFetch(tokenLivingFor(time.Hour))
		bed.token(asAliceInAcme(t.Context()))
	})
}

// A forgotten rejection does not protect the next token from being dropped.
func TestForgottenRejection(t *testing.T) {
	forgetsAlice(t, func(t *testing.T, bed *testbed, way wayToForget) {
		bed.source.Invalidate(bed.token(asAliceInAcme(t.Context())))
		way.forget()
		if !bed.source.Invalidate(bed.token(asAliceInAcme(t.Context()))) {
			t.Error("a token was not dropped because of a rejection that is forgotten")
		}
	})
}

// Whatever a forgotten fetch fails with, its callers get an *Error.
func TestErrorOfAForgottenFetchIsTyped(t *testing.T) {
	forgetsAlice(t, func(t *testing.T, bed *testbed, way wayToForget) {
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			time.Sleep(time.Second)
			panic(secret)
		})
		time.AfterFunc(500*time.Millisecond, way.forget)
		if way.endsWaiting {
			if _, err := bed.call(asAliceInAcme(t.Context())); !errors.Is(err, tokensource.ErrForgotten) {
				t.Errorf("got %v, want ErrForgotten", err)
			}
			return
		}
		if err := bed.failure(asAliceInAcme(t.Context())); err.Kind != tokensource.Temporary || err.Op == "" {
			t.Errorf("got %#v, want a temporary error that says what failed", err)
		}
	})
}

// A caller who waits for the renewal of a token in its buffer is not served the old token
// once the subject is forgotten.
func TestForgetWhileACallerWaitsInTheBuffer(t *testing.T) {
	forgetsAlice(t, func(t *testing.T, bed *testbed, way wayToForget) {
		old := bed.token(asAliceInAcme(t.Context()))
		time.Sleep(bufferStart)
		bed.flow.setFetch(afterDelay(10*time.Second, tokenLivingFor(time.Hour)))
		time.AfterFunc(500*time.Millisecond, way.forget)
		if token, err := bed.call(asAliceInAcme(t.Context())); token == old {
			t.Errorf("500 ms after %s: got the old token %v and error %v", way.name, token, err)
		}
	})
}

// Forget reaches what earlier clients have obtained: one of them may come back.
func TestForgetAfterARotation(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(asAliceInAcme(t.Context()))
		bed.flow.setClient("two")
		if err := bed.source.Forget(aliceInAcme); err != nil {
			t.Errorf("Forget(%v) failed: %v", aliceInAcme, err)
		}
		bed.flow.setClient("one")
		if bed.token(asAliceInAcme(t.Context())) == old {
			t.Error("a token from before the log-out is served, since its client is back")
		}
	})
}

// A call that waits when its subject is forgotten fails, also if another client came into
// force before that.
func TestForgetAfterARotationDuringAFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(afterDelay(time.Second, tokenLivingFor(time.Hour)))
		time.AfterFunc(300*time.Millisecond, func() { bed.flow.setClient("two") })
		time.AfterFunc(600*time.Millisecond, func() {
			if err := bed.source.Forget(aliceInAcme); err != nil {
				t.Errorf("Forget(%v) failed: %v", aliceInAcme, err)
			}
		})
		if token, err := bed.call(asAliceInAcme(t.Context())); !errors.Is(err, tokensource.ErrForgotten) {
			t.Errorf("a call that waited during the log-out: got token %v and error %v, want ErrForgotten", token, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := bed.source.Stats().UserTokens; n != 0 {
			t.Errorf("after the log-out, %d user tokens are cached, want none", n)
		}
	})
}

func TestForgetIsExact(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		system := bed.token(t.Context())
		provider := bed.token(asUser(t.Context(), "alice"))
		bed.token(asAliceInAcme(t.Context()))
		if err := bed.source.Forget(aliceInAcme); err != nil {
			t.Errorf("Forget(%v) failed: %v", aliceInAcme, err)
		}
		if bed.token(t.Context()) != system {
			t.Error("Forget of a user dropped the system token")
		}
		if bed.token(asUser(t.Context(), "alice")) != provider {
			t.Error("Forget of alice in acme dropped her token in another tenant")
		}
		bed.assertRequests(3, "one for each subject")

		if err := bed.source.Forget(tokensource.SystemSubject().In("provider")); err != nil {
			t.Errorf("Forget of the flow's own tenant by its name failed: %v", err)
		}
		bed.token(t.Context())
		bed.assertRequests(4, "the system token of the flow's own tenant was forgotten by its name")

		if err := bed.source.Forget(tokensource.UserSubject("Bearer alice ")); err != nil {
			t.Errorf("Forget with the value of a header failed: %v", err)
		}
		bed.token(asUser(t.Context(), "alice"))
		bed.assertRequests(5, "alice was forgotten by the value of her Authorization header")
	})
}

func TestForgetFails(t *testing.T) {
	tests := []struct {
		name    string
		subject tokensource.Subject
		want    error
	}{
		{"blank user", tokensource.UserSubject(" Bearer "), tokensource.ErrNoUserToken},
		{"not a user token", tokensource.UserSubject("Basic YWxpY2U="), tokensource.ErrBadUserToken},
		{"zero subject", tokensource.Subject{}, tokensource.ErrNoSubject},
		{"zero subject in a tenant", tokensource.Subject{}.In("acme"), tokensource.ErrNoSubject},
		{"invalid tenant", tokensource.SystemSubject().In("invalid"), errTenant},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, bed *testbed) {
				for _, ctx := range fourSubjects(t.Context()) {
					bed.token(ctx)
				}
				if err := bed.source.Forget(tt.subject); !errors.Is(err, tt.want) {
					t.Errorf("Forget(%v): got error %v, want %v", tt.subject, err, tt.want)
				}
				for _, ctx := range fourSubjects(t.Context()) {
					bed.token(ctx)
				}
				bed.assertRequests(4, "a Forget that fails drops nothing")
				if n := len(bed.events.ofKind(tokensource.EventForget)); n != 0 {
					t.Errorf("got %d events %q, want none", n, tokensource.EventForget)
				}
			})
		})
	}
}

// RequireUser is about calls. A system token that came before can be forgotten.
func TestForgetTheSystemThoughAUserIsRequired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bed := newTestbed(t, tokensource.Options{RequireUser: true})
		if err := bed.source.Forget(tokensource.SystemSubject()); err != nil {
			t.Errorf("got error %v, want none", err)
		}
	})
}

func TestPurgeDropsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		for _, ctx := range fourSubjects(t.Context()) {
			bed.token(ctx)
		}
		bed.failureOnce(asUser(t.Context(), "bob"), userDenied)
		bed.source.Purge()
		stats := bed.source.Stats()
		if stats.SystemTokens+stats.UserTokens+stats.GatewayURLs+stats.Histories+stats.InFlight != 0 {
			t.Errorf("after Purge, something is left: %+v", stats)
		}
		if gateway, _ := bed.source.Gateway(t.Context()); gateway != nil {
			t.Errorf("after Purge, the gateway %v is known", gateway)
		}
		bed.token(asUser(t.Context(), "bob"))
	})
}
