package tokensource_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// The stations of a token that lives for an hour, with the default expiry buffer of 30 s.
// It becomes due at a random moment from earliestRenewal to latestRenewal.
const (
	expiry          = time.Hour
	bufferStart     = expiry - 30*time.Second
	earliestRenewal = bufferStart * 45 / 100
	latestRenewal   = bufferStart * 90 / 100
)

// secret is what no error, event or log may show.
const secret = "s3cr3t-assertion"

var (
	gatewayURL = &url.URL{Scheme: "https", Host: "agw.example"}
	errTenant  = errors.New("no such tenant")
)

// Errors of a token service.
var (
	unavailable  = tokensource.Error{Op: "obtain token", StatusCode: 503, Kind: tokensource.Temporary}
	notFound     = tokensource.Error{Op: "obtain token", StatusCode: 404, Kind: tokensource.Permanent}
	userDenied   = tokensource.Error{Op: "exchange user token", StatusCode: 400, Code: "invalid_grant", Kind: tokensource.Denied}
	clientDenied = tokensource.Error{Op: "obtain token", StatusCode: 401, Code: "invalid_client", Kind: tokensource.Denied}
)

// A scriptedFlow has the client "one" and issues tokens for an hour. Tests set another
// client, and what the next fetches do. The text of a token tells for whom it is.
type scriptedFlow struct {
	identity atomic.Pointer[tokensource.Identity]
	requests atomic.Int64 // to the token service

	mu    sync.Mutex
	fetch fetchFunc
}

type fetchFunc func(context.Context, tokensource.Subject) (*tokensource.Response, error)

func newFlow() *scriptedFlow {
	f := &scriptedFlow{fetch: tokenLivingFor(time.Hour)}
	f.identity.Store(&tokensource.Identity{Flow: "scripted", TokenEndpoint: "https://ias.example/token", ClientID: "one"})
	return f
}

func (f *scriptedFlow) Identity() *tokensource.Identity { return f.identity.Load() }

// Tenant says that the flow's own tenant is "provider", and that "invalid" is not a tenant.
func (f *scriptedFlow) Tenant(_ context.Context, requested string) (string, error) {
	switch requested {
	case "":
		return "provider", nil
	case "invalid":
		return "", errTenant
	}
	return requested, nil
}

func (f *scriptedFlow) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	number, client := f.requests.Add(1), f.client()
	f.mu.Lock()
	fetch := f.fetch
	f.mu.Unlock()
	resp, err := fetch(ctx, s)
	if err == nil && resp != nil && resp.AccessToken == "" {
		resp.AccessToken = tokenText(s, client, number)
	}
	return resp, err
}

// setFetch sets what the next fetches do. The access token of a response may be left empty.
func (f *scriptedFlow) setFetch(fetch fetchFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetch = fetch
}

// client returns the id of the client in force.
func (f *scriptedFlow) client() string { return f.Identity().ClientID }

// setClient puts the credentials of a client in force. If it is the client that is in
// force already, they are other credentials of the same client.
func (f *scriptedFlow) setClient(id string) {
	f.setIdentity(func(identity *tokensource.Identity) { identity.ClientID = id })
}

// renewCredentials puts other credentials of the same client in force, such as a new
// certificate.
func (f *scriptedFlow) renewCredentials() { f.setIdentity(func(*tokensource.Identity) {}) }

// setIdentity puts an altered copy of the identity in force.
func (f *scriptedFlow) setIdentity(alter func(*tokensource.Identity)) {
	next := *f.Identity()
	alter(&next)
	f.identity.Store(&next)
}

func tokenText(s tokensource.Subject, client string, number int64) string {
	return fmt.Sprintf("%s/%s/%s/%d", s.Tenant(), s.UserToken(), client, number)
}

// isTokenOf reports whether the flow issued the token for the user in the tenant. The
// user "" is the system.
func isTokenOf(token, tenant, user string) bool { return strings.HasPrefix(token, tenant+"/"+user+"/") }

// isTokenOfClient reports whether the flow issued the token to the client.
func isTokenOfClient(token, client string) bool { return strings.Split(token, "/")[2] == client }

// tokenLivingFor issues tokens that live for d.
func tokenLivingFor(d time.Duration) fetchFunc {
	return func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		return responseLivingFor(d), nil
	}
}

// responseLivingFor returns a response whose access token is still to be filled in.
func responseLivingFor(d time.Duration) *tokensource.Response {
	return &tokensource.Response{ExpiresIn: fmt.Appendf(nil, "%g", d.Seconds()), GatewayURL: gatewayURL}
}

// failingWith fails with a copy of err.
func failingWith(err tokensource.Error) fetchFunc {
	return func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		e := err
		return nil, &e
	}
}

// afterDelay does what fetch does d later, or fails if its context ends before.
func afterDelay(d time.Duration, fetch fetchFunc) fetchFunc {
	return func(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
		select {
		case <-time.After(d):
			return fetch(ctx, s)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// A clockedFlow brings its own clock.
type clockedFlow struct {
	tokensource.Flow
	now func() cache.Instant
}

func (f clockedFlow) Now() cache.Instant { return f.now() }

// A manualClock is moved by the test, each of its two readings on its own.
type manualClock struct {
	mu   sync.Mutex
	mono time.Duration
	wall time.Time
}

func newManualClock() *manualClock {
	return &manualClock{mono: time.Hour, wall: time.Unix(1767323045, 0)}
}

func (c *manualClock) now() cache.Instant {
	mono, wall := c.readings()
	return cache.At(mono, wall)
}

func (c *manualClock) readings() (mono time.Duration, wall time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mono, c.wall
}

// advance lets time pass on both clocks.
func (c *manualClock) advance(d time.Duration) { c.move(d, d) }

// stepWall changes the wall clock only. A machine that was suspended looks like a step
// forward.
func (c *manualClock) stepWall(d time.Duration) { c.move(0, d) }

func (c *manualClock) move(mono, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mono += mono
	c.wall = c.wall.Add(wall)
}

// A testbed is a source over a scripted flow, and the events of that source. It must be
// made in a synctest bubble. When the test ends, it checks that the counters of the source
// agree with its events and with the calls that were made.
type testbed struct {
	t      testing.TB
	flow   *scriptedFlow
	source *tokensource.Source
	events *eventLog
	calls  atomic.Uint64 // of AccessToken, by the methods of the testbed
}

func newTestbed(t testing.TB, opts tokensource.Options) *testbed {
	t.Helper()
	flow := newFlow()
	return newTestbedOver(t, flow, flow, opts)
}

// newTestbedOver returns a testbed whose source has a flow that is built upon script.
func newTestbedOver(t testing.TB, flow tokensource.Flow, script *scriptedFlow, opts tokensource.Options) *testbed {
	t.Helper()
	bed := &testbed{t: t, flow: script, events: &eventLog{}}
	opts.OnEvent = bed.events.add
	source, err := tokensource.New(flow, opts)
	if err != nil {
		t.Fatalf("New(%+v) failed: %v", opts, err)
	}
	bed.source = source
	t.Cleanup(bed.checkCounters)
	return bed
}

// inBubble runs test with a testbed in a synctest bubble, in parallel with other tests.
func inBubble(t *testing.T, test func(t *testing.T, bed *testbed)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newTestbed(t, tokensource.Options{})) })
}

// call asks for a token.
func (b *testbed) call(ctx context.Context) (*tokensource.Token, error) {
	b.calls.Add(1)
	return b.source.AccessToken(ctx)
}

// token asks for a token and fails the test if there is none.
func (b *testbed) token(ctx context.Context) *tokensource.Token {
	b.t.Helper()
	token, err := b.call(ctx)
	if err != nil {
		b.t.Fatalf("call for %v after %d requests: got error %v, want a token", ctx, b.flow.requests.Load(), err)
	}
	return token
}

// failure asks for a token and fails the test if there is one, or an error of another type.
func (b *testbed) failure(ctx context.Context) *tokensource.Error {
	b.t.Helper()
	token, err := b.call(ctx)
	var e *tokensource.Error
	if !errors.As(err, &e) {
		b.t.Fatalf("call for %v after %d requests: got token %v and error %v, want an *Error", ctx, b.flow.requests.Load(), token, err)
	}
	return e
}

// failureOnce has the next fetches fail with err, asks for a token, which must fail, and
// lets fetches succeed again.
func (b *testbed) failureOnce(ctx context.Context, err tokensource.Error) *tokensource.Error {
	b.t.Helper()
	b.flow.setFetch(failingWith(err))
	defer b.flow.setFetch(tokenLivingFor(time.Hour))
	return b.failure(ctx)
}

// callAtOnce makes n calls at the same time. It returns how many of them got which access
// token, and the errors of the others.
func (b *testbed) callAtOnce(ctx context.Context, n int) (tokens map[string]int, errs []error) {
	tokens = make(map[string]int)
	var mu sync.Mutex
	var calls sync.WaitGroup
	for range n {
		calls.Go(func() {
			token, err := b.call(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else {
				tokens[token.AccessToken()]++
			}
		})
	}
	calls.Wait()
	return tokens, errs
}

// assertRequests fails the test unless there have been n requests to the token service.
func (b *testbed) assertRequests(n int64, why string) {
	b.t.Helper()
	if got := b.flow.requests.Load(); got != n {
		b.t.Fatalf("%s: got %d requests to the token service, want %d", why, got, n)
	}
}

// checkCounters waits for what is under way, and compares the counters with the calls and
// the events.
func (b *testbed) checkCounters() {
	time.Sleep(time.Hour)
	synctest.Wait()
	stats := b.source.Stats()
	if calls := b.calls.Load(); stats.Hits+stats.Misses != calls {
		b.t.Errorf("counters: %d hits and %d misses do not add up to %d calls", stats.Hits, stats.Misses, calls)
	}
	if stats.Refreshes > stats.Fetches || stats.Failures > stats.Fetches {
		b.t.Errorf("counters: more renewals or failures than fetches: %+v", stats)
	}
	if stats.Rotations == 0 && stats.Shared > stats.Misses { // a call that begins anew can join two fetches
		b.t.Errorf("counters: %d calls joined a fetch, but only %d waited", stats.Shared, stats.Misses)
	}
	if stats.InFlight != 0 {
		b.t.Errorf("counters: %d fetches are under way an hour after the test", stats.InFlight)
	}
	b.events.check(b.t, stats)
}

// An eventLog records events.
type eventLog struct {
	mu     sync.Mutex
	events []tokensource.Event
}

func (l *eventLog) add(ev tokensource.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, ev)
}

func (l *eventLog) all() []tokensource.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

func (l *eventLog) ofKind(kind tokensource.EventKind) []tokensource.Event {
	return slices.DeleteFunc(l.all(), func(ev tokensource.Event) bool { return ev.Kind != kind })
}

// check compares the events with the counters, and the starts of fetches with their ends.
func (l *eventLog) check(t testing.TB, stats tokensource.Stats) {
	t.Helper()
	for kind, counter := range map[tokensource.EventKind]uint64{
		tokensource.EventFetchStart: stats.Fetches,
		tokensource.EventFetchEnd:   stats.Fetches,
		tokensource.EventRetry:      stats.Retries,
		tokensource.EventShare:      stats.Shared,
		tokensource.EventServeStale: stats.ServedStale,
		tokensource.EventEvict:      stats.Evictions,
		tokensource.EventReject:     stats.Rejections,
		tokensource.EventRotate:     stats.Rotations,
	} {
		if got := len(l.ofKind(kind)); uint64(got) != counter {
			t.Errorf("counters: %d events %q, but the counter says %d", got, kind, counter)
		}
	}
	type fetch struct {
		subject    string
		background bool
	}
	underWay := make(map[fetch]int)
	for _, ev := range l.ofKind(tokensource.EventFetchStart) {
		underWay[fetch{ev.Subject, ev.Background}]++
	}
	var failures uint64
	for _, ev := range l.ofKind(tokensource.EventFetchEnd) {
		underWay[fetch{ev.Subject, ev.Background}]--
		if ev.Err != nil {
			failures++
		}
	}
	for f, n := range underWay {
		if n != 0 {
			t.Errorf("events: fetches of subject %s (background: %v) have %d more starts than ends", f.subject, f.background, n)
		}
	}
	if failures != stats.Failures {
		t.Errorf("counters: %d fetches ended with an error, but the counter says %d", failures, stats.Failures)
	}
}

// asUser returns a context for a user.
func asUser(ctx context.Context, name string) context.Context {
	return tokensource.WithUserToken(ctx, name)
}

// fourSubjects returns contexts for the system and a user in two tenants.
func fourSubjects(ctx context.Context) []context.Context {
	acme := tokensource.WithTenant(ctx, "acme")
	return []context.Context{ctx, acme, asUser(ctx, "alice"), asUser(acme, "alice")}
}

// unsignedJWT returns a JWT with the given payload.
func unsignedJWT(payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"RS256"}`)) + "." + b64([]byte(payload)) + ".c2ln"
}

// jsonLogger logs everything to w.
func jsonLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
