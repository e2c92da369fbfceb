package cache_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

// A model is the simplest thing that behaves as an LRU should: a list, oldest entry
// first. Every step is done to both, and they must agree.
type model struct {
	t     *testing.T
	lru   *cache.LRU[int]
	size  int
	keys  int           // how many different keys the steps use
	owner int           // whose keys these are, if several models share an LRU
	mono  time.Duration // what has passed on the monotonic clock
	wall  time.Duration // and on the wall clock

	listed []*modelEntry
	gone   []*cache.Entry[int] // some entries that have left
	puts   int                 // values are numbered
}

// A modelEntry is an entry that is in the LRU.
type modelEntry struct {
	key      cache.Key
	value    int
	deadline cache.Instant
	used     bool
	real     *cache.Entry[int] // nil until Get has returned it
}

func newModel(t *testing.T, lru *cache.LRU[int], size, keys, owner int) *model {
	return &model{t: t, lru: lru, size: size, keys: keys, owner: owner}
}

// What a step does. The first ones can be done to an LRU that several models share: they
// do not depend on the order of entries, and no time passes.
const (
	doGet byte = iota
	doGetAgain
	doUse
	doUseGone
	doPut
	doDelete
	doDeleteGone
	doForget
	sharedOperations
)

const (
	doPutShort = sharedOperations + iota // with a deadline that comes soon
	doUseAll                             // all entries
	doTick                               // time passes
	doSuspend                            // time passes on the wall clock only
	doStepBack                           // the wall clock is set back
	doPurge
	operations
)

// step does one operation, with the key or the time that arg says.
func (m *model) step(operation, arg byte) {
	m.t.Helper()
	key := cache.NewKey("model", strconv.Itoa(m.owner), strconv.Itoa(int(arg)%m.keys))
	span := time.Duration(arg) * time.Second
	switch operation {
	case doGet, doGetAgain:
		m.get(key)
	case doUse:
		if e := m.find(key); e != nil {
			m.use(e)
		}
	case doUseGone:
		if len(m.gone) > 0 && m.gone[int(arg)%len(m.gone)].Use(m.now()) {
			m.t.Error("Use of an entry that has left is true, want false for good")
		}
	case doPut:
		m.put(key, m.now().Add(time.Hour))
	case doPutShort:
		m.put(key, m.now().Add(span))
	case doDelete:
		m.delete(key)
	case doDeleteGone:
		if len(m.gone) > 0 && m.lru.Delete(m.gone[int(arg)%len(m.gone)]) {
			m.t.Error("Delete of an entry that has left is true, want false")
		}
	case doForget:
		e := m.find(key)
		m.remove(e)
		if got, want := m.lru.Forget(key), e != nil; got != want {
			m.t.Errorf("Forget is %v, want %v", got, want)
		}
	case doUseAll:
		for _, e := range m.listed {
			m.use(e)
		}
	case doTick:
		m.mono, m.wall = m.mono+span, m.wall+span
	case doSuspend:
		m.wall += span
	case doStepBack:
		m.mono, m.wall = m.mono+span, m.wall-span
	case doPurge:
		m.lru.Purge()
		for len(m.listed) > 0 {
			m.remove(m.listed[0])
		}
	}
}

func (m *model) now() cache.Instant { return at(m.mono, m.wall) }

// stale reports whether the deadline of e has come.
func (m *model) stale(e *modelEntry) bool { return !m.now().Before(e.deadline) }

// find returns the entry of key; nil if there is none.
func (m *model) find(key cache.Key) *modelEntry {
	i := slices.IndexFunc(m.listed, func(e *modelEntry) bool { return e.key == key })
	if i < 0 {
		return nil
	}
	return m.listed[i]
}

// remove takes e, which may be nil, off the list.
func (m *model) remove(e *modelEntry) {
	i := slices.Index(m.listed, e)
	if i < 0 {
		return
	}
	m.listed = slices.Delete(m.listed, i, i+1)
	if e.real != nil {
		m.gone = append(m.gone, e.real)
		m.gone = m.gone[max(0, len(m.gone)-10):]
	}
}

// makeNewest moves e to the end of the list.
func (m *model) makeNewest(e *modelEntry) {
	i := slices.Index(m.listed, e)
	m.listed = append(slices.Delete(m.listed, i, i+1), e)
}

func (m *model) get(key cache.Key) {
	m.t.Helper()
	e, got := m.find(key), m.lru.Get(key, m.now())
	if e != nil && m.stale(e) {
		m.remove(e)
		e = nil
	}
	switch {
	case e == nil && got != nil:
		m.t.Errorf("Get returned value %d, want nil", got.Value)
	case e != nil && got == nil:
		m.t.Errorf("Get returned nil, want value %d", e.value)
	case e != nil:
		if got.Key != key || got.Value != e.value || got.Deadline != e.deadline || e.real != nil && e.real != got {
			m.t.Errorf("Get returned another entry, with value %d, want %d", got.Value, e.value)
		}
		e.real = got
		m.makeNewest(e)
	}
}

// use uses e, unless the model does not know the real entry yet.
func (m *model) use(e *modelEntry) {
	m.t.Helper()
	if e.real == nil {
		return
	}
	want := !m.stale(e)
	e.used = e.used || want
	if got := e.real.Use(m.now()); got != want {
		m.t.Errorf("Use of value %d is %v, want %v", e.value, got, want)
	}
}

func (m *model) put(key cache.Key, deadline cache.Instant) {
	m.t.Helper()
	m.remove(m.find(key))
	for range 2 {
		if len(m.listed) > 0 && m.stale(m.listed[0]) {
			m.remove(m.listed[0])
		}
	}
	var want *modelEntry
	if len(m.listed) == m.size {
		for spared := 0; m.listed[0].used && !m.stale(m.listed[0]) && spared < 32; spared++ {
			m.listed[0].used = false
			m.makeNewest(m.listed[0])
		}
		want = m.listed[0]
		m.remove(want)
		if m.stale(want) {
			want = nil
		}
	}
	m.puts++
	m.listed = append(m.listed, &modelEntry{key: key, value: m.puts, deadline: deadline})
	got := m.lru.Put(key, m.puts, deadline, m.now())
	switch {
	case want == nil && got != nil:
		m.t.Errorf("Put evicted value %d, want none", got.Value)
	case want != nil && got == nil:
		m.t.Errorf("Put evicted nothing, want value %d", want.value)
	case want != nil && (got.Value != want.value || got.Key != want.key):
		m.t.Errorf("Put evicted value %d of %v, want value %d of %v", got.Value, got.Key, want.value, want.key)
	case got != nil && got.Use(m.now()):
		m.t.Errorf("Use of the evicted value %d is true", got.Value)
	}
}

func (m *model) delete(key cache.Key) {
	m.t.Helper()
	e := m.find(key)
	if e == nil || e.real == nil {
		return
	}
	m.remove(e)
	if !m.lru.Delete(e.real) {
		m.t.Errorf("Delete of value %d is false, want true", e.value)
	}
}

// runModel does the steps that script says, two bytes each, to a new LRU, and evicts
// everything in the end, which shows the order of what is left.
func runModel(t *testing.T, size, keys int, script []byte) {
	t.Helper()
	m := newModel(t, cache.NewLRU[int](size), size, keys, 0)
	for pair := range slices.Chunk(script, 2) {
		m.step(pair[0]%operations, pair[len(pair)-1])
		if got := m.lru.Len(); got != len(m.listed) {
			t.Fatalf("there are %d entries, want %d", got, len(m.listed))
		}
	}
	m.owner = 1 // other keys
	for i := range 2 * size {
		m.put(cache.NewKey("last", strconv.Itoa(i)), m.now().Add(time.Hour))
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                 string
		minSize, sizes, keys int
		runs, steps          int
	}{
		{"few keys", 1, 7, 6, 300, 300},
		{"more keys than are spared", 31, 10, 50, 50, 800},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for seed := range test.runs {
				script := make([]byte, 2*test.steps)
				r := rand.New(rand.NewPCG(uint64(seed), 0))
				for i := range script {
					script[i] = byte(r.Uint32())
				}
				if seed%2 == 0 { // purges keep the LRU from being full
					for i := 0; i < len(script); i += 2 {
						if script[i]%operations == doPurge {
							script[i] = doPut
						}
					}
				}
				runModel(t, test.minSize+seed%test.sizes, test.keys, script)
				if t.Failed() {
					t.Fatalf("with seed %d", seed)
				}
			}
		})
	}
}

func FuzzLRU(f *testing.F) {
	f.Add(uint8(1), []byte{doPut, 0, doGet, 0, doPut, 1, doGet, 0})
	f.Add(uint8(2), []byte{doPutShort, 9, doPut, 1, doTick, 9, doGet, 3, doStepBack, 9, doGet, 3})
	f.Add(uint8(3), []byte{doPut, 0, doGet, 0, doDelete, 0, doGet, 0, doPurge, 0, doForget, 0, doUseGone, 0})
	f.Add(uint8(2), []byte{doPut, 0, doPut, 1, doGet, 0, doGet, 1, doUse, 0, doPut, 2, doPut, 3, doDeleteGone, 0})
	f.Add(uint8(3), []byte{doPutShort, 1, doPutShort, 2, doPut, 3, doGet, 1, doUseAll, 0, doSuspend, 5, doPut, 4})
	f.Fuzz(func(t *testing.T, size uint8, script []byte) {
		keys := 6
		if size >= 128 { // so that more entries are used than are spared
			keys = 50
		}
		runModel(t, 1+int(size)%(keys+1), keys, script)
	})
}
