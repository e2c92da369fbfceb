package tokensource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// mounted is a fake whose credentials are in a file.
type mounted struct {
	*fake
	file    atomic.Pointer[string] // client id
	reloads atomic.Int64
	refused atomic.Pointer[string] // the client that the service refuses
	err     atomic.Pointer[error]  // of reading the file
}

func newMounted() *mounted {
	m := &mounted{fake: newFake()}
	m.write("one")
	m.refuse("")
	m.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
		client := m.Identity().ClientID
		time.Sleep(rand.N(300 * time.Millisecond))
		if client == *m.refused.Load() {
			return fails(badClient)(ctx, s)
		}
		return response(10 * time.Second), nil
	})
	return m
}

func (m *mounted) write(client string)  { m.file.Store(&client) }
func (m *mounted) refuse(client string) { m.refused.Store(&client) }

func (m *mounted) Reload(context.Context, bool) error {
	m.reloads.Add(1)
	if err := m.err.Load(); err != nil {
		return *err
	}
	if client := *m.file.Load(); client != m.Identity().ClientID {
		m.rotate(client)
	}
	return nil
}

func isOf(token, client string) bool { return strings.Contains(token, "/"+client+"/") }

// rotation runs test on a source of a mounted flow.
func rotation(t *testing.T, test func(*testing.T, *mounted, *harness)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMounted()
		h := newHarnessOver(t, m, m.fake, tokensource.Options{})
		test(t, m, h)
		h.balance()
	})
}

func TestRotationUnderLoad(t *testing.T) {
	rotation(t, func(t *testing.T, m *mounted, h *harness) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				who := subjects(t)[i%4]
				for ctx.Err() == nil {
					client := m.Identity().ClientID
					g, err := h.Grant(who)
					if err != nil {
						t.Errorf("a call failed: %v", err)
						return
					}
					if token := g.Token().AccessToken; client == "two" && isOf(token, "one") {
						t.Errorf("token %s of the old credentials is served", token)
					}
					time.Sleep(rand.N(100 * time.Millisecond))
				}
			})
		}
		time.AfterFunc(12*time.Second, func() { m.write("two") })
		wg.Wait()
		synctest.Wait()
		if token := h.token(t.Context()); !isOf(token, "two") {
			t.Errorf("token %s is none of the new credentials", token)
		}
		if s := h.Stats(); s.Rotations != 1 || s.Failures != 0 {
			t.Errorf("%d rotations, %d failures, want 1 and 0", s.Rotations, s.Failures)
		}
	})
}

// Old tokens go at once, even if the one who notices needs none.
func TestRotationDropsTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		for _, ctx := range subjects(t) {
			h.token(ctx)
		}
		h.rotate("two")
		if _, known := h.Gateway(t.Context()); known {
			t.Error("the old gateway is known")
		}
		if s := h.Stats(); s.SystemTokens+s.UserTokens+s.GatewayURLs != 0 {
			t.Errorf("left behind: %+v", s)
		}
		for _, ctx := range subjects(t) {
			if token := h.token(ctx); !isOf(token, "two") {
				t.Errorf("token %s of the old credentials is served", token)
			}
		}
	})
}

// A token that was requested with the old credentials is requested again.
func TestRotationDuringFetch(t *testing.T) {
	for _, outcome := range []fetch{lives(time.Hour), fails(badClient), fails(outage)} {
		inBubbleNow(t, func(t *testing.T, h *harness) {
			h.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
				if client := h.Identity().ClientID; client == "one" {
					time.Sleep(time.Second)
					return outcome(ctx, s)
				}
				return response(time.Hour), nil
			})
			time.AfterFunc(500*time.Millisecond, func() { h.rotate("two") })
			if token := h.token(t.Context()); !isOf(token, "two") {
				t.Errorf("token %s of the old credentials is served", token)
			}
			if token := h.token(t.Context()); !isOf(token, "two") {
				t.Errorf("token %s of the old credentials is cached", token)
			}
			h.fetched(2)
		})
	}
}

// Who notices new credentials first keeps its fetch, and others join it.
func TestRotationKeepsTheFetch(t *testing.T) {
	rotation(t, func(t *testing.T, m *mounted, h *harness) {
		m.does(takes(time.Second, lives(time.Hour)))
		m.write("two")
		first := make(chan string)
		go func() { first <- h.token(t.Context()) }()
		time.Sleep(500 * time.Millisecond)
		if second := h.token(t.Context()); second != <-first || !isOf(second, "two") {
			t.Errorf("got token %s", second)
		}
		h.fetched(1)
		if s := h.Stats(); s.Rotations != 1 || s.Shared != 1 {
			t.Errorf("%d rotations, %d shared, want 1 and 1", s.Rotations, s.Shared)
		}
	})
}

// The service refuses the old client first, and the file changes later.
func TestRefusedBeforeRotation(t *testing.T) {
	rotation(t, func(t *testing.T, m *mounted, h *harness) {
		h.token(t.Context())
		m.refuse("one")
		time.Sleep(10 * time.Second)
		h.mustFail(t.Context())
		for range 200 { // 20 s: the rest has grown to 16 s
			h.mustFail(t.Context())
			time.Sleep(100 * time.Millisecond)
		}
		if n := m.reloads.Load(); n > 40 {
			t.Errorf("%d looks at the file in 20 s", n)
		}
		m.write("two")
		time.Sleep(time.Second)
		if token := h.token(t.Context()); !isOf(token, "two") {
			t.Errorf("token %s is none of the new credentials", token)
		}
	})
}

// The file has changed already when the service refuses the old client: nobody notices.
func TestRefusedAfterRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		flow := reloadsIfRefused{h.fake}
		h = newHarnessOver(t, flow, h.fake, tokensource.Options{})
		h.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			if flow.Identity().ClientID == "one" {
				return fails(badClient)(ctx, s)
			}
			return response(time.Hour), nil
		})
		h.token(t.Context())
		h.fetched(2)
		h.balance()
	})
}

// reloadsIfRefused reads its file only if it has to.
type reloadsIfRefused struct{ *fake }

func (r reloadsIfRefused) Reload(_ context.Context, refused bool) error {
	if refused {
		r.rotate("two")
	}
	return nil
}

// The user is refused, not the client: there is no reason to look at the file.
func TestRefusedUserReloadsNothing(t *testing.T) {
	rotation(t, func(t *testing.T, m *mounted, h *harness) {
		m.does(fails(invalidGrant))
		for range 100 {
			h.mustFail(user(t.Context(), "alice"))
			time.Sleep(time.Millisecond)
		}
		if n := m.reloads.Load(); n != 1 {
			t.Errorf("%d looks at the file, want 1", n)
		}
	})
}

func TestReloadFails(t *testing.T) {
	rotation(t, func(t *testing.T, m *mounted, h *harness) {
		err := errors.New("credentials: unexpected end of JSON input")
		m.err.Store(&err)
		if token := h.token(t.Context()); !isOf(token, "one") {
			t.Errorf("token %s is none of the old credentials", token)
		}
		evs := h.events.of(tokensource.EventReload)
		if len(evs) != 1 || evs[0].Err != err {
			t.Errorf("events are %v, want one with the error", evs)
		}
	})
}

// hostile is a fake whose Reload does what it likes.
type hostile struct {
	*fake
	reload func(context.Context) error
}

func (h hostile) Reload(ctx context.Context, _ bool) error { return h.reload(ctx) }

func TestReloadMisbehaves(t *testing.T) {
	tests := map[string]func(context.Context) error{
		"hangs":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"panics": func(context.Context) error { panic(secret) },
	}
	for name, reload := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				bad := false
				h := newHarnessOver(t, hostile{f, func(ctx context.Context) error {
					if bad {
						return reload(ctx)
					}
					return nil
				}}, f, tokensource.Options{})
				h.does(fails(badClient))
				h.mustFail(t.Context())
				synctest.Wait()
				bad = true
				for range 3 { // while it rests, and after
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					start := time.Now()
					if _, err := h.Grant(ctx); err == nil || time.Since(start) > 100*time.Millisecond {
						t.Errorf("error %v after %v", err, time.Since(start))
					}
					cancel()
					time.Sleep(2 * time.Minute)
				}
				synctest.Wait()
				bad = false
				h.does(lives(time.Hour))
				h.token(t.Context())
				h.balance()
			})
		})
	}
}

// watched counts how often it is asked for its identity.
type watched struct {
	*fake
	asked atomic.Int64
}

func (f *watched) Identity() *tokensource.Identity {
	defer f.asked.Add(1)
	return f.fake.Identity()
}

// A new certificate leaves the keys of the cache as they are. Whoever knows that it is
// in force is not served what came with the old one, not even while the caches are
// being emptied: here, that has to wait for the end of a fetch, which stalls.
func TestOldTokensEndWithTheirCredentials(t *testing.T) {
	t.Parallel()
	var stallIn atomic.Int64
	stalled, goOn := make(chan struct{}), make(chan struct{})
	f := &watched{fake: newFake()}
	src, err := tokensource.New(f, tokensource.Options{Clock: func() cache.Instant {
		if stallIn.Add(-1) == 0 {
			close(stalled)
			<-goOn
		}
		return cache.Now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	alice := user(t.Context(), "alice")
	old, err := src.Grant(alice)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(goOn)
	f.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		stallIn.Store(2) // the clock is read once for the token, then for the cache
		return response(time.Hour), nil
	})
	wg.Go(func() { _, _ = src.Grant(user(t.Context(), "bob")) })
	<-stalled
	f.does(lives(time.Hour))
	f.rotate(f.Identity().ClientID)
	for range 50 {
		asked := f.asked.Load()
		wg.Go(func() {
			if g, err := src.Grant(alice); err != nil || g == old {
				t.Errorf("got %v and error %v, the old token being %v", g, err, old)
			}
		})
		for f.asked.Load() == asked {
			runtime.Gosched()
		}
	}
}
