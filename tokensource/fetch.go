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

type call = flight.Call[cache.Key, *entry]

// fetch returns the fetch that is under way for l's subject, or starts one.
func (e *engine) fetch(l lookup, background bool) *call {
	j := &job{engine: e, lookup: l, subject: l.key.String(), background: background}
	c, started := e.flights.Start(l.key, flight.Task[cache.Key, *entry]{
		Timeout: e.settings.FetchTimeout, Run: j.run, Commit: j.commit, After: j.after,
	})
	if !started && !background {
		e.emit(Event{Kind: EventShare, Subject: j.subject})
	}
	return c
}

// job is one fetch: from the decision to fetch to the entry in the cache.
type job struct {
	*engine
	lookup
	subject    string // fingerprint
	background bool
	began      atomic.Pointer[cache.Instant] // nil until a request may go out; anything once the fetch has ended
	evicted    cache.Key
	full       bool // evicted is one
}

// run obtains an entry. Between the caller's look and this fetch another one may
// have ended, so it looks again. New credentials end the rest that refused ones got.
func (j *job) run(ctx context.Context, c *call) (*entry, error) {
	ent, err, known := j.lookAgain()
	if known && !(credentialsRefused(err) && j.reload(ctx, c, false)) {
		return ent, err
	}
	if !j.begin() {
		return nil, flight.ErrTimeout
	}
	j.reload(ctx, c, false)
	return j.attempts(ctx, c)
}

// begin tells that the fetch begins, unless its time was over before.
func (j *job) begin() bool {
	now := j.clock()
	if !j.began.CompareAndSwap(nil, &now) {
		return false
	}
	j.event(Event{Kind: EventFetchStart})
	return true
}

// lookAgain returns what is known by now, if that makes a fetch superfluous.
func (j *job) lookAgain() (ent *entry, err error, known bool) {
	now := j.clock()
	n, _ := j.notes.Get(j.lookup.key, now)
	ent, _ = j.tokens(j.request).Get(j.lookup.key, now)
	switch st := stateOf(ent, n, now); {
	case st == fresh, st == rejected:
		return ent, nil, true
	case n.rests(now):
		return nil, n.err, true
	default:
		return nil, nil, false
	}
}

// attempts asks the flow until it succeeds, fails for good, or has been asked often
// enough. Credentials that are refused are read again, and tried again if they have
// changed.
func (j *job) attempts(ctx context.Context, c *call) (*entry, error) {
	reloaded := false
	for attempt := 0; ; {
		id := j.flow.Identity()
		ent, err := j.attempt(ctx, id)
		switch {
		case j.flow.Identity() != id && !reloaded: // rotated meanwhile
			reloaded = true
			j.adopt(c)
		case err == nil:
			return ent, nil
		case credentialsRefused(err) && !reloaded:
			reloaded = true
			if !j.reload(ctx, c, true) {
				return nil, err
			}
		case attempt == maxRetries || !j.pause(ctx, err, attempt):
			return nil, err
		default:
			attempt++
		}
	}
}

// attempt asks the flow once.
func (j *job) attempt(ctx context.Context, id *Identity) (*entry, error) {
	resp, err := j.flow.Fetch(ctx, Subject{Tenant: j.tenantID, UserToken: j.user})
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, &Error{Op: "fetch token", Err: errors.New("the flow returned neither a token nor an error")}
	case resp.TokenType != "" && !strings.EqualFold(resp.TokenType, "bearer"): // RFC 6749, section 7.1
		return nil, &Error{Op: "fetch token", Err: errors.New("the token is not of type Bearer")}
	}
	return j.admit(resp, id)
}

// admit makes an entry of a response that has just arrived.
func (j *job) admit(resp *Response, id *Identity) (*entry, error) {
	life := j.settings.Lifetime(resp.TokenResponse, j.user, j.clock())
	if life.Usable() <= 0 {
		return nil, &Error{Op: "fetch token", Err: fmt.Errorf("%w: it ended at %s", ErrExpired, life.Expiry.Time().Format(time.RFC3339))}
	}
	ent := &entry{refreshAt: refreshAt(life), deadline: life.Deadline, expiry: life.Expiry}
	if err := ent.setToken(resp.AccessToken, life.Expiry.Time()); err != nil {
		return nil, &Error{Op: "fetch token", Kind: Passing, Err: err}
	}
	ent.user = j.user != ""
	if ent.Grant.gateway = resp.GatewayURL; ent.Grant.gateway == nil {
		ent.Grant.gateway = id.GatewayURL
	}
	return ent, nil
}

// pause waits before the next attempt, and reports whether there is to be one.
func (j *job) pause(ctx context.Context, err error, attempt int) bool {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: Passing}
	}
	wait := retryAfter(e, attempt)
	deadline, _ := ctx.Deadline()
	if e.Kind != Passing || !e.NextAttempt.IsZero() || wait > maxRetryWait || time.Until(deadline) <= wait {
		return false
	}
	j.event(Event{Kind: EventRetry, Err: err, Duration: wait})
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// commit files the result, unless it was known before: no caller sees the end of the
// fetch before the cache does.
func (j *job) commit(key cache.Key, ent *entry, err error) error {
	if j.began.Load() == nil {
		return err
	}
	now := j.clock()
	j.notesMu.Lock()
	defer j.notesMu.Unlock()
	n, _ := j.notes.Get(key, now)
	if err != nil {
		return j.commitFailure(key, n, err, now)
	}
	ent.Grant.key = key
	j.evicted, j.full = j.tokens(j.request).Put(ent)
	if g := ent.Grant.gateway; g != nil {
		known := kept{gatewayKey(j.flow.Identity(), j.tenantID), ent.expiry.Add(gatewayOutlive)}
		j.gateways.Put(&gateway{known, g})
	}
	if n != nil {
		j.remember(key, n, func(n *note) { n.err, n.failures = nil, 0 }, now)
	}
	return nil
}

// commitFailure lets key rest, and drops a token whose subject or credentials are
// refused. It returns the error that callers get until the rest is over.
func (j *job) commitFailure(key cache.Key, n *note, err error, now cache.Instant) error {
	failures := 1
	if n != nil {
		failures += n.failures
	}
	known := typed(err)
	rest := restAfter(known, failures, now)
	known.NextAttempt = now.Add(rest).Time()
	if known.Kind == Refused {
		j.tokens(j.request).Forget(key)
	}
	j.remember(key, n, func(n *note) { n.err, n.failures, n.restsUntil = known, failures, now.Add(rest) }, now)
	return known
}

// after tells what has happened.
func (j *job) after(_ *entry, err error) {
	began := j.began.Swap(new(cache.Instant))
	if began == nil {
		return
	}
	if j.full {
		j.emit(Event{Kind: EventEvict, Subject: j.evicted.String()})
	}
	var panicked *flight.PanicError
	if errors.As(err, &panicked) && j.logger != nil {
		j.logger.Error("agw: the flow panicked", slog.String("flow", j.observer.flow), slog.String("stack", string(panicked.Stack)))
	}
	j.event(Event{Kind: EventFetchEnd, Duration: j.clock().Since(*began), Err: err})
}

// event emits ev with what all events of a job share.
func (j *job) event(ev Event) {
	ev.Subject, ev.Background = j.subject, j.background
	j.emit(ev)
}

// typed returns err as an *Error of its own that may be altered. An error of
// another type counts as passing.
func typed(err error) *Error {
	if e, ok := err.(*Error); ok {
		c := *e
		return &c
	}
	c := &Error{Op: "fetch token", Kind: Passing, Err: err}
	var e *Error
	if errors.As(err, &e) {
		c.Kind, c.StatusCode, c.Code, c.RetryAfter, c.NextAttempt = e.Kind, e.StatusCode, e.Code, e.RetryAfter, e.NextAttempt
	}
	return c
}

// asError returns err if it is an *Error or wraps one, else an *Error around it. A
// fetch that was forgotten ends with the error that the flow returned.
func asError(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	return typed(err)
}

// kindOf returns the kind of an error, which is Passing if it has none.
func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Passing
}

// credentialsRefused reports whether err is about the client, not about the user.
func credentialsRefused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Refused && e.Code != "invalid_grant"
}

// leftEarly is the error of a caller whose context has ended.
func leftEarly(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return fmt.Errorf("agw: no token yet: %w", err)
	}
	return fmt.Errorf("agw: no token yet: %w: %w", err, cause)
}
