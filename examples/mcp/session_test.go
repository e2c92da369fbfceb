package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/tokensource"
)

// Tokens expire, calls go on: under new tokens, and without a single 401.
func TestExpiry(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	const life = 2 * time.Second
	s.server.Tokens.SetLifetime(life)
	opts, changed := changes()
	begin := time.Now()
	session := s.as(t, ctx, "alice", opts)

	var tokens []string
	eventually(t, ctx, "waiting for the third token", func() bool {
		id := mustSee(t, ctx, session, "alice").TokenID
		if !slices.Contains(tokens, id) {
			tokens = append(tokens, id)
		}
		return len(tokens) >= 3 && time.Since(begin) > life
	})
	// The token that the stream was opened with has expired by now.
	s.mcp[0].RemoveTools(toolOrders)
	await(t, ctx, "waiting for a change on the standalone stream", changed)
	if n := s.refused(); n > 0 {
		t.Errorf("the gateway refused %d requests", n)
	}
	if n := len(s.sent(http.MethodGet)); n != 1 {
		t.Errorf("the standalone stream was opened %d times", n)
	}
}

// A token that is revoked is replaced within the call.
func TestRevocation(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	session := s.as(t, ctx, "alice", nil)
	before, id := mustSee(t, ctx, session, "alice"), session.ID()

	s.server.RevokeUser("alice")
	after := mustSee(t, ctx, session, "alice")
	if after.TokenID == before.TokenID || session.ID() != id {
		t.Errorf("token %s then %s, session %s then %s", before.TokenID, after.TokenID, id, session.ID())
	}
	if n := s.refused(); n != 1 {
		t.Errorf("the gateway refused %d requests, want 1", n)
	}
	s.checkUsers(t, "alice")
}

// Each user has a session, and what either does goes out as that user: calls,
// streams and the end of the session.
func TestTwoUsers(t *testing.T) {
	t.Parallel()
	t.Run("one client for each", func(t *testing.T) {
		t.Parallel()
		ctx, s := start(t, agw.Config{})
		testTwoUsers(t, s, ctx, ctx, s.as(t, ctx, "alice", nil), s.as(t, ctx, "bob", nil))
	})
	t.Run("one client for both", func(t *testing.T) {
		t.Parallel()
		ctx, s := start(t, agw.Config{})
		client := s.gateway.Client()
		alice := tokensource.WithUserToken(ctx, subjectOf(s, "alice").UserToken())
		bob := tokensource.WithUserToken(ctx, subjectOf(s, "bob").UserToken())
		testTwoUsers(t, s, alice, bob, s.over(t, alice, client, nil), s.over(t, bob, client, nil))
	})
}

func testTwoUsers(t *testing.T, s *scene, aliceCtx, bobCtx context.Context, alice, bob *mcp.ClientSession) {
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for range 10 {
				mustSeeOrError(t, aliceCtx, alice, "alice")
				mustSeeOrError(t, bobCtx, bob, "bob")
			}
		})
	}
	calls.Wait()
	eventually(t, aliceCtx, "waiting for both streams", func() bool { return len(s.sent(http.MethodGet)) == 2 })
	owner := map[string]string{alice.ID(): "alice", bob.ID(): "bob", "": "alice or bob"}
	if err := errors.Join(alice.Close(), bob.Close()); err != nil {
		t.Error(err)
	}
	for _, r := range s.server.Requests() {
		if id := r.Header.Get("Mcp-Session-Id"); id != "" && r.User != owner[id] {
			t.Errorf("%s in the session of %s came from %q", r.Method, owner[id], r.User)
		}
	}
	s.checkUsers(t, "alice", "bob")
	if n := s.server.Counts().Token; n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}

// mustSeeOrError is mustSee for goroutines.
func mustSeeOrError(t *testing.T, ctx context.Context, session *mcp.ClientSession, user string) {
	var o orders
	if err := call(ctx, session, &mcp.CallToolParams{Name: toolOrders}, &o); err != nil || o.Owner != user {
		t.Errorf("the tool saw %q, %v; want %q", o.Owner, err, user)
	}
}

// Pings carry no context values of anybody: the client's own subject counts.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	pings := s.countPings()
	session := s.as(t, ctx, "alice", &mcp.ClientOptions{KeepAlive: 20 * time.Millisecond, KeepAliveFailureThreshold: 100})
	eventually(t, ctx, "waiting for pings", func() bool { return pings.Load() >= 5 })
	mustSee(t, ctx, session, "alice")
	s.checkUsers(t, "alice")
}

// Without ClientFor, pings would go out under the system identity. RequireUser
// makes that an error of the session.
func TestKeepAliveRequiresUser(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{RequireUser: true})
	pings := s.countPings()
	ctx = tokensource.WithUserToken(ctx, subjectOf(s, "alice").UserToken())
	session := s.over(t, ctx, s.gateway.Client(), &mcp.ClientOptions{KeepAlive: 20 * time.Millisecond})
	defer context.AfterFunc(ctx, func() { _ = session.Close() })()
	if err := session.Wait(); ctx.Err() != nil {
		t.Errorf("the session went on: %v", err)
	}
	if n := pings.Load(); n != 0 {
		t.Errorf("%d pings got through", n)
	}
	s.checkUsers(t, "alice")
}

// countPings counts the pings that the first MCP server gets.
func (s *scene) countPings() *atomic.Int64 {
	var n atomic.Int64
	s.mcp[0].AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == "ping" {
				n.Add(1)
			}
			return next(ctx, method, req)
		}
	})
	return &n
}

// Closing a session ends it at the server, even if the token was revoked meanwhile.
func TestClose(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]bool{"valid token": false, "revoked token": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s := start(t, agw.Config{})
			session := s.as(t, ctx, "alice", nil)
			id := session.ID()
			if revoke {
				s.server.RevokeUser("alice")
			}
			if err := session.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, ctx, "waiting for the end at the server", func() bool {
				deletes := s.sent(http.MethodDelete)
				return len(deletes) > 0 && deletes[len(deletes)-1].Status == http.StatusNoContent
			})
			for _, r := range s.sent(http.MethodDelete) {
				if r.User != "alice" || r.Header.Get("Mcp-Session-Id") != id {
					t.Errorf("DELETE of session %s as %q, want %s as alice", r.Header.Get("Mcp-Session-Id"), r.User, id)
				}
			}
			for range s.mcp[0].Sessions() {
				t.Error("the server still has a session")
			}
		})
	}
}
