package benchmarks_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/agwgo/agw/tokensource"
)

// roomFor returns settings of a cache in which n subjects of each kind have room.
func roomFor(n int) tokensource.Settings {
	return tokensource.Settings{MaxSystemTokens: n, MaxUserTokens: n}
}

// userTokens returns the JWTs of n users.
func userTokens(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = newToken(fmt.Sprintf("user-%d", i))
	}
	return tokens
}

// userContexts returns one context for each of n users, as a server makes them for
// inbound requests, in no particular order.
func userContexts(n int) []context.Context {
	all := make([]context.Context, n)
	for i, token := range userTokens(n) {
		all[i] = tokensource.WithUserToken(context.Background(), token)
	}
	shuffle(all)
	return all
}

// tenantContexts returns one context for each of n tenants.
func tenantContexts(n int) []context.Context {
	all := make([]context.Context, n)
	for i := range all {
		all[i] = tokensource.WithTenant(context.Background(), fmt.Sprintf("tenant-%d", i))
	}
	shuffle(all)
	return all
}

func shuffle[T any](all []T) {
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
}

// fill has src obtain a token for each context.
func fill(tb testing.TB, src *tokensource.Source, all []context.Context) {
	tb.Helper()
	for _, ctx := range all {
		if _, err := src.AccessToken(ctx); err != nil {
			tb.Fatal(err)
		}
	}
}

// A turn is a context that stands for one of many after the other, so that one
// request can. It is for one goroutine.
type turn struct {
	context.Context
	all  []context.Context
	next int
}

// newTurns returns a function that makes turns, each of which begins at another of
// the contexts.
func newTurns(all []context.Context) func() *turn {
	var begun atomic.Int64
	return func() *turn {
		first := int(begun.Add(1)*7919) % len(all)
		return &turn{Context: all[first], all: all, next: first}
	}
}

// advance goes on to the next context.
func (t *turn) advance() {
	if t.next++; t.next == len(t.all) {
		t.next = 0
	}
	t.Context = t.all[t.next]
}
