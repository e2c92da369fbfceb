package cache

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A Value is what an [LRU] holds: a pointer to T that knows its key and its deadline.
// Neither may change once the value has been in an LRU, not even after it has left.
type Value[T any] interface {
	*T

	// Kept returns under which key, and until when. It is one method, and returns the
	// key by its address, because calls of it are a good part of what a hit costs.
	Kept() (under *Key, until Instant)
}

// An LRU is a bounded map of values with deadlines. Values are shared with everybody
// who reads them; two of them are the same if the pointers are.
//
// An LRU must be made by [NewLRU]. Its methods are safe for concurrent use.
type LRU[T any, V Value[T]] struct {
	// newest is the value read or written last. Reading it again changes no order, so
	// it needs no lock: one hot token is served at the speed of an atomic load, on any
	// number of cores.
	newest atomic.Pointer[T]

	mu     sync.Mutex
	size   int
	values *simplelru.LRU[Key, V]
}

// NewLRU returns an empty LRU for size values; a size below 1 counts as 1. V need not
// be named: NewLRU[T] holds values of type *T.
func NewLRU[T any, V Value[T]](size int) *LRU[T, V] {
	size = max(size, 1)
	values, _ := simplelru.NewLRU[Key, V](size, nil) // fails for sizes below 1 only
	return &LRU[T, V]{size: size, values: values}
}

// Get returns the value of key if now is before its deadline, and makes it the
// newest. A stale value is dropped.
func (l *LRU[T, V]) Get(key Key, now Instant) (v V, ok bool) {
	if v = l.newest.Load(); v != nil {
		if under, until := v.Kept(); *under == key && now.Before(until) {
			return v, true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok = l.values.Get(key)
	if !ok {
		return nil, false
	}
	if _, until := v.Kept(); !now.Before(until) {
		l.remove(key, v)
		return nil, false
	}
	l.newest.Store(v)
	return v, true
}

// Put stores v, which is not nil, under its key and makes it the newest. Where the
// LRU was full, the oldest value leaves: evicted is its key.
func (l *LRU[T, V]) Put(v V) (evicted Key, full bool) {
	key, _ := v.Kept()
	l.mu.Lock()
	defer l.mu.Unlock()
	if full = l.values.Len() == l.size && !l.values.Contains(*key); full {
		evicted, _, _ = l.values.RemoveOldest()
	}
	l.values.Add(*key, v)
	l.newest.Store(v)
	return evicted, full
}

// Delete drops v, which is not nil, if it still is the value of its key, and reports
// whether it did.
func (l *LRU[T, V]) Delete(v V) bool {
	key, _ := v.Kept()
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, _ := l.values.Peek(*key); held != v {
		return false
	}
	l.remove(*key, v)
	return true
}

// Forget drops the value of key whatever it is, and reports whether there was one.
func (l *LRU[T, V]) Forget(key Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.values.Peek(key)
	if ok {
		l.remove(key, v)
	}
	return ok
}

// Purge drops everything.
func (l *LRU[T, V]) Purge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.values.Purge()
	l.newest.Store(nil)
}

// Len returns the number of values, stale ones included.
func (l *LRU[T, V]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values.Len()
}

// remove is called with mu held.
func (l *LRU[T, V]) remove(key Key, v V) {
	l.values.Remove(key)
	l.newest.CompareAndSwap(v, nil)
}
