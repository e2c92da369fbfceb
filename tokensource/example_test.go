package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// exampleFlow is what flows/customer and flows/lob are: a way to obtain tokens.
type exampleFlow struct{ identity tokensource.Identity }

func (f *exampleFlow) Identity() *tokensource.Identity { return &f.identity }

func (f *exampleFlow) Tenant(_ context.Context, requested string) (string, error) {
	return requested, nil
}

func (f *exampleFlow) Fetch(_ context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	fmt.Println("fetching for", s)
	return &tokensource.Response{TokenResponse: cache.TokenResponse{
		AccessToken: "token-of-" + s.UserToken, ExpiresIn: cache.Seconds(3600),
	}}, nil
}

// A source fetches a token once and serves it from then on.
func ExampleNew() {
	src, err := tokensource.New(&exampleFlow{}, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		token, err := src.Token()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(token.Type(), token.Valid())
	}
	// Output:
	// fetching for {tenant:"" technical}
	// Bearer true
	// Bearer true
	// Bearer true
}

// The context says for whom a call acts.
func ExampleWithUserToken() {
	src, err := tokensource.New(&exampleFlow{}, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := tokensource.WithUserToken(context.Background(), "Bearer alice")
	token, err := src.TokenContext(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.AccessToken)

	// A blank user is a mistake, not a reason to act under the technical token.
	_, err = src.TokenContext(tokensource.WithUserToken(context.Background(), "Bearer "))
	fmt.Println(errors.Is(err, tokensource.ErrNoUserToken))
	// Output:
	// fetching for {tenant:"" user}
	// token-of-alice
	// true
}

// Any token source will do where a GrantSource is asked for.
func ExampleFixed() {
	ts := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "secret"})
	src, err := tokensource.Fixed(ts, "https://agw.example/base/")
	if err != nil {
		log.Fatal(err)
	}
	grant, err := src.Grant(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(grant.GatewayURL(), len(grant.Authorization()))
	// Output: https://agw.example/base 1
}

// Counters are all that a metrics system needs; events tell more.
func ExampleSource_Stats() {
	src, err := tokensource.New(&exampleFlow{}, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for range 5 {
		if _, err := src.Token(); err != nil {
			log.Fatal(err)
		}
	}
	s := src.Stats()
	fmt.Printf("%d hits, %d misses, %d fetches, %d tokens\n", s.Hits, s.Misses, s.Fetches, s.SystemTokens)
	// Output:
	// fetching for {tenant:"" technical}
	// 4 hits, 1 misses, 1 fetches, 1 tokens
}
