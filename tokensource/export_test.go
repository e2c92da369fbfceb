package tokensource

import (
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/agwgo/agw/cache"
)

// RenewalAfter returns after what time a token with the given usable life is renewed.
func RenewalAfter(usable time.Duration) time.Duration {
	return cache.At(0, time.Unix(0, 0)).Until(renewalTime(cache.At(0, time.Unix(0, 0)), usable))
}

// LockEverything takes all locks of the engine, those of its caches and of its fetches
// included, and returns a function that releases them. Whoever needs one of them waits.
func (s *Source) LockEverything() (unlock func()) {
	e := s.engine
	locks := []*sync.Mutex{mutexOf(&e.fetches), &e.historyMu, mutexOf(e.system), mutexOf(e.users), mutexOf(e.gateways), mutexOf(e.histories)}
	for _, mu := range locks {
		mu.Lock()
	}
	return func() {
		for _, mu := range locks {
			mu.Unlock()
		}
	}
}

// mutexOf returns the field mu of the struct that v points to.
func mutexOf(v any) *sync.Mutex {
	return (*sync.Mutex)(unsafe.Pointer(reflect.ValueOf(v).Elem().FieldByName("mu").UnsafeAddr()))
}
