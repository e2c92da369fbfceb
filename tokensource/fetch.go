package tokensource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/flight"
)

// errRotated ends a fetch for an identity that is no longer in force. Its callers begin
// anew, with the key of the new one.
var errRotated = errors.New("the credentials have been rotated")

// maxRotations is how many changes of credentials one call, or one fetch, follows.
const maxRotations = 5

func errUnsettled() error {
	return &Error{Op: "fetch token", Kind: Temporary, Err: errors.New("the credentials keep changing")}
}

// A fetch obtains one token, from the decision to fetch it to its place in the cache.
type fetch struct {
	engine     *engine
	call       call // that caused it
	subject    string
	background bool // no caller waits for it

	began   atomic.Pointer[cache.Instant] // nil until the flow is asked; anything once the fetch has ended
	asked   atomic.Pointer[Identity]      // that the flow was last asked with
	evicted *cache.Entry[*Token]          // by its token
}

// fetch returns the fetch that is under way for c's subject, or starts one.
func (e *engine) fetch(c call, background bool) *flight.Call[cache.Key, *Token] {
	f := &fetch{engine: e, call: c, subject: c.key.String(), background: background}
	shared, started := e.fetches.Start(c.key, flight.Task[cache.Key, *Token]{
		Timeout: e.settings.FetchTimeout, Run: f.run, Commit: f.commit, After: f.after,
	})
	if !started && !background && !c.again {
		e.events.emit(Event{Kind: EventShare, Subject: f.subject})
	}
	return shared
}

// run obtains the token, in a goroutine of its own.
func (f *fetch) run(ctx context.Context) (*Token, error) {
	f.engine.reload(ctx)
	if f.rotated() {
		return nil, errRotated
	}
	// Another fetch may have ended since the caller looked.
	if t, err, known := f.lookAgain(); known {
		return t, err
	}
	now := f.engine.now()
	if !f.began.CompareAndSwap(nil, &now) { // the time was over before
		return nil, flight.ErrTimeout
	}
	f.emit(Event{Kind: EventFetchStart})

	for attempt, changes := 0, 0; ; {
		id := f.engine.flow.Identity()
		if f.rotated() {
			return nil, errRotated
		}
		f.asked.Store(id)
		t, err := f.ask(ctx)
		if credentialsRefused(err) {
			f.engine.reload(ctx)
		}
		if f.rotated() {
			return nil, errRotated
		}
		if id != f.engine.flow.Identity() { // renewed: nobody knows with which credentials the service was asked
			if changes++; changes == maxRotations {
				return nil, errUnsettled()
			}
			continue
		}
		if err == nil {
			return t, nil
		}
		wait, again := retryWait(err, attempt)
		if deadline, _ := ctx.Deadline(); !again || time.Until(deadline) <= wait {
			return nil, err
		}
		f.emit(Event{Kind: EventRetry, Err: err, Duration: wait})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
		attempt++
	}
}

// rotated reports whether the fetch is for another client than that in force.
func (f *fetch) rotated() bool {
	return f.engine.currentGeneration().client != f.call.generation.client
}

// lookAgain returns what is known by now if that makes a fetch superfluous.
func (f *fetch) lookAgain() (t *Token, err error, known bool) {
	e, key, now := f.engine, f.call.key, f.engine.now()
	if entry := e.tokens(f.ofUser()).Get(key, now); entry != nil {
		t = entry.Value
	}
	h, id := e.history(key, now), e.flow.Identity()
	if stateOf(t, h, id, now) == fresh {
		return t, nil, true
	}
	if h.backsOff(id, now) {
		return nil, h.failure, true
	}
	return nil, nil, false
}

// ask has the flow obtain a token, once.
func (f *fetch) ask(ctx context.Context) (*Token, error) {
	e, userToken := f.engine, *f.call.request.jwt
	resp, err := e.flow.Fetch(ctx, f.call.request.subject().In(f.call.tenant))
	if err != nil {
		return nil, err
	}
	if resp == nil {
		return nil, &Error{Op: "fetch token", Err: errors.New("the flow returned neither a token nor an error")}
	}
	if resp.TokenType != "" && !strings.EqualFold(resp.TokenType, "bearer") { // RFC 6749, section 7.1
		return nil, &Error{Op: "fetch token", Err: errors.New("the token is not of type Bearer")}
	}
	life, usable := e.settings.newLifetime(resp, userToken, e.now())
	if !usable {
		return nil, &Error{Op: "fetch token", Err: fmt.Errorf("%w: it ended at %s", ErrExpired, life.expiry.Time().Format(time.RFC3339))}
	}
	gateway := f.call.generation.identity.GatewayURL // which is final
	if gateway == nil {
		gateway = resp.GatewayURL
	}
	t, err := newToken(resp.AccessToken, gateway)
	if err != nil {
		return nil, &Error{Op: "fetch token", Kind: Temporary, Err: err}
	}
	t.life, t.key, t.user = life, f.call.key, f.ofUser()
	return t, nil
}

// commit files the result before any caller sees the end of the fetch. What was known
// before is not filed again.
func (f *fetch) commit(key cache.Key, t *Token, err error) error {
	if f.began.Load() == nil || err == errRotated {
		return err
	}
	e, now := f.engine, f.engine.now()
	if err != nil {
		h := e.amend(key, now, func(h *history) *history {
			return h.afterFailure(err, f.asked.Load(), now)
		})
		if userDenied(h.failure) {
			e.tokens(f.ofUser()).Forget(key)
		}
		return h.failure
	}
	f.evicted = e.tokens(t.user).Put(key, t, t.life.expiry, now)
	if t.gateway != nil {
		e.gateways.Put(f.call.generation.client.gatewayKey(f.call.tenant), t.gateway, t.life.expiry.Add(gatewayOutlives), now)
	}
	e.amend(key, now, (*history).afterSuccess)
	return nil
}

// after tells what has happened.
func (f *fetch) after(_ *Token, err error) {
	e, began := f.engine, f.began.Swap(new(cache.Instant))
	if began == nil {
		return
	}
	if f.evicted != nil {
		e.events.emit(Event{Kind: EventEvict, Subject: f.evicted.Key.String()})
		setting, size := "MaxSystemTokens", e.settings.MaxSystemTokens
		if f.ofUser() {
			setting, size = "MaxUserTokens", e.settings.MaxUserTokens
		}
		e.events.warnOfFullCache(setting, size, e.now())
	}
	if err == nil && f.ofUser() {
		e.events.warnOfSingleUse()
	}
	var panicked *flight.PanicError
	if errors.As(err, &panicked) {
		e.events.logError("agw: the flow panicked", slog.String("flow", e.events.flow), slog.String("stack", string(panicked.Stack)))
	}
	if err == errRotated { // its callers begin anew
		err = nil
	}
	f.emit(Event{Kind: EventFetchEnd, Duration: e.now().Since(*began), Err: err})
}

// emit emits ev with what all events of a fetch share.
func (f *fetch) emit(ev Event) {
	ev.Subject, ev.Background = f.subject, f.background
	f.engine.events.emit(ev)
}

// ofUser reports whether the token is that of a user.
func (f *fetch) ofUser() bool { return f.call.request.actor == user }

// reload lets the flow look for new credentials. After an error, or a panic, the old ones
// stay.
func (e *engine) reload(ctx context.Context) {
	r, ok := e.flow.(Reloader)
	if !ok {
		return
	}
	err := errors.New("the flow panicked")
	if panicked := e.events.guard(func() { err = r.Reload(ctx) }); panicked {
		e.events.logError("agw: the flow panicked in Reload", slog.String("flow", e.events.flow))
	}
	if err != nil {
		e.events.emit(Event{Kind: EventReload, Err: err})
	}
}

// mayReload reports whether it is time to look for new credentials although a subject
// backs off, because the old ones were refused. Only one caller at a time is told so.
func (e *engine) mayReload(now cache.Instant) bool {
	last := e.reloadedAt.Load()
	if last != nil && now.Since(*last) < reloadEvery {
		return false
	}
	return e.reloadedAt.CompareAndSwap(last, &now)
}
