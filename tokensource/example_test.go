package tokensource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"golang.org/x/oauth2"

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
	return &tokensource.Response{AccessToken: "token-of-" + s.UserToken(), ExpiresIn: json.RawMessage("3600")}, nil
}

// A source fetches a token once and serves it from then on.
func ExampleNew() {
	source, err := tokensource.New(&exampleFlow{}, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		token, err := source.Token()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(token.Type(), token.Valid())
	}
	// Output:
	// fetching for {tenant:"" system}
	// Bearer true
	// Bearer true
	// Bearer true
}

// The context says for whom a call acts.
func ExampleWithUserToken() {
	source, err := tokensource.New(&exampleFlow{}, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := tokensource.WithUserToken(context.Background(), "Bearer alice")
	token, err := source.TokenContext(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.AccessToken)

	// A blank user token is a mistake, not a reason to act with the system token.
	_, err = source.TokenContext(tokensource.WithUserToken(context.Background(), "Bearer "))
	fmt.Println(errors.Is(err, tokensource.ErrNoUserToken))
	// Output:
	// fetching for {tenant:"" user}
	// token-of-alice
	// true
}

// A source that acts for one subject by default.
func ExampleSource_For() {
	source, err := tokensource.New(&exampleFlow{}, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}
	alice := source.For(tokensource.UserSubject("alice").In("acme"))
	token, err := alice.Token()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.AccessToken)
	// Output:
	// fetching for {tenant:"acme" user}
	// token-of-alice
}

// Any token source can be used where one is needed that knows its gateway.
func ExampleFixed() {
	ts := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "secret"})
	source, err := tokensource.Fixed(ts, "https://agw.example/base/")
	if err != nil {
		log.Fatal(err)
	}
	token, err := source.AccessToken(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.GatewayURL(), token.Authorization())
	// Output: https://agw.example/base Bearer secret
}

// Counters are all that a metrics system needs. Events tell more.
func ExampleSource_Stats() {
	source, err := tokensource.New(&exampleFlow{}, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for range 5 {
		if _, err := source.Token(); err != nil {
			log.Fatal(err)
		}
	}
	stats := source.Stats()
	fmt.Printf("%d hits, %d misses, %d fetches, %d tokens\n", stats.Hits, stats.Misses, stats.Fetches, stats.SystemTokens)
	// Output:
	// fetching for {tenant:"" system}
	// 4 hits, 1 misses, 1 fetches, 1 tokens
}
