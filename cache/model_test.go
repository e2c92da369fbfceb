package cache_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

// modelKeys is how many keys a model uses.
const modelKeys = 6

// A model is the plainest thing that behaves as an LRU should: a list, oldest
// entry first. Every step is done to both, and they must agree.
type model struct {
	lru        *lru
	size       int
	owner      int           // whose keys these are, where several models share an LRU
	mono, wall time.Duration // what has passed on each clock
	entries    []*value
}

// What a step does. Those from opPurge on are not for a shared LRU.
const (
	opGet = iota
	opGetAgain
	opPut
	opPutShort
	opDelete
	opDeleteOther
	opForget
	opTick
	opSleep
	opStepBack
	opPurge
	ops
)

// step does what op says, with the key or the time that arg says.
func (m *model) step(t *testing.T, op, arg byte) {
	t.Helper()
	key := cache.NewKey("model", string(rune(m.owner)), string(rune(arg%modelKeys)))
	span := time.Duration(arg) * time.Second
	switch op {
	case opGet, opGetAgain:
		m.get(t, key)
	case opPut:
		m.put(t, key, m.now().Add(time.Hour))
	case opPutShort:
		m.put(t, key, m.now().Add(span))
	case opDelete:
		m.delete(t, m.valueOf(key))
	case opDeleteOther:
		m.delete(t, &value{key: key})
	case opForget:
		if got, want := m.lru.Forget(key), m.drop(key); got != want {
			t.Errorf("Forget is %v, want %v", got, want)
		}
	case opTick:
		m.pass(span, span)
	case opSleep:
		m.pass(0, span)
	case opStepBack:
		m.pass(span, -span)
	case opPurge:
		m.lru.Purge()
		m.entries = nil
	}
}

func (m *model) get(t *testing.T, key cache.Key) {
	t.Helper()
	i := m.index(key)
	want := i >= 0 && m.now().Before(m.entries[i].deadline)
	got, ok := m.lru.Get(key, m.now())
	if ok != want || ok && got != m.entries[i] || !ok && got != nil {
		t.Errorf("Get is %v, %v; want %v", got, ok, want)
	}
	if i < 0 {
		return
	}
	e := m.entries[i]
	m.drop(key)
	if want {
		m.entries = append(m.entries, e)
	}
}

func (m *model) put(t *testing.T, key cache.Key, deadline cache.Instant) {
	t.Helper()
	var oldest cache.Key
	m.drop(key)
	full := len(m.entries) == m.size
	if full {
		oldest = m.entries[0].key
		m.drop(oldest)
	}
	v := &value{key: key, deadline: deadline}
	m.entries = append(m.entries, v)
	if evicted, got := m.lru.Put(v); got != full || evicted != oldest {
		t.Errorf("Put evicted %v, %v; want %v, %v", evicted, got, oldest, full)
	}
}

// delete deletes v, which the model may or may not have.
func (m *model) delete(t *testing.T, v *value) {
	t.Helper()
	want := slices.Contains(m.entries, v) && m.drop(v.key)
	if got := m.lru.Delete(v); got != want {
		t.Errorf("Delete is %v, want %v", got, want)
	}
}

// pass lets time pass, on each clock as much as it says.
func (m *model) pass(mono, wall time.Duration) {
	m.mono, m.wall = m.mono+mono, m.wall+wall
}

func (m *model) now() cache.Instant { return at(m.mono, m.wall) }

// valueOf returns the value of key, or one that was never put if there is none.
func (m *model) valueOf(key cache.Key) *value {
	if i := m.index(key); i >= 0 {
		return m.entries[i]
	}
	return &value{key: key}
}

func (m *model) index(key cache.Key) int {
	return slices.IndexFunc(m.entries, func(v *value) bool { return v.key == key })
}

func (m *model) drop(key cache.Key) bool {
	i := m.index(key)
	if i >= 0 {
		m.entries = slices.Delete(m.entries, i, i+1)
	}
	return i >= 0
}

// runModel does the steps that script says, two bytes each, to a fresh LRU.
func runModel(t *testing.T, size int, script []byte) {
	t.Helper()
	m := &model{lru: cache.NewLRU[value](size), size: size}
	for pair := range slices.Chunk(script, 2) {
		m.step(t, pair[0]%ops, pair[len(pair)-1])
		if got := m.lru.Len(); got != len(m.entries) {
			t.Fatalf("there are %d entries, want %d", got, len(m.entries))
		}
	}
}

func TestLRUModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		script := make([]byte, 600)
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		runModel(t, 1+int(seed%(modelKeys+1)), script)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func FuzzLRU(f *testing.F) {
	f.Add(uint8(1), []byte{opPut, 0, opGet, 0, opPut, 1, opGet, 0})
	f.Add(uint8(2), []byte{opPutShort, 9, opPut, 1, opTick, 9, opGet, 3, opStepBack, 9, opGet, 3})
	f.Add(uint8(3), []byte{opPut, 0, opDelete, 0, opGet, 0, opPurge, 0, opForget, 0})
	f.Fuzz(func(t *testing.T, size uint8, script []byte) {
		runModel(t, 1+int(size)%(modelKeys+1), script)
	})
}
