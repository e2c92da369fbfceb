package benchmarks_test

import (
	"context"
	"maps"
	"net/http"
	"runtime"
	"testing"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

const (
	path        = "/v1/mcp/sap.s4:apiAccess:salesOrder:v1/7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001"
	realHost    = gatewayURL + path
	placeholder = "https://" + transport.PlaceholderHost + path
)

// A contestant is one way to send a request with a token.
type contestant struct {
	name  string
	users int // 0: a system token
	start func(testing.TB, *base) (newWorker func() worker)
}

// A worker sends one request after the other. Each goroutine has its own.
type worker func() (*http.Response, error)

// contestants are all that is compared, the two yardsticks among them.
func contestants() []contestant {
	return []contestant{
		{"base", 0, bare},
		{"floor", 0, floor},
		{"shallow", 0, shallow},
		{"oauth2", 0, viaOAuth2},
		{"google/telemetry=off", 0, google(true)},
		{"google/telemetry=default", 0, google(false)},
		{"azcore", 0, viaAzcore},
		{"agw/system", 0, ours(placeholder, 0, false)},
		{"agw/system/correlation", 0, ours(placeholder, 0, true)},
		{"agw/system/hostless", 0, ours(path, 0, false)},
		{"agw/system/realhost", 0, ours(realHost, 0, false)},
		{"agw/users=20", 20, ours(placeholder, 20, false)},
		{"agw/users=256", 256, ours(placeholder, 256, false)},
		{"agw/users=20/correlation", 20, ours(placeholder, 20, true)},
		{"agw/users=10000", 10_000, ours(placeholder, 10_000, false)},
		{"oauth2/beside-users=20", 0, beside(20)},
		{"oauth2/beside-users=10000", 0, beside(10_000)},
	}
}

// newRequest returns a request as an MCP client makes it, with five header fields.
func newRequest(tb testing.TB, ctx context.Context, url string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for name, value := range map[string]string{
		"Accept":               "application/json, text/event-stream",
		"Content-Type":         "application/json",
		"Mcp-Session-Id":       "1868a90c-7f4e-4c7b-9d3e-6d1c2a3b4c5d",
		"Mcp-Protocol-Version": "2025-06-18",
		"User-Agent":           "benchmark/1",
	} {
		req.Header.Set(name, value)
	}
	return req
}

func roundTrips(tb testing.TB, rt http.RoundTripper) func() worker {
	return roundTripsTo(tb, rt, realHost)
}

// roundTripsTo returns workers that send one and the same request over rt.
func roundTripsTo(tb testing.TB, rt http.RoundTripper, url string) func() worker {
	req := newRequest(tb, context.Background(), url)
	return func() worker {
		return func() (*http.Response, error) { return rt.RoundTrip(req) }
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// bare sends no token: it is what the measuring itself costs.
func bare(tb testing.TB, b *base) func() worker { return roundTrips(tb, b) }

// floor does what the contract of http.RoundTripper asks of whoever adds a header
// field, in the way of its documentation, with nothing to look up.
func floor(tb testing.TB, b *base) func() worker {
	authorization := []string{"Bearer " + newServices().system}
	return roundTrips(tb, roundTripper(func(req *http.Request) (*http.Response, error) {
		out := req.Clone(req.Context())
		out.Header["Authorization"] = authorization
		return b.RoundTrip(out)
	}))
}

// shallow is floor with the least that has to be copied.
func shallow(tb testing.TB, b *base) func() worker {
	authorization := []string{"Bearer " + newServices().system}
	return roundTrips(tb, roundTripper(func(req *http.Request) (*http.Response, error) {
		out := *req
		out.Header = maps.Clone(req.Header)
		out.Header["Authorization"] = authorization
		return b.RoundTrip(&out)
	}))
}

func viaOAuth2(tb testing.TB, b *base) func() worker {
	return roundTrips(tb, &oauth2.Transport{Source: oauth2.ReuseTokenSource(newServices().oauth2Token(), nil), Base: b})
}

// beside is viaOAuth2, with the one token that it has, in the program of ours: there
// are as many users on the heap, and each request acts for another one. It tells what
// of the cost of many users is their being there, and what is looking them up.
func beside(users int) func(testing.TB, *base) func() worker {
	return func(tb testing.TB, b *base) func() worker {
		src := newServices().customerSource(tb, roomFor(users))
		all := userContexts(users)
		fill(tb, src, all)
		turns := newTurns(all)
		rt := &oauth2.Transport{Source: oauth2.ReuseTokenSource(newServices().oauth2Token(), nil), Base: b}
		return func() worker {
			who := turns()
			req := newRequest(tb, who, realHost)
			return func() (*http.Response, error) {
				who.advance()
				if s, _ := tokensource.SubjectFromContext(who); s.UserToken() == "" {
					return nil, tokensource.ErrNoUserToken
				}
				defer runtime.KeepAlive(src)
				return rt.RoundTrip(req)
			}
		}
	}
}

// googleToken is a token provider of cloud.google.com/go/auth.
type googleToken struct{ token *oauth2.Token }

func (t googleToken) Token(context.Context) (*auth.Token, error) {
	return &auth.Token{Value: t.token.AccessToken, Type: t.token.TokenType, Expiry: t.token.Expiry}, nil
}

func google(disableTelemetry bool) func(testing.TB, *base) func() worker {
	return func(tb testing.TB, b *base) func() worker {
		client, err := httptransport.NewClient(&httptransport.Options{
			Credentials:      auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: googleToken{newServices().oauth2Token()}}),
			BaseRoundTripper: b,
			DisableTelemetry: disableTelemetry,
		})
		if err != nil {
			tb.Fatal(err)
		}
		return roundTrips(tb, client.Transport)
	}
}

// azureToken is a credential of azcore.
type azureToken struct{ token *oauth2.Token }

func (t azureToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: t.token.AccessToken, ExpiresOn: t.token.Expiry}, nil
}

func viaAzcore(tb testing.TB, b *base) func() worker {
	bearer := azruntime.NewBearerTokenPolicy(azureToken{newServices().oauth2Token()}, []string{"scope"}, nil)
	pipeline := azruntime.NewPipeline("benchmark", "v1", azruntime.PipelineOptions{PerRetry: []policy.Policy{bearer}},
		&policy.ClientOptions{Transport: b})
	return func() worker {
		req, err := azruntime.NewRequestFromRequest(newRequest(tb, context.Background(), realHost))
		if err != nil {
			tb.Fatal(err)
		}
		agent := req.Raw().Header["User-Agent"]
		return func() (*http.Response, error) {
			req.Raw().Header["User-Agent"] = agent // which the pipeline puts its own before
			return pipeline.Do(req)
		}
	}
}

// ours is this module's transport over the customer's flow, for one user after the
// other, or with the system token if there are none.
func ours(url string, users int, correlation bool) func(testing.TB, *base) func() worker {
	return func(tb testing.TB, b *base) func() worker {
		src := newServices().customerSource(tb, roomFor(max(users, 1)))
		rt := transport.New(src, options(b, correlation))
		if users == 0 {
			return roundTripsTo(tb, rt, url)
		}
		all := userContexts(users)
		fill(tb, src, all)
		turns := newTurns(all)
		return func() worker {
			who := turns()
			req := newRequest(tb, who, url)
			return func() (*http.Response, error) {
				who.advance()
				return rt.RoundTrip(req)
			}
		}
	}
}

// options returns those of a transport that adds a correlation id, or does not.
func options(base http.RoundTripper, correlation bool) transport.Options {
	opts := transport.Options{Base: base}
	if !correlation {
		opts.NewCorrelationID = func() string { return "" }
	}
	return opts
}
