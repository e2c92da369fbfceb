package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	for flow, want := range map[string][]string{
		"customer": {"alice at sap.s4", "bob at sap.sf", ", 2 requests for tokens and servers, 0 sessions with errors"},
		"lob":      {"alice of tenant1 at sap.s4", "bob of tenant2 at sap.sf", ", 0 sessions with errors"},
	} {
		t.Run(string(flow), func(t *testing.T) {
			var report strings.Builder
			if err := run(t.Context(), flow, &report); err != nil {
				t.Fatal(err)
			}
			for _, want := range append(want, "whoami         user alice,", "whoami         user bob,", "progress 1/4 2/4 3/4 4/4", "forecast_for_alice") {
				if !strings.Contains(report.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, &report)
				}
			}
		})
	}
}

func TestRunOfNoFlow(t *testing.T) {
	if err := run(t.Context(), "other", io.Discard); err == nil {
		t.Error("want an error")
	}
}

// detecting is held while the environment is that of one test's credentials.
var detecting sync.Mutex

// start returns a new scene of its own for a test, and the context of the test,
// which bounds all waiting.
func start(t *testing.T, cfg agw.Config) (context.Context, *scene) {
	t.Helper()
	detecting.Lock()
	defer detecting.Unlock()
	s, err := newScene("customer", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx, s
}

// endpoint returns the MCP server that the tests use, the first one.
func (s *scene) endpoint(t *testing.T, ctx context.Context) flows.Endpoint {
	t.Helper()
	servers, err := s.gateway.MCPServers(ctx)
	if err != nil || len(servers) == 0 {
		t.Fatalf("MCPServers = %v, %v", servers, err)
	}
	return servers[0]
}

// as returns a session of user with the first MCP server, which is closed in the end.
func (s *scene) as(t *testing.T, ctx context.Context, user string, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	session, err := connect(ctx, s.gateway, s.endpoint(t, ctx), subjectOf(s, user), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// over is as with a client that is given and the context that ctx already is.
func (s *scene) over(t *testing.T, ctx context.Context, client *http.Client, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	tr := &mcp.StreamableClientTransport{Endpoint: s.endpoint(t, ctx).URL, HTTPClient: client}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, opts).Connect(ctx, tr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// mustSee calls whoami and returns the caller, who must be user.
func mustSee(t *testing.T, ctx context.Context, session *mcp.ClientSession, user string) agwtest.Caller {
	t.Helper()
	var c agwtest.Caller
	if err := call(ctx, session, &mcp.CallToolParams{Name: toolWhoami}, &c); err != nil {
		t.Fatal(err)
	}
	if c.User != user {
		t.Fatalf("the tool saw %q, want %q", c.User, user)
	}
	return c
}

// eventually returns once done reports true, and fails the test if that does not
// happen within ctx. It asks every few milliseconds.
func eventually(t *testing.T, ctx context.Context, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		}
	}
}

// await returns the next value of c.
func await[T any](t *testing.T, ctx context.Context, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatalf("%s: %v", what, ctx.Err())
		panic("unreachable")
	}
}

// sent returns the requests of a method that the gateway got.
func (s *scene) sent(method string) []agwtest.Request {
	return slices.DeleteFunc(s.server.Requests(), func(r agwtest.Request) bool {
		return r.Service != agwtest.ServiceGateway || r.Method != method
	})
}

// refused returns how many requests the gateway answered with status 401.
func (s *scene) refused() (n int) {
	for _, r := range s.server.Requests() {
		if r.Service == agwtest.ServiceGateway && r.Status == http.StatusUnauthorized {
			n++
		}
	}
	return n
}

// checkUsers fails the test if the gateway got a request from anybody else than one
// of users.
func (s *scene) checkUsers(t *testing.T, users ...string) {
	t.Helper()
	for _, r := range s.server.Requests() {
		if r.Service == agwtest.ServiceGateway && !slices.Contains(users, r.User) {
			t.Errorf("%s %s came from %q", r.Method, r.Path, r.User)
		}
	}
}

// changes returns options that tell of changes of the list of tools, and the channel
// on which they do.
func changes() (*mcp.ClientOptions, <-chan struct{}) {
	changed := make(chan struct{}, 100)
	return &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	}, changed
}

func subjectOf(s *scene, user string) tokensource.Subject {
	return tokensource.UserSubject(s.server.UserToken(agwtest.User{Name: user}))
}
