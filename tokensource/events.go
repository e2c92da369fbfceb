package tokensource

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// An EventKind says what happened.
type EventKind string

// What happens to tokens. A served hit is no event: count it by [Source.Stats].
const (
	EventFetchStart EventKind = "fetch_start" // a fetch begins; in the background if Background
	EventFetchEnd   EventKind = "fetch_end"   // the fetch has ended after Duration, with Err if it failed
	EventRetry      EventKind = "retry"       // an attempt of a fetch failed with Err; the next one follows in Duration
	EventShare      EventKind = "share"       // a caller joins a fetch that is under way
	EventServeStale EventKind = "serve_stale" // a token in its expiry buffer is served, since its renewal did not succeed
	EventEvict      EventKind = "evict"       // the oldest token left a full cache
	EventReject     EventKind = "reject"      // the gateway refused a token, which is dropped
	EventForget     EventKind = "forget"      // a subject was forgotten; with an empty Subject, all were
	EventRotate     EventKind = "rotate"      // the credentials have changed; no token of the old ones is served
	EventReload     EventKind = "reload"      // the credentials could not be read again: Err
)

// An Event is something that happened to the token of a subject. It holds no
// secret.
type Event struct {
	Kind       EventKind
	Flow       string        // name of the flow
	Subject    string        // fingerprint of the subject, see Grant.Fingerprint; "" if it concerns all
	Background bool          // a renewal that no caller waits for
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

	ServedStale uint64 // hits and misses served from the expiry buffer, since the renewal did not succeed
	Evictions   uint64 // tokens that left a full cache
	Rejections  uint64 // tokens dropped because the gateway refused them
	Rotations   uint64 // changes of credentials

	SystemTokens, UserTokens, GatewayURLs int // entries in the caches now
	InFlight                              int // fetches under way now
	Noted                                 int // subjects of whom a failure or a rejection is remembered now
}

// counters are the live form of Stats.
type counters struct {
	hits                                    striped
	misses, shared                          atomic.Uint64
	fetches, refreshes, failures, retries   atomic.Uint64
	stale, evictions, rejections, rotations atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Hits: c.hits.load(), Misses: c.misses.Load(), Shared: c.shared.Load(),
		Fetches: c.fetches.Load(), Refreshes: c.refreshes.Load(), Failures: c.failures.Load(), Retries: c.retries.Load(),
		ServedStale: c.stale.Load(), Evictions: c.evictions.Load(), Rejections: c.rejections.Load(), Rotations: c.rotations.Load(),
	}
}

// observer counts events and passes them on.
type observer struct {
	counters
	flow   string
	logger *slog.Logger
	hook   func(Event)
}

func (o *observer) emit(ev Event) {
	ev.Flow = o.flow
	o.count(ev)
	if o.logger != nil {
		o.log(ev)
	}
	if o.hook != nil {
		o.call(ev)
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
	case ev.Kind == EventServeStale: // by each call; the reason was logged once
	case ev.Err != nil, ev.Kind == EventReject:
		level = slog.LevelWarn
	case ev.Kind == EventRotate:
		level = slog.LevelInfo
	}
	if !o.logger.Enabled(context.Background(), level) {
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

// call calls the hook. A panic in it is reported, not spread: a faulty metric must
// not end the program from a goroutine that its author does not know of.
func (o *observer) call(ev Event) {
	defer func() {
		if r := recover(); r != nil && o.logger != nil {
			o.logger.Error("agw: the event hook panicked", slog.String("event", string(ev.Kind)))
		}
	}()
	o.hook(ev)
}
