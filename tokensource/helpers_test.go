package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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

// fake is a flow whose tokens say for whom they are: see tokenFor. It can do what
// the methods that return a fetch below say; the default is an hour's token at once.
type fake struct {
	identity atomic.Pointer[tokensource.Identity]
	fetches  atomic.Int64

	mu    sync.Mutex
	fetch fetch
}

type fetch func(context.Context, tokensource.Subject) (*tokensource.Response, error)

var errTenant = errors.New("no such tenant")

func newFake() *fake {
	f := &fake{fetch: lives(time.Hour)}
	f.identity.Store(&tokensource.Identity{Flow: "fake", TokenEndpoint: "https://ias.example/token", ClientID: "one"})
	return f
}

func (f *fake) Identity() *tokensource.Identity { return f.identity.Load() }

func (f *fake) Tenant(_ context.Context, requested string) (string, error) {
	switch requested {
	case "":
		return "provider", nil
	case "bad":
		return "", errTenant
	}
	return requested, nil
}

func (f *fake) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	n, client := f.fetches.Add(1), f.Identity().ClientID
	f.mu.Lock()
	do := f.fetch
	f.mu.Unlock()
	resp, err := do(ctx, s)
	if err == nil && resp != nil && resp.AccessToken == "" {
		resp.AccessToken = tokenFor(s, client, n)
	}
	return resp, err
}

// does sets what the next fetches do.
func (f *fake) does(do fetch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetch = do
}

// rotate puts other credentials in force.
func (f *fake) rotate(clientID string) {
	id := *f.identity.Load()
	id.ClientID = clientID
	f.identity.Store(&id)
}

func tokenFor(s tokensource.Subject, client string, n int64) string {
	return fmt.Sprintf("%s/%s/%s/%d", s.Tenant, s.UserToken, client, n)
}

func isFor(token, tenant, user string) bool { return strings.HasPrefix(token, tenant+"/"+user+"/") }

// lives returns tokens with the given life.
func lives(d time.Duration) fetch {
	return func(context.Context, tokensource.Subject) (*tokensource.Response, error) { return response(d), nil }
}

func response(life time.Duration) *tokensource.Response {
	return &tokensource.Response{
		TokenResponse: cache.TokenResponse{ExpiresIn: fmt.Appendf(nil, "%g", life.Seconds())},
		GatewayURL:    gatewayURL,
	}
}

var gatewayURL = &url.URL{Scheme: "https", Host: "agw.example"}

// takes lets do take d, or as long as its context.
func takes(d time.Duration, do fetch) fetch {
	return func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
		select {
		case <-time.After(d):
			return do(ctx, s)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fails fails with a copy of err.
func fails(err tokensource.Error) fetch {
	return func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		e := err
		return nil, &e
	}
}

var (
	outage       = tokensource.Error{Op: "obtain token", StatusCode: 503, Kind: tokensource.Passing}
	permanent    = tokensource.Error{Op: "obtain token", StatusCode: 404, Kind: tokensource.Permanent}
	invalidGrant = tokensource.Error{Op: "exchange user token", StatusCode: 400, Code: "invalid_grant", Kind: tokensource.Refused}
	badClient    = tokensource.Error{Op: "obtain token", StatusCode: 401, Code: "invalid_client", Kind: tokensource.Refused}
)

// harness is a source whose books must balance in the end.
type harness struct {
	*tokensource.Source
	*fake
	t      testing.TB
	calls  atomic.Uint64
	events *events
}

func newHarness(t testing.TB, opts tokensource.Options) *harness {
	t.Helper()
	f := newFake()
	return newHarnessOver(t, f, f, opts)
}

// newHarnessOver is newHarness for a flow that is built over f.
func newHarnessOver(t testing.TB, flow tokensource.Flow, f *fake, opts tokensource.Options) *harness {
	t.Helper()
	h := &harness{fake: f, t: t, events: &events{}}
	opts.OnEvent = h.events.add
	src, err := tokensource.New(flow, opts)
	if err != nil {
		t.Fatal(err)
	}
	h.Source = src
	return h
}

// inBubble runs test on a harness in a bubble, in parallel with other tests.
func inBubble(t *testing.T, test func(t *testing.T, h *harness)) {
	t.Helper()
	t.Parallel()
	inBubbleNow(t, test)
}

// inBubbleNow runs test on a harness in a bubble, and checks the books.
func inBubbleNow(t *testing.T, test func(t *testing.T, h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, tokensource.Options{})
		test(t, h)
		h.balance()
	})
}

func (h *harness) Grant(ctx context.Context) (*tokensource.Grant, error) {
	h.calls.Add(1)
	return h.Source.Grant(ctx)
}

// mustGrant is Grant for a call that must succeed.
func (h *harness) mustGrant(ctx context.Context) *tokensource.Grant {
	h.t.Helper()
	g, err := h.Grant(ctx)
	if err != nil {
		h.t.Fatalf("no token: %v", err)
	}
	return g
}

// token returns the token of a call that must succeed.
func (h *harness) token(ctx context.Context) string {
	h.t.Helper()
	return h.mustGrant(ctx).Token().AccessToken
}

// mustFail is Grant for a call that must fail with an *Error.
func (h *harness) mustFail(ctx context.Context) *tokensource.Error {
	h.t.Helper()
	g, err := h.Grant(ctx)
	var e *tokensource.Error
	if !errors.As(err, &e) {
		h.t.Fatalf("got grant %v and error %v, want an *Error", g, err)
	}
	return e
}

// crowd calls n times at once and returns the errors of those who got none.
func (h *harness) crowd(n int, ctx context.Context) (errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := h.Grant(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errs
}

// fetched fails the test unless there have been n fetches.
func (h *harness) fetched(n int64) {
	h.t.Helper()
	if got := h.fetches.Load(); got != n {
		h.t.Fatalf("%d fetches, want %d", got, n)
	}
}

// balance waits for what is under way in the bubble, and checks that counters and
// events add up.
func (h *harness) balance() {
	h.t.Helper()
	time.Sleep(time.Hour)
	synctest.Wait()
	s := h.Stats()
	if calls := h.calls.Load(); s.Hits+s.Misses != calls {
		h.t.Errorf("%d hits and %d misses are not %d calls", s.Hits, s.Misses, calls)
	}
	if s.Shared > s.Misses || s.Refreshes > s.Fetches || s.Failures > s.Fetches {
		h.t.Errorf("a part is more than the whole: %+v", s)
	}
	h.events.balance(h.t, s)
}

// events records them.
type events struct {
	mu   sync.Mutex
	all  []tokensource.Event
	hook map[tokensource.EventKind]func()
}

func (r *events) add(ev tokensource.Event) {
	r.mu.Lock()
	r.all = append(r.all, ev)
	do := r.hook[ev.Kind]
	delete(r.hook, ev.Kind)
	r.mu.Unlock()
	if do != nil {
		do()
	}
}

// when has do called at the next event of a kind, where it happens.
func (r *events) when(kind tokensource.EventKind, do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = map[tokensource.EventKind]func(){kind: do}
}

// list returns all events.
func (r *events) list() []tokensource.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// of returns the events of a kind.
func (r *events) of(kind tokensource.EventKind) (evs []tokensource.Event) {
	for _, ev := range r.list() {
		if ev.Kind == kind {
			evs = append(evs, ev)
		}
	}
	return evs
}

func (r *events) count(kind tokensource.EventKind) uint64 { return uint64(len(r.of(kind))) }

// balance compares the events with the counters, and the starts of fetches with
// their ends.
func (r *events) balance(t testing.TB, s tokensource.Stats) {
	t.Helper()
	for kind, n := range map[tokensource.EventKind]uint64{
		tokensource.EventFetchStart: s.Fetches,
		tokensource.EventRetry:      s.Retries,
		tokensource.EventShare:      s.Shared,
		tokensource.EventServeStale: s.ServedStale,
		tokensource.EventEvict:      s.Evictions,
		tokensource.EventReject:     s.Rejections,
		tokensource.EventRotate:     s.Rotations,
	} {
		if got := r.count(kind); got != n {
			t.Errorf("%d events %q, but the counter says %d", got, kind, n)
		}
	}
	open := make(map[string]int)
	for _, ev := range r.of(tokensource.EventFetchStart) {
		open[fmt.Sprint(ev.Subject, ev.Background)]++
	}
	var failures uint64
	for _, ev := range r.of(tokensource.EventFetchEnd) {
		open[fmt.Sprint(ev.Subject, ev.Background)]--
		if ev.Err != nil {
			failures++
		}
	}
	for subject, n := range open {
		if n != 0 {
			t.Errorf("%d more starts than ends of fetches for %s", n, subject)
		}
	}
	if failures != s.Failures {
		t.Errorf("%d failed ends, but the counter says %d", failures, s.Failures)
	}
}

// user returns a context for a user.
func user(ctx context.Context, name string) context.Context {
	return tokensource.WithUserToken(ctx, name)
}

// subjects returns contexts for four different ones.
func subjects(t *testing.T) []context.Context {
	t.Helper()
	acme := tokensource.WithTenant(t.Context(), "acme")
	return []context.Context{t.Context(), acme, user(t.Context(), "alice"), user(acme, "alice")}
}
