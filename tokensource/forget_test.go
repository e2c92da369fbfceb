package tokensource_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

var alice = tokensource.Subject{Tenant: "acme", UserToken: "alice"}

func asAlice(t *testing.T) context.Context {
	t.Helper()
	return tokensource.WithTenant(user(t.Context(), alice.UserToken), alice.Tenant)
}

// ways are those to make a source forget alice.
var ways = map[string]func(*harness){
	"forget": func(h *harness) { h.Forget(alice) },
	"purge":  func(h *harness) { h.Purge() },
}

func TestForget(t *testing.T) {
	for name, forget := range ways {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				old := h.token(asAlice(t))
				forget(h)
				if n := h.Stats().UserTokens; n != 0 {
					t.Errorf("%d tokens are cached", n)
				}
				if h.token(asAlice(t)) == old {
					t.Error("a forgotten token is served")
				}
				if n := h.events.count(tokensource.EventForget); n != 1 {
					t.Errorf("%d events, want 1", n)
				}
			})
		})
	}
}

func TestForgetDuringFetch(t *testing.T) {
	for name, forget := range ways {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				h.does(takes(time.Second, lives(time.Hour)))
				waiters := make(chan []error)
				go func() { waiters <- h.crowd(10, asAlice(t)) }()
				time.Sleep(500 * time.Millisecond)
				forget(h)
				if n := h.Stats().InFlight; n != 0 {
					t.Errorf("%d fetches count as under way", n)
				}
				if errs := <-waiters; len(errs) > 0 {
					t.Errorf("the result did not reach %d waiters: %v", len(errs), errs[0])
				}
				synctest.Wait()
				if n := h.Stats().UserTokens; n != 0 {
					t.Errorf("%d forgotten tokens are cached", n)
				}
				h.fetched(1)
				h.token(asAlice(t))
				h.fetched(2)
			})
		})
	}
}

// Who comes after the log-out does not get what was fetched before it.
func TestForgetSeparates(t *testing.T) {
	for name, forget := range ways {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				h.does(takes(time.Second, lives(time.Hour)))
				before := make(chan string)
				go func() { before <- h.token(asAlice(t)) }()
				time.Sleep(500 * time.Millisecond)
				forget(h)
				after := h.token(asAlice(t))
				if <-before == after {
					t.Error("joined a fetch from before")
				}
				synctest.Wait()
				if h.token(asAlice(t)) != after {
					t.Error("the late result replaced the newer one")
				}
				h.fetched(2)
			})
		})
	}
}

func TestForgetFailure(t *testing.T) {
	for name, forget := range ways {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *harness) {
				h.does(fails(permanent))
				h.mustFail(asAlice(t))
				forget(h)
				if n := h.Stats().Noted; n != 0 {
					t.Errorf("%d notes are kept", n)
				}
				h.does(takes(time.Second, fails(permanent)))
				failed := make(chan *tokensource.Error)
				go func() { failed <- h.mustFail(asAlice(t)) }()
				time.Sleep(500 * time.Millisecond)
				forget(h)
				if e := <-failed; !e.NextAttempt.IsZero() {
					t.Errorf("error %v tells of a rest that there is not", e)
				}
				synctest.Wait()
				if n := h.Stats().Noted; n != 0 {
					t.Errorf("%d notes are kept of a forgotten fetch", n)
				}
				h.does(lives(time.Hour))
				h.token(asAlice(t))
			})
		})
	}
}

// A forgotten fetch that fails without a type is an *Error nonetheless.
func TestForgetPanickingFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			time.Sleep(time.Second)
			panic(secret)
		})
		time.AfterFunc(500*time.Millisecond, h.Purge)
		if e := h.mustFail(t.Context()); e.Kind != tokensource.Passing || e.Op == "" {
			t.Errorf("error is %#v", e)
		}
	})
}

func TestForgetIsExact(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		technical := h.token(t.Context())
		other := h.token(user(t.Context(), "alice"))
		h.token(asAlice(t))
		h.Forget(alice)
		h.Forget(tokensource.Subject{Tenant: "bad"})
		h.Forget(tokensource.Subject{UserToken: " "}) // not the technical token
		if h.token(t.Context()) != technical || h.token(user(t.Context(), "alice")) != other {
			t.Error("another subject was forgotten")
		}
		h.fetched(3)
		h.Forget(tokensource.Subject{Tenant: "provider"}) // the flow's own by name
		h.token(t.Context())
		h.fetched(4)
		h.Forget(tokensource.Subject{UserToken: "Bearer alice"})
		h.token(user(t.Context(), "alice"))
		h.fetched(5)
	})
}

func TestPurgeDropsAll(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		for _, ctx := range subjects(t) {
			h.token(ctx)
		}
		h.Purge()
		if s := h.Stats(); s.SystemTokens+s.UserTokens+s.GatewayURLs+s.Noted+s.InFlight != 0 {
			t.Errorf("left behind: %+v", s)
		}
		if _, known := h.Gateway(t.Context()); known {
			t.Error("the gateway is known")
		}
	})
}
