package main

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
)

// cutter is a handler whose open streams can be cut.
type cutter struct {
	http.Handler
	mu      sync.Mutex
	streams []context.CancelFunc
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		c.mu.Lock()
		c.streams = append(c.streams, cancel)
		c.mu.Unlock()
		r = r.WithContext(ctx)
	}
	c.Handler.ServeHTTP(w, r)
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.streams {
		cancel()
	}
}

// mountCutter puts a cutter before the first MCP server.
func (s *scene) mountCutter(t *testing.T, ctx context.Context) *cutter {
	t.Helper()
	c := &cutter{Handler: handler(s.mcp[0])}
	e := s.endpoint(t, ctx)
	s.server.Handle(path(agwtest.Dependency{ORDID: e.ORDID, GlobalTenantID: e.TenantID}), c)
	return c
}

// The standalone stream outlives its token. When it breaks, it is resumed with a new
// one, and nothing that was sent in between is lost.
func TestStandaloneStreamResumes(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	streams := s.mountCutter(t, ctx)
	opts, changed := changes()
	session := s.as(t, ctx, "alice", opts)
	id := session.ID()
	eventually(t, ctx, "waiting for the stream", func() bool { return len(s.sent(http.MethodGet)) == 1 })
	s.mcp[0].RemoveTools(toolOrders)
	await(t, ctx, "waiting for the first change", changed)

	s.server.RevokeUser("alice")
	s.mcp[0].RemoveTools(toolLearn)
	await(t, ctx, "waiting for a change after the revocation", changed)

	streams.cut()
	s.mcp[0].RemoveTools(toolExport)
	await(t, ctx, "waiting for a change after the break", changed)

	gets := s.sent(http.MethodGet)
	if len(gets) != 3 || gets[1].Status != http.StatusUnauthorized || gets[2].TokenID == gets[0].TokenID {
		t.Fatalf("want a stream, a resumption that is refused, and one with a new token; got %s", summary(gets))
	}
	if gets[1].Header.Get("Last-Event-Id") == "" || gets[2].Header.Get("Last-Event-Id") == "" {
		t.Error("the stream was not resumed, but begun anew")
	}
	mustSee(t, ctx, session, "alice")
	if session.ID() != id {
		t.Errorf("session %s became %s", id, session.ID())
	}
	s.checkUsers(t, "alice")
}

func summary(requests []agwtest.Request) (text string) {
	for _, r := range requests {
		text += "[" + r.Method + " " + http.StatusText(r.Status) + " " + r.User + " " + r.TokenID + "]"
	}
	return text
}

// A call whose stream the server closes in mid-work is resumed with a new token, and
// its result arrives.
func TestCallResumes(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	proceed := make(chan struct{})
	mcp.AddTool(s.mcp[0], &mcp.Tool{Name: "sleepwalk"}, func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, agwtest.Caller, error) {
		s.server.RevokeUser("alice")
		req.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 10 * time.Millisecond})
		select {
		case <-proceed:
			return nil, callerOf(req), nil
		case <-ctx.Done():
			return nil, agwtest.Caller{}, ctx.Err()
		}
	})
	session := s.as(t, ctx, "alice", nil)
	go func() {
		defer close(proceed)
		for s.refused() == 0 && ctx.Err() == nil { // until the resumption has met its 401
			<-time.After(5 * time.Millisecond)
		}
	}()
	var c agwtest.Caller
	if err := call(ctx, session, &mcp.CallToolParams{Name: "sleepwalk"}, &c); err != nil {
		t.Fatal(err)
	}
	if c.User != "alice" {
		t.Errorf("the tool saw %q", c.User)
	}
	if n := s.refused(); n != 1 {
		t.Errorf("the gateway refused %d requests, want 1", n)
	}
	s.checkUsers(t, "alice")
}

// A call that takes longer than its token lives gets its progress and its result.
func TestCallOutlivesToken(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	const life = 2 * time.Second
	s.server.Tokens.SetLifetime(life)
	mcp.AddTool(s.mcp[0], &mcp.Tool{Name: "outlive"}, func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, agwtest.Caller, error) {
		select {
		case <-time.After(life + 100*time.Millisecond):
			return nil, callerOf(req), nil
		case <-ctx.Done():
			return nil, agwtest.Caller{}, ctx.Err()
		}
	})
	session := s.as(t, ctx, "alice", nil)
	var during agwtest.Caller
	if err := call(ctx, session, &mcp.CallToolParams{Name: "outlive"}, &during); err != nil {
		t.Fatal(err)
	}
	if after := mustSee(t, ctx, session, "alice"); after.TokenID == during.TokenID {
		t.Error("the token did not expire")
	}
	if n := s.refused(); n > 0 {
		t.Errorf("the gateway refused %d requests", n)
	}
}

// In the protocol without sessions the SDK subscribes with a context of its own, so
// it is the client's subject that counts.
func TestSubscription(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{RequireUser: true})
	e := s.endpoint(t, ctx)
	s.server.Handle(path(agwtest.Dependency{ORDID: e.ORDID, GlobalTenantID: e.TenantID}), identified(mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return s.mcp[0] }, &mcp.StreamableHTTPOptions{Stateless: true})))
	opts, changed := changes()
	session := s.as(t, ctx, "alice", opts)
	if v := session.InitializeResult().ProtocolVersion; v < "2026" {
		t.Fatalf("protocol %s has no subscriptions", v)
	}
	s.server.RevokeUser("alice")
	s.mcp[0].RemoveTools(toolOrders)
	await(t, ctx, "waiting for a change", changed)
	mustSee(t, ctx, session, "alice")
	s.checkUsers(t, "alice")
}
