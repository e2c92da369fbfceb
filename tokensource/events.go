package tokensource

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/agwgo/agw/cache"
)

// An EventKind says what happened.
type EventKind string

// What happens to tokens. A served hit is no event: count it by [Source.Stats].
const (
	EventFetchStart EventKind = "fetch_start" // a fetch begins
	EventFetchEnd   EventKind = "fetch_end"   // the fetch has ended after Duration, with Err if it failed
	EventRetry      EventKind = "retry"       // an attempt of a fetch failed with Err; the next one follows in Duration
	EventShare      EventKind = "share"       // a caller joins a fetch that is under way
	EventServeStale EventKind = "serve_stale" // a token in its expiry buffer is served, because its renewal did not succeed
	EventEvict      EventKind = "evict"       // a token that had not expired left a full cache
	EventReject     EventKind = "reject"      // the gateway rejected a token, which is dropped
	EventForget     EventKind = "forget"      // a subject was forgotten; if Subject is "", all were
	EventRotate     EventKind = "rotate"      // another client is in force; no token of the old one is served
	EventReload     EventKind = "reload"      // the credentials could not be read again: Err
)

// An Event is something that happened to the token of a subject. It holds no
// secret.
type Event struct {
	Kind       EventKind
	Flow       string        // name of the flow
	Subject    string        // fingerprint of the subject, see Token.Fingerprint; "" if it concerns all
	Background bool          // it is a renewal that no caller waits for
	Duration   time.Duration // see the kinds; else 0
	Err        error         // likewise; else nil
}

// Stats are counters since the Source was made, and gauges. Hits + Misses is the
// number of calls.
type Stats struct {
	Hits   uint64 // calls that got a token at once
	Misses uint64 // all other calls: those that waited, and those that failed
	Shared uint64 // misses that joined a fetch of somebody else's

	Fetches   uint64 // fetches begun
	Refreshes uint64 // those of them in the background
	Failures  uint64 // fetches that failed
	Retries   uint64 // attempts of fetches beyond their first

	ServedStale uint64 // hits and misses served from the expiry buffer, because the renewal did not succeed
	Evictions   uint64 // tokens that left a full cache before they expired
	Rejections  uint64 // tokens dropped because the gateway rejected them
	Rotations   uint64 // changes of the client
	Panics      uint64 // panics of Logger, OnEvent and Reload, which were recovered

	SystemTokens, UserTokens, GatewayURLs int // entries in the caches now
	InFlight                              int // fetches under way now
	Histories                             int // subjects of which a failure or a rejection is remembered now
}

// observer counts events and passes them on.
type observer struct {
	flow   string
	logger *slog.Logger
	hook   func(Event)

	hits                                    stripedCounter
	misses, shared                          atomic.Uint64
	fetches, refreshes, failures, retries   atomic.Uint64
	stale, evictions, rejections, rotations atomic.Uint64
	panics                                  atomic.Uint64

	warnedAt    atomic.Pointer[cache.Instant] // of a full cache
	userTokens  atomic.Uint64                 // of users, fetched
	warnedOfUse atomic.Bool                   // of JWTs that are used once
}

// miss counts a call that fails, and returns its error.
func (o *observer) miss(err error) error {
	o.misses.Add(1)
	return err
}

// snapshot returns the counters.
func (o *observer) snapshot() Stats {
	return Stats{
		Hits: o.hits.load(), Misses: o.misses.Load(), Shared: o.shared.Load(),
		Fetches: o.fetches.Load(), Refreshes: o.refreshes.Load(), Failures: o.failures.Load(), Retries: o.retries.Load(),
		ServedStale: o.stale.Load(), Evictions: o.evictions.Load(), Rejections: o.rejections.Load(), Rotations: o.rotations.Load(),
		Panics: o.panics.Load(),
	}
}

func (o *observer) emit(ev Event) {
	ev.Flow = o.flow
	o.count(ev)
	o.guard(func() { o.log(ev) })
	if o.hook != nil && o.guard(func() { o.hook(ev) }) {
		o.logError("agw: the event hook panicked", slog.String("event", string(ev.Kind)))
	}
}

// guard runs code of the user's and reports whether it panicked. Faulty logging or metrics
// must not end the program, least of all from a goroutine that their author does not know.
func (o *observer) guard(do func()) (panicked bool) {
	defer func() {
		if recover() != nil {
			o.panics.Add(1)
			panicked = true
		}
	}()
	do()
	return false
}

// warnOfFullCache says, at most once a minute, that a token had to leave a full cache
// before it expired, and what to do.
func (o *observer) warnOfFullCache(setting string, size int, now cache.Instant) {
	last := o.warnedAt.Load()
	if o.logger == nil || last != nil && now.Since(*last) < time.Minute || !o.warnedAt.CompareAndSwap(last, &now) {
		return
	}
	o.guard(func() {
		o.logger.Warn("agw: the token cache is full, tokens leave it before they expire: raise Settings."+setting,
			slog.String("flow", o.flow), slog.Int(setting, size), slog.Uint64("evictions", o.evictions.Load()))
	})
}

// manyUsers is after how many users' tokens it can be told whether they are used again.
const manyUsers = 256

// warnOfSingleUse says once that most users' JWTs serve a single call each, and what to do.
func (o *observer) warnOfSingleUse() {
	fetched := o.userTokens.Add(1)
	if o.logger == nil || fetched < manyUsers || o.hits.load() > fetched/4 || o.warnedOfUse.Swap(true) {
		return
	}
	o.guard(func() {
		o.logger.Warn("agw: most users' tokens are used for one call only, and each costs an exchange: keep a user's JWT for the session, since another JWT is another subject",
			slog.String("flow", o.flow), slog.Uint64("user tokens", fetched), slog.Uint64("hits", o.hits.load()))
	})
}

// logError logs what is not an event.
func (o *observer) logError(message string, attrs ...any) {
	if o.logger != nil {
		o.guard(func() { o.logger.Error(message, attrs...) })
	}
}

func (o *observer) count(ev Event) {
	switch ev.Kind {
	case EventFetchStart:
		o.fetches.Add(1)
		if ev.Background {
			o.refreshes.Add(1)
		}
	case EventFetchEnd:
		if ev.Err != nil {
			o.failures.Add(1)
		}
	case EventRetry:
		o.retries.Add(1)
	case EventShare:
		o.shared.Add(1)
	case EventServeStale:
		o.stale.Add(1)
	case EventEvict:
		o.evictions.Add(1)
	case EventReject:
		o.rejections.Add(1)
	case EventRotate:
		o.rotations.Add(1)
	}
}

func (o *observer) log(ev Event) {
	level := slog.LevelDebug
	switch {
	case ev.Kind == EventServeStale: // for each call; the reason was logged once
	case ev.Err != nil, ev.Kind == EventReject:
		level = slog.LevelWarn
	case ev.Kind == EventRotate:
		level = slog.LevelInfo
	}
	if o.logger == nil || !o.logger.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("event", string(ev.Kind)), slog.String("flow", ev.Flow)}
	if ev.Subject != "" {
		attrs = append(attrs, slog.String("subject", ev.Subject))
	}
	if ev.Background {
		attrs = append(attrs, slog.Bool("background", true))
	}
	if ev.Duration != 0 {
		attrs = append(attrs, slog.Duration("duration", ev.Duration))
	}
	if ev.Err != nil {
		attrs = append(attrs, slog.String("error", ev.Err.Error()))
	}
	o.logger.LogAttrs(context.Background(), level, "agw token", attrs...)
}

// A stripedCounter counts what happens in every call. Its cells are on cache lines of
// their own: on a single one, two processors that count at once spend more time on passing
// the line to and fro than on all the rest of a hit.
type stripedCounter [8]struct {
	n atomic.Uint64
	_ [56]byte
}

// add counts one, in a cell that other processors hardly use at the same moment. It
// depends on a reading of the clock, which is cheaper than a random number.
func (s *stripedCounter) add(reading time.Duration) {
	const golden = 0x9e3779b97f4a7c15 // spreads readings whose lower digits do not change
	s[uint64(reading)*golden>>61].n.Add(1)
}

// load returns the sum.
func (s *stripedCounter) load() (sum uint64) {
	for i := range s {
		sum += s[i].n.Load()
	}
	return sum
}
