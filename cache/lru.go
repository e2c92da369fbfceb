package cache

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// An LRU maps keys to values with deadlines, up to a fixed number of them. It must be
// made by [NewLRU].
//
// A reader that remembers an [Entry] need not come back to the LRU: [Entry.Use] takes
// neither a lock nor a map lookup. The LRU does not see the order of such uses, only
// that there was one: an entry that has been used since it was last considered for
// removal is not the least recently used one.
type LRU[V any] struct {
	size int

	mu      sync.Mutex
	entries *simplelru.LRU[Key, *Entry[V]] // those whose state is not gone
}

// An Entry is a value in an LRU, or one that has left it. Its fields must not be
// modified.
type Entry[V any] struct {
	Key      Key
	Value    V
	Deadline Instant

	// state is idle or used while the entry is in its LRU. It becomes gone, for good,
	// with the LRU locked.
	state atomic.Uint32
}

const (
	idle uint32 = iota
	used        // by Use, since the entry came or was last considered for removal
	gone
)

const (
	maxSpared = 32 // used entries that are passed over before one leaves all the same
	maxSwept  = 2  // stale entries that leave whenever another one comes in
)

// NewLRU returns an empty LRU for size values. A size below 1 counts as 1.
func NewLRU[V any](size int) *LRU[V] {
	size = max(size, 1)
	entries, _ := simplelru.NewLRU[Key, *Entry[V]](size, nil) // fails for sizes below 1 only
	return &LRU[V]{size: size, entries: entries}
}

// Use reports whether e still is in its LRU and now is before its deadline. If so, the
// entry counts as recently used.
func (e *Entry[V]) Use(now Instant) bool {
	if !now.Before(e.Deadline) {
		return false
	}
	for {
		switch e.state.Load() {
		case used:
			return true
		case gone:
			return false
		}
		if e.state.CompareAndSwap(idle, used) {
			return true
		}
	}
}

// Get returns the entry of key, and makes it the most recently used one. It returns nil
// if there is none whose deadline is after now. A stale entry is removed.
func (l *LRU[V]) Get(key Key, now Instant) *Entry[V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries.Get(key)
	if !ok {
		return nil
	}
	if !now.Before(e.Deadline) {
		l.remove(e)
		return nil
	}
	return e
}

// Put makes value the value of key until deadline, and the most recently used one. If
// the LRU is full, another entry leaves: evicted is that entry if it was not stale, else
// nil.
func (l *LRU[V]) Put(key Key, value V, deadline, now Instant) (evicted *Entry[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.entries.Peek(key); ok {
		l.remove(old)
	}
	for range maxSwept {
		if _, oldest, ok := l.entries.GetOldest(); ok && !now.Before(oldest.Deadline) {
			l.remove(oldest)
		}
	}
	if l.entries.Len() == l.size {
		evicted = l.leastUsed(now)
		l.remove(evicted)
		if !now.Before(evicted.Deadline) {
			evicted = nil
		}
	}
	l.entries.Add(key, &Entry[V]{Key: key, Value: value, Deadline: deadline})
	return evicted
}

// leastUsed returns the entry that has to leave a full LRU. An entry that has been used
// gets a second chance: it becomes the most recently used one. mu is held.
func (l *LRU[V]) leastUsed(now Instant) *Entry[V] {
	for range maxSpared {
		key, oldest, _ := l.entries.GetOldest()
		if !now.Before(oldest.Deadline) || !oldest.state.CompareAndSwap(used, idle) {
			return oldest
		}
		l.entries.Get(key)
	}
	_, oldest, _ := l.entries.GetOldest()
	return oldest
}

// Delete removes e if it still is the entry of its key, and reports whether it was.
func (l *LRU[V]) Delete(e *Entry[V]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if current, _ := l.entries.Peek(e.Key); current != e {
		return false
	}
	l.remove(e)
	return true
}

// Forget removes the entry of key, whatever its value, and reports whether there was one.
func (l *LRU[V]) Forget(key Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries.Peek(key)
	if ok {
		l.remove(e)
	}
	return ok
}

// Purge removes everything.
func (l *LRU[V]) Purge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries.Values() {
		l.remove(e)
	}
}

// Len returns the number of entries, stale ones included.
func (l *LRU[V]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries.Len()
}

// remove takes e out. mu is held.
func (l *LRU[V]) remove(e *Entry[V]) {
	e.state.Store(gone)
	l.entries.Remove(e.Key)
}
