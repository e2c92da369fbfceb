package cache

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// An LRU is a bounded map of values with deadlines. The values are shared with
// everybody who reads them: they must not be modified once they are in.
//
// An LRU must be made by [NewLRU]. Its methods are safe for concurrent use.
type LRU[V comparable] struct {
	// newest is the entry read or written last. Reading it again changes no
	// order, so it needs no lock: one hot token is served at the speed of an
	// atomic load, on any number of cores.
	newest atomic.Pointer[item[V]]

	mu    sync.Mutex
	size  int
	items *simplelru.LRU[Key, *item[V]]
}

// item is immutable.
type item[V comparable] struct {
	key      Key
	value    V
	deadline Instant
}

// NewLRU returns an empty LRU for size entries; a size below 1 counts as 1.
func NewLRU[V comparable](size int) *LRU[V] {
	size = max(size, 1)
	items, _ := simplelru.NewLRU[Key, *item[V]](size, nil) // fails for sizes below 1 only
	return &LRU[V]{size: size, items: items}
}

// Get returns the value of key if now is before its deadline, and makes it the
// newest. A stale value is dropped.
func (l *LRU[V]) Get(key Key, now Instant) (value V, ok bool) {
	if it := l.newest.Load(); it != nil && it.key == key && now.Before(it.deadline) {
		return it.value, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	it, ok := l.items.Get(key)
	if !ok {
		return value, false
	}
	if !now.Before(it.deadline) {
		l.remove(it)
		return value, false
	}
	l.newest.Store(it)
	return it.value, true
}

// Put stores value under key until deadline and makes it the newest. Where the
// LRU was full, the oldest entry leaves: evicted is its key.
func (l *LRU[V]) Put(key Key, value V, deadline Instant) (evicted Key, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if full = l.items.Len() == l.size && !l.items.Contains(key); full {
		evicted, _, _ = l.items.RemoveOldest()
	}
	it := &item[V]{key: key, value: value, deadline: deadline}
	l.items.Add(key, it)
	l.newest.Store(it)
	return evicted, full
}

// Delete drops key if its value still is value, and reports whether it did.
func (l *LRU[V]) Delete(key Key, value V) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, ok := l.items.Peek(key)
	if !ok || it.value != value {
		return false
	}
	l.remove(it)
	return true
}

// Forget drops key whatever its value, and reports whether there was one.
func (l *LRU[V]) Forget(key Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, ok := l.items.Peek(key)
	if ok {
		l.remove(it)
	}
	return ok
}

// Purge drops everything.
func (l *LRU[V]) Purge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items.Purge()
	l.newest.Store(nil)
}

// Len returns the number of entries, stale ones included.
func (l *LRU[V]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.items.Len()
}

// remove is called with mu held.
func (l *LRU[V]) remove(it *item[V]) {
	l.items.Remove(it.key)
	l.newest.CompareAndSwap(it, nil)
}
