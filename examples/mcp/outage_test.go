package main

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
)

const outage = 3 * time.Second

func down(agwtest.Request) *agwtest.Fault {
	return &agwtest.Fault{Status: http.StatusServiceUnavailable}
}

// The token service is down for three seconds and more, in which the token runs into
// its expiry buffer: no call of a session fails.
func TestOutageIsInvisible(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	s.server.Tokens.SetLifetime(8 * time.Second) // half of it in the buffer
	session := s.as(t, ctx, "alice", nil)
	first := mustSee(t, ctx, session, "alice").TokenID

	s.server.Tokens.OnRequest(down)
	begin := time.Now()
	eventually(t, ctx, "waiting for the outage to end", func() bool {
		mustSee(t, ctx, session, "alice")
		stats := s.gateway.Source().Stats()
		return time.Since(begin) > outage && stats.Failures > 0 && stats.ServedStale > 0
	})
	s.server.Tokens.ClearFaults()
	eventually(t, ctx, "waiting for a new token", func() bool {
		return mustSee(t, ctx, session, "alice").TokenID != first
	})
	if n := s.refused(); n > 0 {
		t.Errorf("the gateway refused %d requests", n)
	}
}

// Where there is no token to go on with, calls fail at once with a typed error, and
// the session goes on when the token service is back.
func TestOutageWithoutToken(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{})
	alice := subjectOf(s, "alice")
	session := s.over(t, ctx, s.gateway.ClientFor(alice), nil)
	mustSee(t, ctx, session, "alice")

	s.server.Tokens.OnRequest(down)
	s.gateway.Source().Forget(alice)
	begin := time.Now()
	eventually(t, ctx, "waiting for the outage to end", func() bool {
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: toolWhoami})
		e := (*tokensource.Error)(nil)
		if !errors.As(err, &e) || e.StatusCode != http.StatusServiceUnavailable || e.NextAttempt.IsZero() {
			t.Fatalf("CallTool = %v, want a tokensource.Error", err)
		}
		return time.Since(begin) > outage
	})
	if n := s.server.Counts().Token; n > 1+3*3 {
		t.Errorf("%d token requests", n)
	}
	s.server.Tokens.ClearFaults()
	eventually(t, ctx, "waiting for the session to go on", func() bool {
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: toolWhoami})
		return err == nil
	})
	mustSee(t, ctx, session, "alice")
}
