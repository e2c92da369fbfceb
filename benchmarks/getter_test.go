package benchmarks_test

import (
	"context"
	"testing"

	"cloud.google.com/go/auth"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

// A getter is one way to obtain a token that is cached.
type getter struct {
	name  string
	users int // 0: a system token
	start func(testing.TB) (newGet func() get)
}

// get returns the current token. Each goroutine has its own.
type get func() (token string, err error)

func getters() []getter {
	return []getter{
		{"oauth2", 0, getOAuth2},
		{"google", 0, getGoogle},
		{"msal-obo/users=256", 256, getMSAL(256)},
		{"msal-obo/users=10000", 10_000, getMSAL(10_000)},
		{"agw/system", 0, getOurs(0)},
		{"agw/users=20", 20, getOurs(20)},
		{"agw/users=256", 256, getOurs(256)},
		{"agw/users=10000", 10_000, getOurs(10_000)},
	}
}

// BenchmarkGetter is the cost of a token without a request.
func BenchmarkGetter(b *testing.B) {
	for _, g := range getters() {
		b.Run(g.name, func(b *testing.B) {
			get := g.start(b)()
			b.ReportAllocs()
			defer processorTime(b)()
			for b.Loop() {
				if _, err := get(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGetterParallel is the same from as many goroutines as there are
// processors.
func BenchmarkGetterParallel(b *testing.B) {
	for _, g := range getters() {
		b.Run(g.name, func(b *testing.B) {
			newGet := g.start(b)
			b.ReportAllocs()
			b.ResetTimer()
			defer processorTime(b)()
			b.RunParallel(func(pb *testing.PB) {
				for get := newGet(); pb.Next(); {
					if _, err := get(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func getOAuth2(testing.TB) func() get {
	src := oauth2.ReuseTokenSource(newServices().oauth2Token(), nil)
	return func() get {
		return func() (string, error) {
			t, err := src.Token()
			return t.AccessToken, err
		}
	}
}

func getGoogle(tb testing.TB) func() get {
	provider := auth.NewCachedTokenProvider(googleToken{newServices().oauth2Token()}, nil)
	ctx := context.Background()
	return func() get {
		return func() (string, error) {
			t, err := provider.Token(ctx)
			if err != nil {
				return "", err
			}
			return t.Value, nil
		}
	}
}

// getMSAL obtains tokens on behalf of one user after the other.
func getMSAL(users int) func(testing.TB) func() get {
	return func(tb testing.TB) func() get {
		secret, err := confidential.NewCredFromSecret("secret")
		if err != nil {
			tb.Fatal(err)
		}
		client, err := confidential.New("https://login.example/t", "client", secret,
			confidential.WithHTTPClient(newServices()), confidential.WithInstanceDiscovery(false))
		if err != nil {
			tb.Fatal(err)
		}
		ctx, scopes, tokens := context.Background(), []string{"scope"}, userTokens(users)
		shuffle(tokens)
		obtain := func(i int) (string, error) {
			t, err := client.AcquireTokenOnBehalfOf(ctx, tokens[i], scopes)
			return t.AccessToken, err
		}
		for i := range tokens {
			if _, err := obtain(i); err != nil {
				tb.Fatal(err)
			}
		}
		return func() get {
			i := 0
			return func() (string, error) {
				if i++; i == len(tokens) {
					i = 0
				}
				return obtain(i)
			}
		}
	}
}

// getOurs obtains tokens for one user after the other, or system tokens if there
// are none.
func getOurs(users int) func(testing.TB) func() get {
	return func(tb testing.TB) func() get {
		src := newServices().customerSource(tb, roomFor(max(users, 1)))
		all := userContexts(users)
		if users == 0 {
			all = []context.Context{context.Background()}
		}
		fill(tb, src, all)
		if users == 0 {
			return func() get { return getFrom(src, all[0]) }
		}
		turns := newTurns(all)
		return func() get {
			who := turns()
			next := getFrom(src, who)
			return func() (string, error) {
				who.advance()
				return next()
			}
		}
	}
}

func getFrom(src *tokensource.Source, ctx context.Context) get {
	return func() (string, error) {
		t, err := src.AccessToken(ctx) // what the transport calls
		if err != nil {
			return "", err
		}
		return t.AccessToken(), nil
	}
}

// BenchmarkFirstCall is the cost of a cached token for a context that has not been used
// before, as a server makes one for each inbound request: the user's JWT is hashed.
func BenchmarkFirstCall(b *testing.B) {
	src := newServices().customerSource(b, roomFor(256))
	fill(b, src, userContexts(256))
	tokens := userTokens(256)
	b.ReportAllocs()
	defer processorTime(b)()
	i := 0
	for b.Loop() {
		ctx := tokensource.WithUserToken(context.Background(), tokens[i])
		if _, err := src.AccessToken(ctx); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(tokens) {
			i = 0
		}
	}
}

// A getter that returns the token of somebody else is not a contestant.
func TestGetters(t *testing.T) {
	t.Parallel()
	for _, g := range getters() {
		if g.users > 1000 { // the same as with fewer
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			get := g.start(t)()
			tokens := map[string]bool{}
			for range 3 {
				token, err := get()
				if err != nil || len(token) != tokenSize {
					t.Fatalf("%d bytes, %v", len(token), err)
				}
				tokens[token] = true
			}
			want := 1
			if g.users > 0 {
				want = 3
			}
			if len(tokens) != want {
				t.Errorf("%d tokens in 3 calls, want %d", len(tokens), want)
			}
		})
	}
}
