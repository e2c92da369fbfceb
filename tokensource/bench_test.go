package tokensource_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// tokenSize is that of a usual token, in bytes.
const tokenSize = 1500

// userTokens returns n different strings that are as long as a user's JWT.
func userTokens(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("%s.%d", strings.Repeat("u", tokenSize), i)
	}
	return tokens
}

// contextsOfUsers returns a context for each of n users.
func contextsOfUsers(n int) []context.Context {
	contexts := make([]context.Context, n)
	for i, token := range userTokens(n) {
		contexts[i] = asUser(context.Background(), token)
	}
	return contexts
}

// newWarmSource returns a source that has a token for each of the contexts.
func newWarmSource(tb testing.TB, contexts []context.Context) *tokensource.Source {
	tb.Helper()
	flow := newFlow()
	flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		resp := responseLivingFor(time.Hour)
		resp.AccessToken = strings.Repeat("t", tokenSize)
		return resp, nil
	})
	source, err := tokensource.New(flow, tokensource.Options{Settings: tokensource.Settings{MaxUserTokens: max(len(contexts), 1)}})
	if err != nil {
		tb.Fatal(err)
	}
	for _, ctx := range contexts {
		if _, err := source.AccessToken(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	return source
}

func BenchmarkToken(b *testing.B) {
	b.Run("system", func(b *testing.B) {
		source := newWarmSource(b, []context.Context{context.Background()})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := source.AccessToken(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{1, 20, 256, 10_000} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			contexts := contextsOfUsers(n)
			source := newWarmSource(b, contexts)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := source.AccessToken(contexts[i%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("new context", func(b *testing.B) {
		jwt := userTokens(1)[0]
		source := newWarmSource(b, []context.Context{asUser(context.Background(), jwt)})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := source.AccessToken(asUser(context.Background(), jwt)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("oauth2", func(b *testing.B) {
		source := newWarmSource(b, []context.Context{context.Background()})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := source.Token(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTokenParallel(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			contexts := contextsOfUsers(n)
			source := newWarmSource(b, contexts)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := source.AccessToken(contexts[i%n]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkMemory reports the bytes that a cached user takes beyond the token.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	for b.Loop() {
		contexts := contextsOfUsers(n)
		before := heapInUse()
		source := newWarmSource(b, contexts)
		for _, ctx := range contexts { // what they remember is theirs
			runtime.KeepAlive(ctx)
		}
		clear(contexts)
		unused := contextsOfUsers(n)
		b.ReportMetric(float64(heapInUse()-before)/n-tokenSize, "B/user-overhead")
		runtime.KeepAlive(unused)
		runtime.KeepAlive(source)
	}
}

// heapInUse returns the bytes on the heap that are in use.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
