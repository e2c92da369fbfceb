package cache_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

var (
	keyA, keyB, keyC = cache.NewKey("a"), cache.NewKey("b"), cache.NewKey("c")

	later = now.Add(time.Minute) // the deadline of most values below
)

// A value is what the tests put into an LRU.
type value struct {
	key      cache.Key
	deadline cache.Instant
	text     string
}

func (v *value) Kept() (under *cache.Key, until cache.Instant) { return &v.key, v.deadline }

type lru = cache.LRU[value, *value]

// put stores a text.
func put(l *lru, key cache.Key, text string, deadline cache.Instant) (evicted cache.Key, full bool) {
	return l.Put(&value{key, deadline, text})
}

// has checks what key holds; "" is nothing.
func has(t *testing.T, l *lru, key cache.Key, want string) {
	t.Helper()
	got, ok := l.Get(key, now)
	if ok != (want != "") || ok != (got != nil) || ok && (got.text != want || got.key != key) {
		t.Errorf("%v holds %v, %v; want %q", key, got, ok, want)
	}
}

func TestLRUOldestLeaves(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[value](2)
	for _, key := range []cache.Key{keyA, keyB} {
		if evicted, full := put(l, key, "v", later); full {
			t.Errorf("%v left a cache that was not full", evicted)
		}
	}
	if evicted, full := put(l, keyC, "v", later); !full || evicted != keyA {
		t.Errorf("%v left (%v), want %v", evicted, full, keyA)
	}
	has(t, l, keyA, "")
	has(t, l, keyB, "v")
	has(t, l, keyC, "v")
	if l.Len() != 2 {
		t.Errorf("there are %d entries, want 2", l.Len())
	}
}

func TestLRUUseMakesNewest(t *testing.T) {
	t.Parallel()
	uses := map[string]func(l *lru){
		"read":       func(l *lru) { l.Get(keyA, now) },
		"read twice": func(l *lru) { l.Get(keyA, now); l.Get(keyA, now) },
		"write":      func(l *lru) { put(l, keyA, "v", later) },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := cache.NewLRU[value](2)
			put(l, keyA, "v", later)
			put(l, keyB, "v", later)
			use(l)
			if evicted, _ := put(l, keyC, "v", later); evicted != keyB {
				t.Errorf("%v left, want %v", evicted, keyB)
			}
		})
	}
}

func TestLRUReplace(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[value](1)
	put(l, keyA, "old", now.Add(time.Second))
	if evicted, full := put(l, keyA, "new", later); full {
		t.Errorf("%v left when a value was replaced", evicted)
	}
	has(t, l, keyA, "new")
	if _, ok := l.Get(keyA, now.Add(30*time.Second)); !ok {
		t.Error("the new value has the old deadline")
	}
}

func TestLRUSizeBelowOne(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, -1} {
		l := cache.NewLRU[value](size)
		put(l, keyA, "v", later)
		if evicted, full := put(l, keyB, "v", later); !full || evicted != keyA {
			t.Errorf("size %d: %v left (%v), want %v", size, evicted, full, keyA)
		}
		has(t, l, keyB, "v")
	}
}

func TestLRUStaleLeavesOnRead(t *testing.T) {
	t.Parallel()
	ends := map[string]cache.Instant{
		"deadline":      at(time.Minute, time.Minute),
		"machine slept": at(time.Second, time.Hour),
		"wall stood":    at(time.Minute, 0),
	}
	for name, end := range ends {
		for _, newest := range []bool{true, false} {
			l := cache.NewLRU[value](2)
			put(l, keyA, "v", later)
			if !newest {
				put(l, keyB, "v", later)
			}
			before := l.Len()
			if v, ok := l.Get(keyA, end); ok || v != nil {
				t.Errorf("%s: a stale value was served (newest: %v)", name, newest)
			}
			if l.Len() != before-1 {
				t.Errorf("%s: the stale value stayed (newest: %v)", name, newest)
			}
			has(t, l, keyA, "") // also when the clock is set back
		}
	}
}

func TestLRUStrictlyBeforeDeadline(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[value](1)
	put(l, keyA, "v", later)
	if _, ok := l.Get(keyA, later.Add(-1)); !ok {
		t.Error("not served a nanosecond before its deadline")
	}
	if _, ok := l.Get(keyA, later); ok {
		t.Error("served on its deadline")
	}
	put(l, keyA, "v", now)
	has(t, l, keyA, "")
}

// Values are told apart by address, whatever they hold.
func TestLRUDeleteComparesFirst(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[value](2)
	held, equal := &value{keyA, later, "v"}, &value{keyA, later, "v"}
	l.Put(held)
	if l.Delete(equal) || l.Delete(&value{keyB, later, "v"}) || l.Delete(&value{}) {
		t.Error("dropped a value that was not the one")
	}
	has(t, l, keyA, "v")
	if !l.Delete(held) || l.Delete(held) {
		t.Error("the value was not dropped once")
	}
	has(t, l, keyA, "")
	l.Put(held)
	l.Put(equal)
	if l.Delete(held) || !l.Delete(equal) {
		t.Error("a value was taken for the one that it has replaced")
	}
}

// The newest entry has a way of its own to its reader, which no drop may miss.
func TestLRUNewestIsDropped(t *testing.T) {
	t.Parallel()
	drops := map[string]func(l *lru){
		"Delete":   func(l *lru) { v, _ := l.Get(keyA, now); l.Delete(v) },
		"Forget":   func(l *lru) { l.Forget(keyA) },
		"Purge":    func(l *lru) { l.Purge() },
		"eviction": func(l *lru) { put(l, keyB, "v", later) },
		"expiry":   func(l *lru) { l.Get(keyA, later) },
	}
	for name, drop := range drops {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := cache.NewLRU[value](1)
			put(l, keyA, "v", later)
			has(t, l, keyA, "v")
			drop(l)
			has(t, l, keyA, "")
			put(l, keyA, "w", later)
			has(t, l, keyA, "w")
		})
	}
}

func TestLRUForgetAndPurge(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[value](3)
	put(l, keyA, "v", later)
	put(l, keyB, "v", later)
	put(l, keyC, "v", later)
	if !l.Forget(keyA) || l.Forget(keyA) {
		t.Error("the entry was not forgotten once")
	}
	has(t, l, keyB, "v")
	l.Purge()
	has(t, l, keyB, "")
	has(t, l, keyC, "")
	if l.Len() != 0 {
		t.Errorf("%d entries are left", l.Len())
	}
}

// Each goroutine has keys of its own and must always find what it left there,
// whatever the others do to theirs.
func TestLRUConcurrentOwners(t *testing.T) {
	t.Parallel()
	const owners = 8
	l := cache.NewLRU[value](owners * modelKeys)
	var wg sync.WaitGroup
	for owner := range owners {
		wg.Go(func() {
			m := &model{lru: l, size: owners * modelKeys, owner: owner}
			r := rand.New(rand.NewPCG(1, uint64(owner)))
			for range 5000 {
				m.step(t, byte(r.Uint32())%opPurge, byte(r.Uint32()))
			}
		})
	}
	wg.Wait()
}

// With more keys than room, nobody reads another key's value or a stale one, and
// the bound holds.
func TestLRUConcurrentBound(t *testing.T) {
	t.Parallel()
	const size = 4
	l := cache.NewLRU[value](size)
	keys := []cache.Key{keyA, keyB, keyC, {1}, {2}, {3}, {4}, {5}}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(g)))
			last := &value{key: keyA}
			for range 5000 {
				key, at := keys[r.IntN(8)], now.Add(time.Duration(r.IntN(60)))
				switch r.IntN(8) {
				case 0, 1:
					last = &value{key: key, deadline: at}
					l.Put(last)
				case 2:
					l.Delete(last)
				case 3:
					l.Forget(key)
				default:
					if v, ok := l.Get(key, at); ok && (v.key != key || !at.Before(v.deadline)) {
						t.Errorf("%v holds a value of %v with %v left", key, v.key, at.Until(v.deadline))
					}
				}
				if l.Len() > size {
					t.Errorf("there are %d entries, want at most %d", l.Len(), size)
				}
			}
		})
	}
	wg.Wait()
}
