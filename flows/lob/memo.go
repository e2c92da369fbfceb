package lob

import (
	"context"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/flight"
)

const (
	freshFor = 5 * time.Minute // how long an answer is served without asking again
	keptFor  = time.Hour       // how long it is served at most, while asking fails
)

// A memo remembers answers of the Destination Service that seldom change. An answer
// is served for freshFor, and longer if a new one cannot be had for a passing reason.
// Everybody who asks the same question at the same time shares one request.
type memo struct {
	clock   cache.Clock
	timeout time.Duration // of one request, or of what it takes to make it
	answers *cache.LRU[answer, *answer]
	calls   flight.Group[cache.Key, found]
}

// An answer is immutable.
type answer struct {
	key      cache.Key // of the question
	value    string
	fresh    cache.Instant // until then
	deadline cache.Instant // the end
}

// Kept makes an answer the value of a [cache.LRU].
func (a *answer) Kept() (under *cache.Key, until cache.Instant) { return &a.key, a.deadline }

// found is an answer, and whether it was known before.
type found struct {
	*answer
	known bool
}

func newMemo(size int, timeout time.Duration, clock cache.Clock) *memo {
	return &memo{clock: clock, timeout: timeout, answers: cache.NewLRU[answer](size)}
}

// get returns the answer to the question key, which ask gets if need be. The
// context of ask is not ctx, which only bounds the time that the caller waits.
func (m *memo) get(ctx context.Context, key cache.Key, ask func(context.Context) (string, error)) (found, error) {
	call, _ := m.calls.Start(key, flight.Task[cache.Key, found]{
		Timeout: m.timeout,
		Run: func(ctx context.Context, _ *flight.Call[cache.Key, found]) (found, error) {
			return m.lookup(ctx, key, ask)
		},
		Commit: m.commit,
	})
	return call.Wait(ctx)
}

// lookup is called once at a time for a key, so that nobody asks for what has just
// arrived.
func (m *memo) lookup(ctx context.Context, key cache.Key, ask func(context.Context) (string, error)) (found, error) {
	now := m.clock()
	old, _ := m.answers.Get(key, now)
	if old != nil && now.Before(old.fresh) {
		return found{old, true}, nil
	}
	value, err := ask(ctx)
	switch {
	case err == nil:
		now = m.clock()
		return found{&answer{key, value, now.Add(freshFor), now.Add(keptFor)}, false}, nil
	case old != nil && passing(err):
		return found{old, true}, nil
	case old != nil:
		m.drop(old)
	}
	return found{}, err
}

// commit files a new answer, unless it was forgotten while it was on its way.
func (m *memo) commit(_ cache.Key, f found, err error) error {
	if err == nil && !f.known {
		m.answers.Put(f.answer)
	}
	return err
}

// drop forgets the answer a to a question, but none that has replaced it.
func (m *memo) drop(a *answer) { m.answers.Delete(a) }

// forget forgets whatever is, or is about to be, the answer to a question.
func (m *memo) forget(key cache.Key) {
	m.calls.Forget(key)
	m.answers.Forget(key)
}

// purge forgets everything.
func (m *memo) purge() {
	m.calls.ForgetAll(nil, cache.Key{})
	m.answers.Purge()
}
