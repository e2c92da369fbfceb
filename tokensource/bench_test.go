package tokensource_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// tokenSize is that of a usual access token, in bytes.
const tokenSize = 1500

// manyUsers returns names that are as long as a user's JWT.
func manyUsers(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s.%d", strings.Repeat("u", tokenSize), i)
	}
	return names
}

// warm returns a source that has a token for each of the contexts.
func warm(tb testing.TB, contexts []context.Context) *tokensource.Source {
	tb.Helper()
	f := newFake()
	f.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
		resp := response(time.Hour)
		resp.AccessToken = strings.Repeat("t", tokenSize)
		return resp, nil
	})
	src, err := tokensource.New(f, tokensource.Options{Settings: cache.Settings{MaxUserTokens: max(len(contexts), 1)}})
	if err != nil {
		tb.Fatal(err)
	}
	for _, ctx := range contexts {
		if _, err := src.Grant(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	return src
}

// prepared returns a context for each of n users.
func prepared(n int) []context.Context {
	contexts := make([]context.Context, n)
	for i, name := range manyUsers(n) {
		contexts[i] = user(context.Background(), name)
	}
	return contexts
}

func BenchmarkToken(b *testing.B) {
	b.Run("technical", func(b *testing.B) {
		src := warm(b, []context.Context{context.Background()})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := src.Token(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{1, 20, 256, 10_000} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			contexts := prepared(n)
			src := warm(b, contexts)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := src.TokenContext(contexts[i%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("new context", func(b *testing.B) {
		name := manyUsers(1)[0]
		src := warm(b, []context.Context{user(context.Background(), name)})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := src.TokenContext(user(context.Background(), name)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTokenParallel(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			contexts := prepared(n)
			src := warm(b, contexts)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := src.TokenContext(contexts[i%n]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkMemory reports the bytes that a cached user takes beyond its token.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	for b.Loop() {
		contexts := prepared(n)
		empty := heap()
		src := warm(b, contexts)
		for _, ctx := range contexts { // their memos are theirs
			runtime.KeepAlive(ctx)
		}
		clear(contexts)
		withoutContexts := prepared(n)
		b.ReportMetric(float64(heap()-empty)/n-tokenSize, "B/user-overhead")
		runtime.KeepAlive(withoutContexts)
		runtime.KeepAlive(src)
	}
}

// heap returns the bytes in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestHitAllocatesNothing(t *testing.T) {
	contexts := append(prepared(2), context.Background(), tokensource.WithTenant(context.Background(), "acme"))
	src := warm(t, contexts)
	allocs := map[string]func(context.Context) error{
		"Grant":        func(ctx context.Context) error { _, err := src.Grant(ctx); return err },
		"TokenContext": func(ctx context.Context) error { _, err := src.TokenContext(ctx); return err },
		"Token":        func(context.Context) error { _, err := src.Token(); return err },
	}
	acme := src.For(tokensource.Subject{Tenant: "acme"})
	allocs["For"] = func(ctx context.Context) error { _, err := acme.Grant(ctx); return err }
	for name, call := range allocs {
		for i, ctx := range contexts {
			n := testing.AllocsPerRun(100, func() {
				if err := call(ctx); err != nil {
					t.Error(err)
				}
			})
			if n != 0 {
				t.Errorf("%s with context %d: %v allocations on a hit, want none", name, i, n)
			}
		}
	}
}
