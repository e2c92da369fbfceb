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

// has checks what key holds; "" is nothing.
func has(t *testing.T, l *cache.LRU[string], key cache.Key, want string) {
	t.Helper()
	if got, ok := l.Get(key, now); got != want || ok != (want != "") {
		t.Errorf("%v holds %q, %v; want %q", key, got, ok, want)
	}
}

func TestLRUOldestLeaves(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[string](2)
	for _, key := range []cache.Key{keyA, keyB} {
		if evicted, full := l.Put(key, "v", later); full {
			t.Errorf("%v left a cache that was not full", evicted)
		}
	}
	if evicted, full := l.Put(keyC, "v", later); !full || evicted != keyA {
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
	uses := map[string]func(l *cache.LRU[string]){
		"read":       func(l *cache.LRU[string]) { l.Get(keyA, now) },
		"read twice": func(l *cache.LRU[string]) { l.Get(keyA, now); l.Get(keyA, now) },
		"write":      func(l *cache.LRU[string]) { l.Put(keyA, "v", later) },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := cache.NewLRU[string](2)
			l.Put(keyA, "v", later)
			l.Put(keyB, "v", later)
			use(l)
			if evicted, _ := l.Put(keyC, "v", later); evicted != keyB {
				t.Errorf("%v left, want %v", evicted, keyB)
			}
		})
	}
}

func TestLRUReplace(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[string](1)
	l.Put(keyA, "old", now.Add(time.Second))
	if evicted, full := l.Put(keyA, "new", later); full {
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
		l := cache.NewLRU[string](size)
		l.Put(keyA, "v", later)
		if evicted, full := l.Put(keyB, "v", later); !full || evicted != keyA {
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
			l := cache.NewLRU[string](2)
			l.Put(keyA, "v", later)
			if !newest {
				l.Put(keyB, "v", later)
			}
			before := l.Len()
			if v, ok := l.Get(keyA, end); ok || v != "" {
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
	l := cache.NewLRU[string](1)
	l.Put(keyA, "v", later)
	if _, ok := l.Get(keyA, later.Add(-1)); !ok {
		t.Error("not served a nanosecond before its deadline")
	}
	if _, ok := l.Get(keyA, later); ok {
		t.Error("served on its deadline")
	}
	l.Put(keyA, "v", now)
	has(t, l, keyA, "")
}

func TestLRUDeleteComparesFirst(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[string](2)
	l.Put(keyA, "new", later)
	if l.Delete(keyA, "old") || l.Delete(keyB, "new") || l.Delete(keyB, "") {
		t.Error("dropped a value that was not the one")
	}
	has(t, l, keyA, "new")
	if !l.Delete(keyA, "new") || l.Delete(keyA, "new") {
		t.Error("the value was not dropped once")
	}
	has(t, l, keyA, "")
}

// The newest entry has a way of its own to its reader, which no drop may miss.
func TestLRUNewestIsDropped(t *testing.T) {
	t.Parallel()
	drops := map[string]func(l *cache.LRU[string]){
		"Delete":   func(l *cache.LRU[string]) { l.Delete(keyA, "v") },
		"Forget":   func(l *cache.LRU[string]) { l.Forget(keyA) },
		"Purge":    func(l *cache.LRU[string]) { l.Purge() },
		"eviction": func(l *cache.LRU[string]) { l.Put(keyB, "v", later) },
		"expiry":   func(l *cache.LRU[string]) { l.Get(keyA, later) },
	}
	for name, drop := range drops {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := cache.NewLRU[string](1)
			l.Put(keyA, "v", later)
			has(t, l, keyA, "v")
			drop(l)
			has(t, l, keyA, "")
			l.Put(keyA, "w", later)
			has(t, l, keyA, "w")
		})
	}
}

func TestLRUForgetAndPurge(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[string](3)
	l.Put(keyA, "v", later)
	l.Put(keyB, "v", later)
	l.Put(keyC, "v", later)
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

// Values that can be compared only by address are told apart by it.
func TestLRUPointers(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[*string](1)
	old, fresh := new(string), new(string)
	l.Put(keyA, fresh, later)
	if l.Delete(keyA, old) || !l.Delete(keyA, fresh) {
		t.Error("equal values were taken for the same")
	}
}

// Each goroutine has keys of its own and must always find what it left there,
// whatever the others do to theirs.
func TestLRUConcurrentOwners(t *testing.T) {
	t.Parallel()
	const owners = 8
	l := cache.NewLRU[int](owners * modelKeys)
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
	l := cache.NewLRU[uint64](size)
	keys := []cache.Key{keyA, keyB, keyC, {1}, {2}, {3}, {4}, {5}}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(g)))
			for range 5000 {
				// A value tells its key and until when it is valid.
				n, age := r.Uint64N(8), time.Duration(r.IntN(60))
				switch r.IntN(8) {
				case 0, 1:
					l.Put(keys[n], n<<32|uint64(age), now.Add(age))
				case 2:
					l.Delete(keys[n], n<<32|uint64(age))
				case 3:
					l.Forget(keys[n])
				default:
					if v, ok := l.Get(keys[n], now.Add(age)); ok && (v>>32 != n || v&0xffffffff <= uint64(age)) {
						t.Errorf("key %d after %d ns holds %#x", n, age, v)
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
