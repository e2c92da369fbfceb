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

// A simulation makes random calls in a world with clocks that are stepped, a machine that
// sleeps, and a token service that is slow and fails. It knows what each token is good for.
type simulation struct {
	t     *testing.T
	bed   *testbed
	clock *manualClock

	mu      sync.Mutex
	rand    *rand.Rand
	arrived map[string]arrival // by access token
}

// An arrival is when a token came, and for how long it is good.
type arrival struct {
	mono time.Duration
	wall time.Time
	life time.Duration
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{t: t, clock: newManualClock(), rand: rand.New(rand.NewPCG(seed, 0)), arrived: make(map[string]arrival)}
	flow := newFlow()
	flow.setFetch(s.fetch)
	s.bed = newTestbedOver(t, clockedFlow{flow, s.clock.now}, flow, tokensource.Options{})
	return s
}

// random returns a random number from 0 to below n.
func (s *simulation) random(n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.Int64N(n)
}

// randomDuration returns a random duration up to longest. Short ones are more likely.
func (s *simulation) randomDuration(longest time.Duration, maxHalvings int64) time.Duration {
	return time.Duration(s.random(int64(longest)) >> s.random(maxHalvings))
}

// fetch takes its time, in which the clocks may move, and then fails or issues a token.
func (s *simulation) fetch(ctx context.Context, subject tokensource.Subject) (*tokensource.Response, error) {
	select {
	case <-time.After(time.Duration(1 + s.random(2)*s.random(int64(3*time.Second)))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.moveClock(4)
	switch s.random(6) {
	case 0:
		return failingWith(unavailable)(ctx, subject)
	case 1:
		return failingWith([]tokensource.Error{notFound, userDenied, clientDenied}[s.random(3)])(ctx, subject)
	}
	life := s.randomDuration(2*time.Hour, 24)
	resp := responseLivingFor(life)
	s.mu.Lock()
	defer s.mu.Unlock()
	resp.AccessToken = tokenText(subject, "one", int64(len(s.arrived))) // a number of its own, also if two fetches are under way
	mono, wall := s.clock.readings()
	s.arrived[resp.AccessToken] = arrival{mono, wall, life}
	return resp, nil
}

// moveClock moves the clocks in one case out of n.
func (s *simulation) moveClock(n int64) {
	if s.random(n) > 0 {
		return
	}
	d := s.randomDuration(2*time.Hour, 20)
	switch s.random(4) {
	case 0: // somebody sets the clock back
		s.clock.stepWall(-d)
	case 1: // or forward, or the machine slept
		s.clock.stepWall(d)
	default:
		s.clock.advance(d)
	}
}

// step does something random, most often a call. It returns the token of the last call
// that got one.
func (s *simulation) step(ctx context.Context, last *tokensource.Token) *tokensource.Token {
	subject := tokensource.SystemSubject()
	if s.random(2) == 1 {
		subject = tokensource.UserSubject("alice")
		ctx = asUser(ctx, "alice")
	}
	s.moveClock(2)
	switch s.random(20) {
	case 0:
		if err := s.bed.source.Forget(subject); err != nil {
			s.t.Errorf("Forget(%v) failed: %v", subject, err)
		}
	case 1:
		s.bed.source.Purge()
	case 2, 3:
		s.bed.source.Invalidate(last)
	case 4:
		s.bed.flow.renewCredentials()
	}
	token, err := s.bed.call(ctx)
	var failed *tokensource.Error
	switch {
	case err == nil:
		s.check(token, subject)
		last = token
	case !errors.As(err, &failed) || failed.NextAttempt.IsZero():
		s.t.Errorf("got error %v, want an *Error that says when the next attempt is due", err)
	}
	time.Sleep(time.Duration(s.random(int64(4 * time.Second)))) // for what goes on in the background
	return last
}

// check fails the test if token is another subject's, or has expired by either clock.
func (s *simulation) check(token *tokensource.Token, subject tokensource.Subject) {
	s.mu.Lock()
	arrived, ok := s.arrived[token.AccessToken()]
	s.mu.Unlock()
	if !ok || !isTokenOf(token.AccessToken(), "provider", subject.UserToken()) {
		s.t.Errorf("%v was served token %s", subject, token.AccessToken())
	}
	mono, wall := s.clock.readings()
	if age := max(mono-arrived.mono, wall.Sub(arrived.wall)); age >= arrived.life {
		s.t.Errorf("token %s was served %v after its arrival, but it lived for %v", token.AccessToken(), age, arrived.life)
	}
}

func TestNoExpiredTokenIsServed(t *testing.T) {
	t.Parallel()
	simulations := uint64(400)
	if testing.Short() {
		simulations = 40
	}
	for seed := range simulations {
		synctest.Test(t, func(t *testing.T) {
			s := newSimulation(t, seed)
			var last *tokensource.Token
			for range 100 {
				last = s.step(t.Context(), last)
			}
			if t.Failed() {
				t.Fatalf("in the simulation with seed %d", seed)
			}
		})
	}
}

// Whatever happens at the same time, nobody gets a token of somebody else, or one with the
// gateway of another tenant.
func TestSubjectsNeverMix(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
			time.Sleep(rand.N(300 * time.Millisecond))
			switch rand.N(20) {
			case 0:
				return failingWith(unavailable)(ctx, s)
			case 1:
				return failingWith(userDenied)(ctx, s)
			case 2:
				panic("flow")
			case 3:
				time.Sleep(2 * time.Minute)
			case 4:
				return nil, nil
			}
			resp := responseLivingFor(rand.N(10 * time.Second))
			resp.GatewayURL = &url.URL{Scheme: "https", Host: s.Tenant()}
			return resp, nil
		})
		var callers sync.WaitGroup
		for range 40 {
			callers.Go(func() {
				for range 100 {
					callAsRandomSubject(t, bed)
				}
			})
		}
		callers.Wait()
	})
}

// callAsRandomSubject makes a call for one of 20 subjects, and sometimes forgets,
// invalidates or rotates something.
func callAsRandomSubject(t *testing.T, bed *testbed) {
	ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Second))
	defer cancel()
	tenant := fmt.Sprint("t", rand.N(4))
	ctx = tokensource.WithTenant(ctx, tenant)
	subject := tokensource.SystemSubject().In(tenant)
	if rand.N(2) == 0 {
		subject = tokensource.UserSubject(fmt.Sprint("u", rand.N(4))).In(tenant)
		ctx = asUser(ctx, subject.UserToken())
	}
	token, err := bed.call(ctx)
	if err == nil && (!isTokenOf(token.AccessToken(), tenant, subject.UserToken()) || token.GatewayURL().Host != tenant) {
		t.Errorf("user %q in tenant %s got token %s for gateway %v", subject.UserToken(), tenant, token.AccessToken(), token.GatewayURL())
	}
	if gateway, _ := bed.source.Gateway(ctx); gateway != nil && gateway.Host != tenant {
		t.Errorf("the gateway of %v is %v, want that of its tenant", subject, gateway)
	}
	switch rand.N(40) {
	case 0:
		if err := bed.source.Forget(subject); err != nil {
			t.Errorf("Forget(%v) failed: %v", subject, err)
		}
	case 1:
		bed.source.Purge()
	case 2:
		bed.flow.setClient(fmt.Sprint("client", rand.N(1000)))
	case 3, 4, 5, 6:
		bed.source.Invalidate(token)
	case 7:
		bed.flow.renewCredentials()
	}
	time.Sleep(rand.N(time.Second))
}
