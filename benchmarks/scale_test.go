package benchmarks_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

// BenchmarkUsers is the cost of a hit for one user after the other, as the cache
// grows.
func BenchmarkUsers(b *testing.B) {
	for _, users := range []int{1, 256, 10_000, 100_000} {
		b.Run(fmt.Sprintf("hit/users=%d", users), func(b *testing.B) {
			src := newServices().customerSource(b, roomFor(users))
			all := userContexts(users)
			fill(b, src, all)
			obtainTokens(b, src, all)
		})
	}
}

// obtainTokens obtains a token for each of the contexts in turn.
func obtainTokens(b *testing.B, src *tokensource.Source, all []context.Context) {
	who := newTurns(all)()
	b.ReportAllocs()
	defer processorTime(b)()
	for b.Loop() {
		who.advance()
		if _, err := src.AccessToken(who); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirstToken is the cost of a user's first token, the token service's work
// (which answers at once, from memory) included.
func BenchmarkFirstToken(b *testing.B) {
	b.Run("user", func(b *testing.B) { firstTokens(b, 256, false) })
	b.Run("user/evicting", func(b *testing.B) { firstTokens(b, 256, true) })
}

// firstTokens obtains a token that is not cached with each call. A cache that has
// room for half of the users loses each one before its turn comes again; where there
// is room for all, they are forgotten instead.
func firstTokens(b *testing.B, users int, evicting bool) {
	services, room := newServices(), users
	if evicting {
		room /= 2
	}
	src := services.customerSource(b, roomFor(room))
	tokens := userTokens(users)
	all := make([]context.Context, users)
	for i, token := range tokens {
		all[i] = tokensource.WithUserToken(b.Context(), token)
	}
	fill(b, src, all)
	services.requests.Store(0)
	b.ReportAllocs()
	defer processorTime(b)()
	i := 0
	for b.Loop() {
		if !evicting {
			src.Forget(tokensource.UserSubject(tokens[i]))
		}
		if _, err := src.AccessToken(all[i]); err != nil {
			b.Fatal(err)
		}
		i = (i + 1) % users
	}
	b.ReportMetric(float64(services.requests.Load())/float64(b.N), "requests/op")
}

// BenchmarkMemory is what a cached user takes: on the heap, after a garbage
// collection, with all that belonged to the fetch and the inbound request gone. A map
// that has just grown is half empty: with 7,300 users it has, with 10,000 not.
func BenchmarkMemory(b *testing.B) {
	for _, users := range []int{256, 7300, 10_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			for b.Loop() {
				src := newServices().customerSource(b, roomFor(users))
				before := heap()
				fill(b, src, userContexts(users))
				held := float64(heap()-before) / float64(users)
				runtime.KeepAlive(src)
				b.ReportMetric(held, "B/user")
				b.ReportMetric(held-tokenSize, "B/user-besides-token")
			}
		})
	}
}

// heap returns the bytes in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // for what finalizers and pools held
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkTenants is the LoB flow with 1,000 tenants.
func BenchmarkTenants(b *testing.B) {
	const tenants = 1000
	b.Run("hit", func(b *testing.B) {
		src := newServices().lobSource(b, roomFor(tenants))
		all := tenantContexts(tenants)
		fill(b, src, all)
		obtainTokens(b, src, all)
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		defer processorTime(b)()
		requests, all, obtained := int64(0), tenantContexts(tenants), 0
		services, src := (*services)(nil), (*tokensource.Source)(nil)
		for b.Loop() {
			if obtained%tenants == 0 {
				services = newServices()
				src = services.lobSource(b, roomFor(tenants))
			}
			before := services.requests.Load()
			fill(b, src, all[obtained%tenants:][:1])
			requests += services.requests.Load() - before
			obtained++
		}
		b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
	})
	b.Run("next", func(b *testing.B) {
		services := newServices()
		src := services.lobSource(b, roomFor(tenants))
		all := tenantContexts(tenants)
		fill(b, src, all)
		services.requests.Store(0)
		b.ReportAllocs()
		defer processorTime(b)()
		for i := 0; b.Loop(); i++ {
			subject, _ := tokensource.SubjectFromContext(all[i%tenants])
			src.Forget(subject)
			fill(b, src, all[i%tenants:][:1])
		}
		b.ReportMetric(float64(services.requests.Load())/float64(b.N), "requests/op")
	})
}

// BenchmarkStampede is 1,000 goroutines that want the same token, which is not
// cached.
func BenchmarkStampede(b *testing.B) {
	b.Run("oauth2", func(b *testing.B) {
		stampede(b, func(s *services) func() error {
			src := oauth2.ReuseTokenSource(nil, refetch{s})
			return func() error { _, err := src.Token(); return err }
		})
	})
	b.Run("agw/user", func(b *testing.B) {
		user := newToken("user")
		stampede(b, func(s *services) func() error {
			src := s.customerSource(b, roomFor(1))
			ctx := tokensource.WithUserToken(b.Context(), user)
			return func() error { _, err := src.AccessToken(ctx); return err }
		})
	})
}

// refetch asks for a token as the flow of package clientcredentials does, but
// without a network.
type refetch struct{ *services }

func (r refetch) Token() (*oauth2.Token, error) {
	r.requests.Add(1)
	return r.oauth2Token(), nil
}

func stampede(b *testing.B, start func(*services) func() error) {
	const goroutines = 1000
	requests := int64(0)
	b.ReportAllocs()
	defer processorTime(b)()
	for b.Loop() {
		services := newServices()
		token := start(services)
		var group sync.WaitGroup
		for range goroutines {
			group.Go(func() {
				if err := token(); err != nil {
					b.Error(err)
				}
			})
		}
		group.Wait()
		requests += services.requests.Load()
	}
	b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
}
