package cache_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

var keyA, keyB, keyC, keyD = cache.NewKey("a"), cache.NewKey("b"), cache.NewKey("c"), cache.NewKey("d")

// newLRU returns an LRU with an entry for each of keys, the first one being the oldest.
func newLRU(size int, keys ...cache.Key) *cache.LRU[string] {
	l := cache.NewLRU[string](size)
	for _, key := range keys {
		l.Put(key, "value", later, now)
	}
	return l
}

// mustGet returns the entry of key, which must be there.
func mustGet(t *testing.T, l *cache.LRU[string], key cache.Key) *cache.Entry[string] {
	t.Helper()
	e := l.Get(key, now)
	if e == nil {
		t.Fatalf("there is no entry of %v", key)
	}
	return e
}

// assertValue fails the test unless want is the value of key; "" means none.
func assertValue(t *testing.T, l *cache.LRU[string], key cache.Key, want string) {
	t.Helper()
	e := l.Get(key, now)
	switch {
	case e == nil && want != "":
		t.Errorf("%v has no value, want %q", key, want)
	case e != nil && want == "":
		t.Errorf("%v has the value %q, want none", key, e.Value)
	case e != nil && (e.Value != want || e.Key != key):
		t.Errorf("the entry of %v has the value %q and the key %v, want %q and the key it was put under", key, e.Value, e.Key, want)
	}
}

// assertEvicts fails the test unless an entry of another key, put now, evicts that of
// want.
func assertEvicts(t *testing.T, l *cache.LRU[string], other, want cache.Key) {
	t.Helper()
	evicted := l.Put(other, "value", later, now)
	if evicted == nil {
		t.Errorf("nothing was evicted, want %v", want)
	} else if evicted.Key != want {
		t.Errorf("%v was evicted, want %v", evicted.Key, want)
	}
}

// assertLen fails the test unless l has want entries.
func assertLen(t *testing.T, l *cache.LRU[string], want int) {
	t.Helper()
	if got := l.Len(); got != want {
		t.Errorf("there are %d entries, want %d", got, want)
	}
}

func TestOldestEntryIsEvicted(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[string](2)
	for _, key := range []cache.Key{keyA, keyB} {
		if evicted := l.Put(key, "value", later, now); evicted != nil {
			t.Errorf("%v was evicted from an LRU that was not full", evicted.Key)
		}
	}
	oldest := mustGet(t, l, keyA)
	mustGet(t, l, keyB)
	if evicted := l.Put(keyC, "value", later, now); evicted != oldest {
		t.Errorf("Put returned %v as evicted, want the very entry of the oldest key", evicted)
	}
	assertValue(t, l, keyA, "")
	assertValue(t, l, keyB, "value")
	assertValue(t, l, keyC, "value")
	assertLen(t, l, 2)
}

func TestReadingOrReplacingAnEntryMakesItTheNewest(t *testing.T) {
	t.Parallel()
	for name, touch := range map[string]func(l *cache.LRU[string]){
		"read":       func(l *cache.LRU[string]) { l.Get(keyA, now) },
		"read twice": func(l *cache.LRU[string]) { l.Get(keyA, now); l.Get(keyA, now) },
		"replaced":   func(l *cache.LRU[string]) { l.Put(keyA, "value", later, now) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLRU(2, keyA, keyB)
			touch(l)
			assertEvicts(t, l, keyC, keyB)
			assertValue(t, l, keyA, "value")
		})
	}
}

func TestReplacedValueHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	l := cache.NewLRU[string](1)
	l.Put(keyA, "old", now.Add(time.Second), now)
	if evicted := l.Put(keyA, "new", later, now); evicted != nil {
		t.Errorf("replacing a value evicted the entry of %v, want no eviction", evicted.Key)
	}
	assertValue(t, l, keyA, "new")
	assertLen(t, l, 1)
	if l.Get(keyA, now.Add(30*time.Second)) == nil {
		t.Error("30 s later the new value is gone: it has the deadline of the old one")
	}
}

func TestSizeBelowOneIsOne(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, -1} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			l := newLRU(size, keyA)
			assertEvicts(t, l, keyB, keyA)
			assertValue(t, l, keyB, "value")
			assertLen(t, l, 1)
		})
	}
}

func TestValueIsServedStrictlyBeforeItsDeadline(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		mono, wall time.Duration
		served     bool
	}{
		{"at once", 0, 0, true},
		{"a nanosecond before the deadline", time.Minute - 1, time.Minute - 1, true},
		{"on the deadline", time.Minute, time.Minute, false},
		{"after the deadline", time.Hour, time.Hour, false},
		{"on the deadline by the monotonic clock only", time.Minute, 0, false},
		{"on the deadline by the wall clock only", 0, time.Minute, false},
		{"the machine was suspended", time.Second, time.Hour, false},
		{"the wall clock was stepped back, after the deadline", time.Minute, -time.Hour, false},
		{"the wall clock was stepped back, before the deadline", time.Second, -time.Hour, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, used := range []bool{false, true} {
				l := newLRU(2, keyA, keyB)
				e := mustGet(t, l, keyA)
				if used && !e.Use(now) {
					t.Fatal("the entry cannot be used at once")
				}
				moment := at(test.mono, test.wall)
				if got := e.Use(moment); got != test.served {
					t.Errorf("used before: %v; Use is %v, want %v", used, got, test.served)
				}
				if got := l.Get(keyA, moment) != nil; got != test.served {
					t.Errorf("used before: %v; Get returns the entry: %v, want %v", used, got, test.served)
				}
				if !test.served {
					assertLen(t, l, 1) // Get has removed the stale entry
					assertValue(t, l, keyA, "")
				}
			}
		})
	}
	l := cache.NewLRU[string](1)
	l.Put(keyA, "value", now, now)
	assertValue(t, l, keyA, "")
}

// removals are all the ways in which the entry of keyA leaves an LRU of two, in which it
// is the oldest one.
var removals = map[string]func(l *cache.LRU[string], e *cache.Entry[string]){
	"Delete":      func(l *cache.LRU[string], e *cache.Entry[string]) { l.Delete(e) },
	"Forget":      func(l *cache.LRU[string], _ *cache.Entry[string]) { l.Forget(keyA) },
	"Purge":       func(l *cache.LRU[string], _ *cache.Entry[string]) { l.Purge() },
	"replacement": func(l *cache.LRU[string], _ *cache.Entry[string]) { l.Put(keyA, "value", later, now) },
	"eviction": func(l *cache.LRU[string], _ *cache.Entry[string]) {
		for _, key := range []cache.Key{keyB, keyC, keyD} { // more than one, because a used entry is spared once
			l.Put(key, "value", later, now)
		}
	},
	"reading it when it is stale": func(l *cache.LRU[string], _ *cache.Entry[string]) { l.Get(keyA, later) },
	"another Put when it is stale": func(l *cache.LRU[string], _ *cache.Entry[string]) {
		l.Put(keyD, "value", later.Add(time.Minute), later)
	},
}

// An entry that has left its LRU cannot be used, and does not come back with the next
// value of its key, nor when the clocks are set back.
func TestUseIsFalseForGoodOnceTheEntryHasLeft(t *testing.T) {
	t.Parallel()
	for name, remove := range removals {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/used=%v", name, used), func(t *testing.T) {
				t.Parallel()
				l := newLRU(2, keyA, keyB)
				old := l.Get(keyA, now)
				l.Get(keyB, now) // so that keyA is the oldest again
				if used && !old.Use(now) {
					t.Fatal("the entry cannot be used although it is in its LRU")
				}
				remove(l, old)
				if old.Use(now) {
					t.Error("the entry can be used after it has left")
				}
				l.Put(keyA, "successor", later, now)
				if old.Use(now) {
					t.Error("the entry can be used again since its key has another value")
				}
				if old.Use(at(-time.Minute, -time.Minute)) {
					t.Error("the entry can be used again since the clocks were set back")
				}
				if e := mustGet(t, l, keyA); e == old || !e.Use(now) {
					t.Error("the successor cannot be used, or is the old entry")
				}
			})
		}
	}
}

// A late report about an old value must not cost its successor.
func TestDeleteNeverRemovesASuccessor(t *testing.T) {
	t.Parallel()
	for name, remove := range removals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLRU(2, keyA, keyB)
			old := l.Get(keyA, now)
			l.Get(keyB, now)
			remove(l, old)
			l.Put(keyA, "value", later, now) // equal to the old one in everything
			before := l.Len()
			if l.Delete(old) {
				t.Error("Delete of the old entry reports that it was removed now")
			}
			assertValue(t, l, keyA, "value")
			assertLen(t, l, before)
			if successor := mustGet(t, l, keyA); !l.Delete(successor) || l.Delete(successor) {
				t.Error("Delete of the successor is not true once, and false from then on")
			}
			assertValue(t, l, keyA, "")
		})
	}
}

func TestDeleteRemovesNothingElse(t *testing.T) {
	t.Parallel()
	l := newLRU(3, keyA, keyB, keyC)
	if !l.Delete(mustGet(t, l, keyB)) {
		t.Error("Delete of an entry in the LRU is false")
	}
	assertValue(t, l, keyA, "value")
	assertValue(t, l, keyB, "")
	assertValue(t, l, keyC, "value")
	assertLen(t, l, 2)
}

// Whatever happened to an entry, its key is free for another value.
func TestKeyCanBePutAgain(t *testing.T) {
	t.Parallel()
	for name, remove := range removals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLRU(2, keyA, keyB)
			e := l.Get(keyA, now)
			l.Get(keyB, now)
			remove(l, e)
			if name != "replacement" {
				assertValue(t, l, keyA, "")
			}
			l.Put(keyA, "again", later, now)
			assertValue(t, l, keyA, "again")
		})
	}
}

func TestForgetAndPurge(t *testing.T) {
	t.Parallel()
	l := newLRU(3, keyA, keyB, keyC)
	if !l.Forget(keyA) {
		t.Error("Forget of a key with an entry is false")
	}
	if l.Forget(keyA) {
		t.Error("Forget of a key without an entry is true")
	}
	assertValue(t, l, keyA, "")
	assertValue(t, l, keyB, "value")
	l.Purge()
	assertValue(t, l, keyB, "")
	assertValue(t, l, keyC, "")
	assertLen(t, l, 0)
	if evicted := l.Put(keyA, "value", later, now); evicted != nil {
		t.Errorf("%v was evicted from an LRU that was purged", evicted.Key)
	}
}

// The LRU does not see the order of uses, but that there was one.
func TestUsedEntryGetsASecondChance(t *testing.T) {
	t.Parallel()
	l := newLRU(3, keyA, keyB, keyC)
	a := l.Get(keyA, now)
	l.Get(keyB, now)
	l.Get(keyC, now) // keyA is the oldest again
	for range 2 {
		if !a.Use(now) {
			t.Fatal("an entry in its LRU cannot be used, or only once")
		}
	}
	assertEvicts(t, l, keyD, keyB) // the used oldest one is spared, and the unused next one leaves
	if !a.Use(now) {
		t.Fatal("the spared entry cannot be used")
	}
	assertEvicts(t, l, cache.NewKey("e"), keyC) // the spared entry is among the newest
	assertEvicts(t, l, cache.NewKey("f"), keyD) // it is the oldest again, and was used again
	// It was not used any more, and two newer ones came.
	assertEvicts(t, l, cache.NewKey("g"), cache.NewKey("e"))
	assertEvicts(t, l, cache.NewKey("h"), keyA)
	if a.Use(now) {
		t.Error("the evicted entry can be used")
	}
}

func TestOneUseSparesAnEntryOnce(t *testing.T) {
	t.Parallel()
	l := newLRU(1, keyA)
	mustGet(t, l, keyA).Use(now)
	assertEvicts(t, l, keyB, keyA) // it was spared, but there is no other one
	l = newLRU(2, keyA, keyB)
	l.Get(keyA, now).Use(now)
	l.Get(keyB, now)
	assertEvicts(t, l, keyC, keyB)
	assertEvicts(t, l, keyD, keyA)
}

// If all entries are used, one leaves nevertheless after 32 others were spared. So the
// time that a Put takes is bounded, whatever the size.
func TestAtMost32UsedEntriesAreSpared(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                 string
		size, used           int
		first, second, third int // which entries leave, by age
	}{
		{"all of 40 are used", 40, 40, 32, 0, 1},
		{"all of 33 are used", 33, 33, 32, 0, 1},
		{"all of 32 are used", 32, 32, 0, 1, 2},
		{"the oldest 32 of 40 are used", 40, 32, 32, 33, 34},
		{"the oldest 31 of 40 are used", 40, 31, 31, 32, 33},
		{"none is used", 40, 0, 0, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			keys := make([]cache.Key, test.size)
			for i := range keys {
				keys[i] = cache.NewKey("key", strconv.Itoa(i))
			}
			l := newLRU(test.size, keys...)
			for i, key := range keys {
				if e := mustGet(t, l, key); i < test.used && !e.Use(now) {
					t.Fatalf("entry %d cannot be used", i)
				}
			}
			for i, want := range []int{test.first, test.second, test.third} {
				evicted := l.Put(cache.NewKey("new", strconv.Itoa(i)), "value", later, now)
				if evicted == nil {
					t.Fatalf("Put %d evicted nothing, want entry %d", i, want)
				}
				if got := slices.Index(keys, evicted.Key); got != want {
					t.Errorf("Put %d evicted entry %d, want %d", i, got, want)
				}
			}
			assertLen(t, l, test.size)
		})
	}
}

// Stale entries leave before one that could still be served, and are not reported.
func TestPutSweepsStaleEntries(t *testing.T) {
	t.Parallel()
	const stale, fresh = time.Second, time.Hour
	for _, test := range []struct {
		name    string
		size    int
		lives   []time.Duration // of the entries, oldest first
		used    []int           // which of them are used, by age
		evicted int             // which of them Put reports, by age; -1 for none
		left    []int           // which of them are in the LRU afterwards, by age
	}{
		{"nothing is stale", 3, []time.Duration{fresh, fresh, fresh}, nil, 0, []int{1, 2}},
		{"the oldest is stale", 3, []time.Duration{stale, fresh, fresh}, nil, -1, []int{1, 2}},
		{"the oldest is stale, and was used", 3, []time.Duration{stale, fresh, fresh}, []int{0}, -1, []int{1, 2}},
		{"the two oldest are stale", 3, []time.Duration{stale, stale, fresh}, nil, -1, []int{2}},
		{"at most two leave", 3, []time.Duration{stale, stale, stale}, nil, -1, []int{2}},
		{"they leave though there is room", 9, []time.Duration{stale, stale, stale, fresh}, nil, -1, []int{2, 3}},
		{"only stale ones leave", 9, []time.Duration{stale, fresh, stale}, nil, -1, []int{1, 2}},
		{"the oldest is not stale", 3, []time.Duration{fresh, stale, stale}, nil, 0, []int{1, 2}},
		{"the oldest was used, the next is stale", 2, []time.Duration{fresh, stale}, []int{0}, -1, []int{0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := cache.NewLRU[string](test.size)
			entries := make([]*cache.Entry[string], len(test.lives))
			for i, life := range test.lives {
				key := cache.NewKey("key", strconv.Itoa(i))
				l.Put(key, "value", now.Add(life), now)
				entries[i] = l.Get(key, now)
			}
			for _, i := range test.used {
				entries[i].Use(now)
			}
			evicted := l.Put(keyA, "value", now.Add(fresh), now.Add(time.Minute))
			if got := slices.Index(entries, evicted); got != test.evicted {
				t.Errorf("Put reports entry %d as evicted, want %d (-1 is none)", got, test.evicted)
			}
			assertLen(t, l, len(test.left)+1)
			for i, e := range entries {
				if got, want := l.Get(e.Key, now) == e, slices.Contains(test.left, i); got != want {
					t.Errorf("entry %d is in the LRU: %v, want %v", i, got, want)
				}
				if got, want := e.Use(now), slices.Contains(test.left, i); got != want {
					t.Errorf("entry %d can be used: %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	l := newLRU(2, keyA, keyB)
	e := mustGet(t, l, keyA)
	for name, hit := range map[string]func() bool{
		"Get": func() bool { return l.Get(keyA, now) != nil && l.Get(keyB, now) != nil },
		"Use": func() bool { return e.Use(now) },
	} {
		if allocations := testing.AllocsPerRun(100, func() {
			if !hit() {
				t.Errorf("%s did not hit", name)
			}
		}); allocations != 0 {
			t.Errorf("a hit by %s allocates %v times, want 0", name, allocations)
		}
	}
}

// Each goroutine has keys of its own, and must always find what it left there, whatever
// the others do to theirs.
func TestConcurrentOwnersFindTheirOwnEntries(t *testing.T) {
	t.Parallel()
	const owners, keys = 8, 6
	shared := cache.NewLRU[int](owners * keys)
	var wg sync.WaitGroup
	for owner := range owners {
		wg.Go(func() {
			m := newModel(t, shared, owners*keys, keys, owner)
			r := rand.New(rand.NewPCG(1, uint64(owner)))
			for range 5000 {
				m.step(byte(r.Uint32())%sharedOperations, byte(r.Uint32()))
			}
		})
	}
	wg.Wait()
}

// An entry that is used at the very moment at which it leaves has left. This test does not
// run in parallel with others, so that it has two cores.
func TestUseDoesNotBringBackAnEntryThatIsLeaving(t *testing.T) {
	const rounds, size = 1000, 200
	keys := make([]cache.Key, size)
	for i := range keys {
		keys[i] = cache.NewKey(strconv.Itoa(i))
	}
	for range rounds {
		l := newLRU(size, keys...)
		entries := make([]*cache.Entry[string], size)
		for i, key := range keys {
			entries[i] = mustGet(t, l, key)
		}
		var deleting atomic.Int32 // the number of the entry whose turn it is, from 1
		var wg sync.WaitGroup
		wg.Go(func() {
			for i, e := range entries {
				deleting.Store(int32(i + 1))
				l.Delete(e)
			}
		})
		wg.Go(func() {
			for i, e := range entries {
				for spin := 0; deleting.Load() <= int32(i); spin++ {
					if spin > 100 {
						runtime.Gosched()
					}
				}
				for range i % 4 { // a little later than the last one
					deleting.Load()
				}
				e.Use(now)
			}
		})
		wg.Wait()
		for i, e := range entries {
			if e.Use(now) {
				t.Fatalf("entry %d can be used although it was deleted", i)
			}
		}
	}
}

// With more keys than room, and with everything at once: nobody reads another key's
// value or a stale one, an entry leaves once and for good, and the bound holds.
func TestConcurrentCallersKeepTheBounds(t *testing.T) {
	t.Parallel()
	const size = 4
	type value struct {
		key      cache.Key
		removals atomic.Int32 // that were reported to somebody
	}
	l := cache.NewLRU[*value](size)
	keys := []cache.Key{keyA, keyB, keyC, keyD, {1}, {2}, {3}, {4}}
	removed := func(e *cache.Entry[*value], how string) {
		if e.Value.removals.Add(1) > 1 {
			t.Errorf("the entry of %v was removed by %s, after it had been removed before", e.Key, how)
		}
		if e.Use(now) {
			t.Errorf("the entry of %v can be used although it was removed by %s", e.Key, how)
		}
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(g)))
			var last *cache.Entry[*value]
			for range 5000 {
				key, moment := keys[r.IntN(len(keys))], now.Add(time.Duration(r.IntN(60)))
				switch n := r.IntN(100); {
				case n < 25:
					if evicted := l.Put(key, &value{key: key}, moment.Add(time.Duration(r.IntN(60))), moment); evicted != nil {
						removed(evicted, "eviction")
					}
				case n < 35 && last != nil:
					if l.Delete(last) {
						removed(last, "Delete")
					}
				case n < 40:
					l.Forget(key)
				case n < 41:
					l.Purge()
				case n < 60 && last != nil:
					hadLeft := !last.Use(now)
					if last.Use(moment) && (hadLeft || !moment.Before(last.Deadline)) {
						t.Errorf("an entry of %v that had left (%v) or has %v left can be used", last.Key, hadLeft, moment.Until(last.Deadline))
					}
				default:
					e := l.Get(key, moment)
					if e == nil {
						continue
					}
					if e.Key != key || e.Value.key != key || !moment.Before(e.Deadline) {
						t.Errorf("Get(%v) returned an entry of %v with %v left", key, e.Value.key, moment.Until(e.Deadline))
					}
					last = e
				}
				if n := l.Len(); n > size {
					t.Errorf("there are %d entries, want at most %d", n, size)
				}
			}
		})
	}
	wg.Wait()
	for _, key := range keys {
		if e := l.Get(key, now); e != nil && e.Value.removals.Load() != 0 {
			t.Errorf("the entry of %v is in the LRU, although its removal was reported", key)
		}
	}
}

// An entry that never was in this LRU is not the entry of its key.
func TestDeleteOfAForeignEntryRemovesNothing(t *testing.T) {
	other := cache.NewLRU[string](2)
	other.Put(keyA, "value", later, now)
	for name, foreign := range map[string]*cache.Entry[string]{
		"made by hand":   {Key: keyA, Value: "value", Deadline: later},
		"of another LRU": other.Get(keyA, now),
		"the zero Entry": {},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLRU(2, keyA, keyB)
			own := mustGet(t, l, keyA)
			if l.Delete(foreign) {
				t.Error("Delete of an entry that never was in the LRU is true")
			}
			assertValue(t, l, keyA, "value")
			assertLen(t, l, 2)
			l.Purge()
			if own.Use(now) {
				t.Error("after Purge, the entry that Delete removed by mistake can still be used")
			}
		})
	}
}

// A stale entry leaves, even if it was used, before one that could still be served.
func TestStaleEntryIsNotSpared(t *testing.T) {
	l := cache.NewLRU[string](3)
	l.Put(keyA, "value", now.Add(time.Hour), now)
	l.Put(keyB, "value", later, now)
	l.Put(keyC, "value", now.Add(time.Hour), now)
	l.Get(keyA, now).Use(now)
	l.Get(keyB, now).Use(now)
	l.Get(keyC, now)
	// keyB is stale now, but not the oldest.
	if evicted := l.Put(keyD, "value", now.Add(time.Hour), later); evicted != nil {
		t.Errorf("%v was evicted, want the stale entry %v to leave", evicted.Key, keyB)
	}
	assertValue(t, l, keyC, "value")
}
