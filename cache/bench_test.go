package cache_test

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/agwgo/agw/cache"
)

func BenchmarkGet(b *testing.B) {
	b.Run("newest", func(b *testing.B) {
		l := filled(256)
		b.ReportAllocs()
		for b.Loop() {
			l.Get(keyA, now)
		}
	})
	b.Run("other", func(b *testing.B) {
		l := filled(256)
		b.ReportAllocs()
		for b.Loop() {
			l.Get(keyA, now)
			l.Get(keyB, now)
		}
	})
	b.Run("miss", func(b *testing.B) {
		l := filled(256)
		b.ReportAllocs()
		for b.Loop() {
			l.Get(cache.Key{}, now)
		}
	})
	b.Run("parallel/newest", func(b *testing.B) {
		l := filled(256)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l.Get(keyA, now)
			}
		})
	})
	b.Run("parallel/other", func(b *testing.B) {
		l := filled(256)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l.Get(keyA, now)
				l.Get(keyB, now)
			}
		})
	})
}

// filled returns a full LRU with keyB and, newest, keyA in it.
func filled(size int) *lru {
	l := cache.NewLRU[value](size)
	for n := range size {
		put(l, cache.NewKey(strconv.Itoa(n)), "v", later)
	}
	put(l, keyB, "v", later)
	put(l, keyA, "v", later)
	return l
}

func BenchmarkPut(b *testing.B) {
	l, v := filled(256), &value{keyA, later, "v"}
	b.ReportAllocs()
	for b.Loop() {
		l.Put(v)
	}
}

// BenchmarkMemory reports what one entry costs besides its value.
func BenchmarkMemory(b *testing.B) {
	const size = 10_000
	values := make([]value, size)
	for n := range values {
		values[n] = value{cache.NewKey(strconv.Itoa(n)), later, "v"}
	}
	var kept *lru
	before := heap()
	for b.Loop() {
		kept = cache.NewLRU[value](size)
		for n := range values {
			kept.Put(&values[n])
		}
	}
	b.ReportMetric(float64(heap()-before)/size, "B/entry")
	runtime.KeepAlive(kept)
	runtime.KeepAlive(values)
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

func BenchmarkLifetime(b *testing.B) {
	jwt := unsigned(`{"exp":1767326645,"sub":"` + strings.Repeat("x", 1000) + `"}`)
	responses := map[string]struct {
		r    cache.TokenResponse
		user string
	}{
		"expires_in":  {cache.TokenResponse{ExpiresIn: cache.Seconds(3600)}, ""},
		"expires_at":  {cache.TokenResponse{ExpiresAt: []byte(`"2026-01-02T04:04:05Z"`)}, ""},
		"jwt":         {cache.TokenResponse{AccessToken: jwt}, ""},
		"capped user": {cache.TokenResponse{ExpiresIn: cache.Seconds(3600)}, jwt},
	}
	for name, tt := range responses {
		b.Run(name, func(b *testing.B) {
			s := settings(b, cache.Settings{})
			b.ReportAllocs()
			for b.Loop() {
				s.Lifetime(tt.r, tt.user, now)
			}
		})
	}
}
