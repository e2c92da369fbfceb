package transport_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/transport"
)

// constantBase responds at once, so that what remains is the cost of the transport itself.
type constantBase struct{ resp http.Response }

func (b *constantBase) RoundTrip(*http.Request) (*http.Response, error) { return &b.resp, nil }

func newConstantBase() *constantBase {
	return &constantBase{http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
}

// newMCPRequest returns a request like those of an MCP library, with five fields.
func newMCPRequest(tb testing.TB, url string) *http.Request {
	tb.Helper()
	req := newRequest(tb, http.MethodPost, url, nil)
	for _, name := range []string{"Accept", "Content-Type", "Mcp-Session-Id", "Mcp-Protocol-Version", "User-Agent"} {
		req.Header.Set(name, "some/value")
	}
	return req
}

const mcpPath = "/v1/mcp/sap.s4:apiAccess:salesOrder:v1/0d1f5c2e"

// longToken is as long as the JWTs of identity services are.
var longToken = strings.Repeat("x", 1500)

func noCorrelationID() string { return "" }

func BenchmarkRoundTripHit(b *testing.B) {
	for _, bench := range []struct {
		name, gateway, url string
		newID              func() string
		more               []string // fields
	}{
		{"placeholder", "https://gateway.example", "https://agent-gateway.invalid" + mcpPath, noCorrelationID, nil},
		{"hostless", "https://gateway.example", mcpPath, noCorrelationID, nil},
		{"realhost", "https://gateway.example", "https://gateway.example" + mcpPath, noCorrelationID, nil},
		{"basepath", "https://gateway.example/base", "https://agent-gateway.invalid" + mcpPath, noCorrelationID, nil},
		{"correlationid", "https://gateway.example", "https://agent-gateway.invalid" + mcpPath, nil, nil},
		{"8fields", "https://gateway.example", "https://agent-gateway.invalid" + mcpPath, nil, []string{"Traceparent", "Tracestate", "Baggage"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			src := newSource(newToken(b, longToken, bench.gateway))
			rt := transport.New(src, transport.Options{Base: newConstantBase(), NewCorrelationID: bench.newID})
			req := newMCPRequest(b, bench.url)
			for _, name := range bench.more {
				req.Header.Set(name, "some/value")
			}
			runRoundTrips(b, rt, req)
		})
	}
	b.Run("oauth2", func(b *testing.B) {
		token := &oauth2.Token{AccessToken: longToken, Expiry: time.Now().Add(time.Hour)}
		rt := &oauth2.Transport{Source: oauth2.ReuseTokenSource(token, nil), Base: newConstantBase()}
		runRoundTrips(b, rt, newMCPRequest(b, "https://gateway.example"+mcpPath))
	})
}

func runRoundTrips(b *testing.B, rt http.RoundTripper, req *http.Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rt.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}

// A hit allocates the request with all that it needs, and twice for the header map. The
// text of a correlation id is one more.
func TestHitAllocations(t *testing.T) {
	for _, test := range []struct {
		name  string
		newID func() string
		limit float64
	}{
		{"without a correlation id", noCorrelationID, 3},
		{"with a constant correlation id", func() string { return "constant" }, 3},
		{"with a random correlation id", nil, 4},
	} {
		rt := transport.New(newSource(newToken(t, longToken, "https://gateway.example")),
			transport.Options{Base: newConstantBase(), NewCorrelationID: test.newID})
		req := newMCPRequest(t, "https://agent-gateway.invalid"+mcpPath)
		got := testing.AllocsPerRun(100, func() {
			if _, err := rt.RoundTrip(req); err != nil {
				t.Error(err)
			}
		})
		if got > test.limit {
			t.Errorf("a hit %s made %v allocations, want at most %v", test.name, got, test.limit)
		}
	}
}
