package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// world is a random one: clocks that are stepped, machines that sleep, and a token
// service that has its moods. It knows what each token is good for.
type world struct {
	*harness
	rand  *rand.Rand
	clock *clock

	mu      sync.Mutex
	arrived map[string]arrival // by token
}

// arrival is when a token came, and for how long it is good.
type arrival struct {
	mono time.Duration
	wall time.Time
	life time.Duration
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 0)), clock: newClock(), arrived: make(map[string]arrival)}
	w.harness = newHarness(t, tokensource.Options{Clock: w.clock.now})
	w.does(w.fetch)
	return w
}

// fetch takes its time, in which the clocks may move, and fails or gives a token.
func (w *world) fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	select {
	case <-time.After(time.Duration(1 + w.n(2)*w.n(int64(3*time.Second)))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.moveClock(4)
	switch w.n(6) {
	case 0:
		return fails(outage)(ctx, s)
	case 1:
		return fails([]tokensource.Error{permanent, invalidGrant, badClient}[w.n(3)])(ctx, s)
	}
	life := time.Duration(w.n(int64(2*time.Hour)) >> w.n(24))
	resp := response(life)
	resp.AccessToken = tokenFor(s, "one", w.fetches.Load())
	w.mu.Lock()
	defer w.mu.Unlock()
	mono, wall := w.clock.read()
	w.arrived[resp.AccessToken] = arrival{mono, wall, life}
	return resp, nil
}

func (w *world) n(n int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.Int64N(n)
}

// moveClock moves the clocks in one case out of n.
func (w *world) moveClock(n int64) {
	if w.n(n) > 0 {
		return
	}
	d := time.Duration(w.n(int64(2*time.Hour)) >> w.n(20))
	switch w.n(4) {
	case 0: // an administrator, backwards
		w.clock.step(-d)
	case 1: // forwards; or the machine slept
		w.clock.step(d)
	default:
		w.clock.run(d)
	}
}

// check fails the test if token is past its life by either clock.
func (w *world) check(token string, user string) {
	w.mu.Lock()
	a, ok := w.arrived[token]
	w.mu.Unlock()
	if !ok || !isFor(token, "provider", user) {
		w.t.Errorf("token %s of nobody or somebody else", token)
	}
	mono, wall := w.clock.read()
	if age := max(mono-a.mono, wall.Sub(a.wall)); age >= a.life {
		w.t.Errorf("token %s was served %v after its arrival, its life was %v", token, age, a.life)
	}
}

// step does something, most often a call.
func (w *world) step(ctx context.Context, last *tokensource.Grant) *tokensource.Grant {
	name := []string{"", "alice"}[w.n(2)]
	if name != "" {
		ctx = user(ctx, name)
	}
	w.moveClock(2)
	switch w.n(20) {
	case 0:
		w.Forget(tokensource.Subject{UserToken: name})
	case 1:
		w.Purge()
	case 2, 3:
		w.Invalidate(last)
	}
	g, err := w.Grant(ctx)
	if err == nil {
		w.check(g.Token().AccessToken, name)
		last = g
	} else if e := (*tokensource.Error)(nil); !errors.As(err, &e) || e.NextAttempt.IsZero() {
		w.t.Errorf("error %v does not tell the next attempt", err)
	}
	time.Sleep(time.Duration(w.n(int64(4 * time.Second)))) // for what goes on in the background
	return last
}

func TestNoExpiredTokenProperty(t *testing.T) {
	t.Parallel()
	worlds := uint64(400)
	if testing.Short() {
		worlds = 40
	}
	for seed := range worlds {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			var last *tokensource.Grant
			for range 100 {
				last = w.step(t.Context(), last)
			}
			w.balance()
			if t.Failed() {
				t.Fatalf("in world %d", seed)
			}
		})
	}
}

// Whatever happens at the same time, nobody gets a token of somebody else's, or one
// with another tenant's gateway.
func TestSubjectsNeverMix(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			time.Sleep(rand.N(300 * time.Millisecond))
			switch rand.N(20) {
			case 0:
				return fails(outage)(ctx, s)
			case 1:
				return fails(invalidGrant)(ctx, s)
			case 2:
				panic("flow")
			case 3:
				time.Sleep(2 * time.Minute)
			case 4:
				return nil, nil
			}
			resp := response(rand.N(10 * time.Second))
			resp.GatewayURL = &url.URL{Scheme: "https", Host: s.Tenant}
			return resp, nil
		})
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				for range 100 {
					h.anything(t)
				}
			})
		}
		wg.Wait()
	})
}

// anything makes a random call, and sometimes more than that.
func (h *harness) anything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Second))
	defer cancel()
	subject := tokensource.Subject{Tenant: fmt.Sprint("t", rand.N(4))}
	ctx = tokensource.WithTenant(ctx, subject.Tenant)
	if rand.N(2) == 0 {
		subject.UserToken = fmt.Sprint("u", rand.N(4))
		ctx = user(ctx, subject.UserToken)
	}
	g, err := h.Grant(ctx)
	if err == nil && (!isFor(g.Token().AccessToken, subject.Tenant, subject.UserToken) || g.GatewayURL().Host != subject.Tenant) {
		t.Errorf("%+v (%s) got %s of %v", subject, subject.UserToken, g.Token().AccessToken, g.GatewayURL())
	}
	if u, known := h.Gateway(ctx); known && u.Host != subject.Tenant {
		t.Errorf("the gateway of %v is %v", subject, u)
	}
	switch rand.N(40) {
	case 0:
		h.Forget(subject)
	case 1:
		h.Purge()
	case 2:
		h.fake.rotate(fmt.Sprint("client", rand.N(1000)))
	case 3, 4, 5, 6:
		h.Invalidate(g)
	}
	time.Sleep(rand.N(time.Second))
}
