package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/a2asrv"
	"github.com/a2aproject/a2a-go/a2asrv/eventqueue"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// Tokens expire, messages go on: under new tokens, and without a single 401.
func TestExpiry(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{}, greeter{})
	s.server.Tokens.SetLifetime(2 * time.Second)
	client := s.as(t, ctx, "alice")
	var tokens []string
	eventually(t, ctx, "waiting for the third token", func() bool {
		if id := s.mustGreet(t, ctx, client, "alice"); !slices.Contains(tokens, id) {
			tokens = append(tokens, id)
		}
		return len(tokens) >= 3
	})
	if n := s.refused(); n > 0 {
		t.Errorf("the gateway refused %d requests", n)
	}
}

// A token that is revoked is replaced within the call.
func TestRevocation(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{}, greeter{})
	client := s.as(t, ctx, "alice")
	before := s.mustGreet(t, ctx, client, "alice")
	s.server.RevokeUser("alice")
	if after := s.mustGreet(t, ctx, client, "alice"); after == before {
		t.Errorf("token %s was used after it had been revoked", before)
	}
	if n := s.refused(); n != 1 {
		t.Errorf("the gateway refused %d requests, want 1", n)
	}
	s.checkUsers(t, "alice")
}

// patient is an agent that sends a page of its report each time it is told to.
type patient struct {
	greeter
	turn chan bool // true for another page, false for the end
}

func (p patient) Execute(ctx context.Context, req *a2asrv.RequestContext, queue eventqueue.Queue) error {
	caller, _ := agwtest.CallerFromContext(ctx)
	var artifact a2a.ArtifactID
	for more := range p.turn {
		if !more {
			break
		}
		event := newChunk(req, artifact, "page for "+caller.User)
		artifact = event.Artifact.ID
		if err := queue.Write(ctx, event); err != nil {
			return err
		}
	}
	done := a2a.NewStatusUpdateEvent(req, a2a.TaskStateCompleted, nil)
	done.Final = true
	return queue.Write(ctx, done)
}

// writeUntil has the agent write pages until somebody has heard of one, and then end.
func (p patient) writeUntil(ctx context.Context, heard <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.turn <- true
		case <-heard:
			p.turn <- false
			return
		case <-ctx.Done():
			return
		}
	}
}

// A stream outlives its token; when it breaks, it is resumed with a new one.
func TestStreamResumes(t *testing.T) {
	t.Parallel()
	agent := patient{turn: make(chan bool, 1)}
	ctx, s := start(t, agw.Config{}, agent)
	client := s.as(t, ctx, "alice")

	agent.turn <- true
	var task a2a.TaskID
	pages := 0
	for event, err := range client.SendStreamingMessage(ctx, ask("report")) {
		if err != nil {
			t.Fatal(err)
		}
		if page, ok := event.(*a2a.TaskArtifactUpdateEvent); ok {
			task = page.TaskID
			if pages++; pages == 2 {
				break // as a broken connection does
			}
			s.server.RevokeUser("alice")
			agent.turn <- true
		}
	}
	heard := make(chan struct{})
	go agent.writeUntil(ctx, heard)
	var last a2a.Event
	for event, err := range client.ResubscribeToTask(ctx, &a2a.TaskIDParams{ID: task}) {
		if err != nil {
			t.Fatal(err)
		}
		if last == nil {
			close(heard)
		}
		last = event
	}
	if status, ok := last.(*a2a.TaskStatusUpdateEvent); !ok || status.Status.State != a2a.TaskStateCompleted {
		t.Errorf("the last event is %v", last)
	}
	if n := s.refused(); n != 1 {
		t.Errorf("the gateway refused %d requests, want 1", n)
	}
	s.checkUsers(t, "alice")
}

// Each user is seen as such, with a client for each and with one for both.
func TestTwoUsers(t *testing.T) {
	t.Parallel()
	t.Run("one client for each", func(t *testing.T) {
		t.Parallel()
		ctx, s := start(t, agw.Config{}, greeter{})
		testTwoUsers(t, s, ctx, ctx, s.as(t, ctx, "alice"), s.as(t, ctx, "bob"))
	})
	t.Run("one client for both", func(t *testing.T) {
		t.Parallel()
		ctx, s := start(t, agw.Config{RequireUser: true}, greeter{})
		alice, bob := tokensource.WithUserToken(ctx, s.jwt("alice")), tokensource.WithUserToken(ctx, s.jwt("bob"))
		client := s.over(t, alice, s.gateway.Client(), s.agent(t, ctx).URL)
		testTwoUsers(t, s, alice, bob, client, client)
	})
}

// over returns a client of the agent over an HTTP client.
func (s *scene) over(t *testing.T, ctx context.Context, client *http.Client, url string) *a2aclient.Client {
	t.Helper()
	card, err := agentcard.NewResolver(client).Resolve(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a2aclient.NewFromCard(ctx, card, a2aclient.WithDefaultsDisabled(), a2aclient.WithJSONRPCTransport(client))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testTwoUsers(t *testing.T, s *scene, aliceCtx, bobCtx context.Context, alice, bob *a2aclient.Client) {
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for range 10 {
				greet(t, aliceCtx, alice, "alice")
				greet(t, bobCtx, bob, "bob")
			}
		})
	}
	calls.Wait()
	s.checkUsers(t, "alice", "bob")
	if n := s.server.Counts().Token; n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}

const outage = 3 * time.Second

func down(agwtest.Request) *agwtest.Fault {
	return &agwtest.Fault{Status: http.StatusServiceUnavailable}
}

// The token service is down for three seconds and more, in which the token runs into
// its expiry buffer: no message fails.
func TestOutageIsInvisible(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{}, greeter{})
	s.server.Tokens.SetLifetime(8 * time.Second) // half of it in the buffer
	client := s.as(t, ctx, "alice")
	first := s.mustGreet(t, ctx, client, "alice")
	s.server.Tokens.OnRequest(down)
	begin := time.Now()
	eventually(t, ctx, "waiting for the outage to end", func() bool {
		s.mustGreet(t, ctx, client, "alice")
		stats := s.gateway.Source().Stats()
		return time.Since(begin) > outage && stats.Failures > 0 && stats.ServedStale > 0
	})
	s.server.Tokens.ClearFaults()
	eventually(t, ctx, "waiting for a new token", func() bool {
		return s.mustGreet(t, ctx, client, "alice") != first
	})
	if n := s.refused(); n > 0 {
		t.Errorf("the gateway refused %d requests", n)
	}
}

// Where there is no token to go on with, messages fail with a typed error, and
// succeed again when the token service is back.
func TestOutageWithoutToken(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{}, greeter{})
	alice := s.subject("alice")
	client := s.over(t, ctx, s.gateway.ClientFor(alice), s.agent(t, ctx).URL)
	s.server.Tokens.OnRequest(down)
	s.gateway.Source().Forget(alice)
	_, err := client.SendMessage(ctx, ask("hello"))
	e := (*tokensource.Error)(nil)
	if !errors.As(err, &e) || e.StatusCode != http.StatusServiceUnavailable || e.NextAttempt.IsZero() {
		t.Errorf("SendMessage = %v, want a tokensource.Error", err)
	}
	s.server.Tokens.ClearFaults()
	eventually(t, ctx, "waiting for an answer", func() bool {
		_, err := client.SendMessage(ctx, ask("hello"))
		return err == nil
	})
}

// A card that leads elsewhere does not lead the token there.
func TestForeignCard(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{}, greeter{})
	s.server.Handle("/evil"+a2asrv.WellKnownAgentCardPath, a2asrv.NewStaticAgentCardHandler(newCard("evil", s.server.ForeignURL())))
	client := s.over(t, ctx, s.gateway.ClientFor(s.subject("alice")), s.gateway.URL("evil"))
	if _, err := client.SendMessage(ctx, ask("hello")); !errors.Is(err, transport.ErrForeignHost) {
		t.Errorf("SendMessage = %v, want an ErrForeignHost", err)
	}
	for _, err := range client.SendStreamingMessage(ctx, ask("report")) {
		if !errors.Is(err, transport.ErrForeignHost) {
			t.Errorf("SendStreamingMessage = %v, want an ErrForeignHost", err)
		}
	}
	if n := s.server.Counts().Foreign; n != 0 {
		t.Errorf("the foreign host got %d requests", n)
	}
}

// Nor does a redirect of the card.
func TestForeignRedirect(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, agw.Config{}, greeter{})
	s.server.Handle("/evil/", http.RedirectHandler(s.server.ForeignURL(), http.StatusFound))
	_, err := connect(ctx, s.gateway, flows.Endpoint{URL: s.gateway.URL("evil")}, s.jwt("alice"))
	if !errors.Is(err, transport.ErrForeignHost) {
		t.Errorf("connect = %v, want an ErrForeignHost", err)
	}
	if n := s.server.Counts().Foreign; n != 0 {
		t.Errorf("the foreign host got %d requests", n)
	}
}
