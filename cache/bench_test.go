package cache_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/agwgo/agw/cache"
)

// fullLRU returns a full LRU and its keys.
func fullLRU(size int) (*cache.LRU[string], []cache.Key) {
	keys := make([]cache.Key, size)
	for i := range keys {
		keys[i] = cache.NewKey(strconv.Itoa(i))
	}
	return newLRU(size, keys...), keys
}

func BenchmarkGet(b *testing.B) {
	b.Run("one hot key", func(b *testing.B) {
		l, keys := fullLRU(256)
		b.ReportAllocs()
		for b.Loop() {
			l.Get(keys[0], now)
		}
	})
	for _, size := range []int{256, 10_000} {
		b.Run(fmt.Sprintf("one of %d", size), func(b *testing.B) {
			l, keys := fullLRU(size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.Get(keys[i%size], now)
			}
		})
	}
	b.Run("miss", func(b *testing.B) {
		l, _ := fullLRU(256)
		b.ReportAllocs()
		for b.Loop() {
			l.Get(cache.Key{}, now)
		}
	})
	for _, size := range []int{1, 256} {
		b.Run(fmt.Sprintf("parallel, one of %d", size), func(b *testing.B) {
			l, keys := fullLRU(size)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					l.Get(keys[i%size], now)
				}
			})
		})
	}
}

// BenchmarkUse is a hit of a caller who remembers the entry.
func BenchmarkUse(b *testing.B) {
	l, keys := fullLRU(256)
	entry := l.Get(keys[0], now)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			entry.Use(now)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				entry.Use(now)
			}
		})
	})
}

func BenchmarkPut(b *testing.B) {
	b.Run("replace", func(b *testing.B) {
		l, keys := fullLRU(256)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			l.Put(keys[i%256], "value", later, now)
		}
	})
	b.Run("evict", func(b *testing.B) {
		l, _ := fullLRU(256)
		_, keys := fullLRU(512)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			l.Put(keys[i%512], "value", later, now)
		}
	})
}

// BenchmarkMemory reports what one entry costs besides its value.
func BenchmarkMemory(b *testing.B) {
	const size = 10_000
	_, keys := fullLRU(size)
	var last *cache.LRU[string]
	before := heap()
	for b.Loop() {
		last = newLRU(size, keys...)
	}
	b.ReportMetric(float64(heap()-before)/size, "B/entry")
	runtime.KeepAlive(last)
	runtime.KeepAlive(keys)
}

// heap returns the bytes in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func BenchmarkNewKey(b *testing.B) {
	jwt := strings.Repeat("x", 1500)
	b.ReportAllocs()
	for b.Loop() {
		cache.NewKey("customer", "https://tenant.example/oauth2/token", "client", "", jwt)
	}
}
