package transport_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/transport"
)

// bareBase answers at once, to show what the transport itself costs.
type bareBase struct{ resp http.Response }

func (b *bareBase) RoundTrip(*http.Request) (*http.Response, error) { return &b.resp, nil }

func newBareBase() *bareBase {
	return &bareBase{http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
}

// hitRequest is a request as an SDK makes them: with five headers.
func hitRequest(tb testing.TB, url string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{"Accept", "Content-Type", "Mcp-Session-Id", "Mcp-Protocol-Version", "User-Agent"} {
		req.Header.Set(name, "some/value")
	}
	return req
}

const benchPath = "/v1/mcp/sap.s4:apiAccess:salesOrder:v1/0d1f5c2e"

var longToken = strings.Repeat("x", 1500)

func BenchmarkRoundTripHit(b *testing.B) {
	for _, bench := range []struct {
		name, gateway, url string
		opts               transport.Options
	}{
		{"placeholder", "https://gateway.example", "https://agent-gateway.invalid" + benchPath, transport.Options{NoCorrelationID: true}},
		{"hostless", "https://gateway.example", benchPath, transport.Options{NoCorrelationID: true}},
		{"realhost", "https://gateway.example", "https://gateway.example" + benchPath, transport.Options{NoCorrelationID: true}},
		{"basepath", "https://gateway.example/base", "https://agent-gateway.invalid" + benchPath, transport.Options{NoCorrelationID: true}},
		{"correlationid", "https://gateway.example", "https://agent-gateway.invalid" + benchPath, transport.Options{}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			bench.opts.Base = newBareBase()
			rt := transport.New(newSource(mustGrant(b, longToken, bench.gateway)), &bench.opts)
			roundTrips(b, rt, hitRequest(b, bench.url))
		})
	}
	b.Run("oauth2", func(b *testing.B) {
		token := &oauth2.Token{AccessToken: longToken, Expiry: time.Now().Add(time.Hour)}
		rt := &oauth2.Transport{Source: oauth2.ReuseTokenSource(token, nil), Base: newBareBase()}
		roundTrips(b, rt, hitRequest(b, "https://gateway.example"+benchPath))
	})
}

func roundTrips(b *testing.B, rt http.RoundTripper, req *http.Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rt.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}

// The allocations of a hit: the request with its URL, and two for the header.
func TestHitAllocations(t *testing.T) {
	rt := transport.New(newSource(mustGrant(t, longToken, "https://gateway.example")),
		&transport.Options{Base: newBareBase(), NoCorrelationID: true})
	req := hitRequest(t, "https://agent-gateway.invalid"+benchPath)
	got := testing.AllocsPerRun(100, func() {
		if _, err := rt.RoundTrip(req); err != nil {
			t.Error(err)
		}
	})
	if got > 3 {
		t.Errorf("a hit takes %v allocations, want at most 3", got)
	}
}
