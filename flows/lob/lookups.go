package lob

import (
	"context"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/flight"
	"github.com/agwgo/agw/tokensource"
)

const (
	freshFor = 5 * time.Minute // how long something is remembered without asking again
	staleFor = time.Hour       // and at most, while asking fails for a temporary reason
)

// lookups remembers what the Destination Service has said that seldom changes. Everybody
// who asks for the same at the same time shares one request.
type lookups struct {
	now     func() cache.Instant
	timeout time.Duration // of what it takes to ask
	results *cache.LRU[result]
	calls   flight.Group[cache.Key, found]
}

// A result is something that is remembered. It is asked for again after fresh.
type result struct {
	text  string
	fresh cache.Instant
}

// found is what a lookup led to.
type found struct {
	text  string
	entry *cache.Entry[result] // nil if it was not remembered, but asked for
}

func newLookups(size int, timeout time.Duration, now func() cache.Instant) *lookups {
	return &lookups{now: now, timeout: timeout, results: cache.NewLRU[result](size)}
}

// get returns what is known under key, which ask obtains if need be. The context of ask is
// not ctx: that only bounds how long the caller waits. An error that is not a
// [*tokensource.Error] is not of ask, but of the wait.
func (l *lookups) get(ctx context.Context, key cache.Key, ask func(context.Context) (string, error)) (found, error) {
	call, _ := l.calls.Start(key, flight.Task[cache.Key, found]{
		Timeout: l.timeout,
		Run: func(ctx context.Context) (found, error) {
			// There is one call at a time, so nobody asks for what has just arrived.
			now := l.now()
			entry := l.results.Get(key, now)
			if entry != nil && now.Before(entry.Value.fresh) {
				return found{entry.Value.text, entry}, nil
			}
			text, err := ask(ctx)
			if err == nil {
				return found{text: text}, nil
			}
			if entry == nil {
				return found{}, err
			}
			if e := asError(err); e == nil || e.Kind == tokensource.Temporary {
				return found{entry.Value.text, entry}, nil
			}
			l.results.Delete(entry)
			return found{}, err
		},
		Commit: func(key cache.Key, r found, err error) error {
			if err == nil && r.entry == nil {
				now := l.now()
				l.results.Put(key, result{text: r.text, fresh: now.Add(freshFor)}, now.Add(staleFor), now)
			}
			return err
		},
	})
	return call.Wait(ctx)
}

// drop forgets what was remembered, but nothing that has taken its place.
func (l *lookups) drop(r found) { l.results.Delete(r.entry) }

// purge forgets everything. Calls that are under way leave nothing behind.
func (l *lookups) purge() {
	l.calls.ForgetAll()
	l.results.Purge()
}
