package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2asrv"
	"github.com/a2aproject/a2a-go/a2asrv/eventqueue"

	"github.com/agwgo/agw/agwtest"
)

// chunks is how many parts the agent's long answer has.
const chunks = 3

// mount puts an agent behind the gateway, at the place of d, and its card below it.
func mount(server *agwtest.Server, d agwtest.Dependency, executor a2asrv.AgentExecutor) {
	path := "/v1/a2a/" + url.PathEscape(d.ORDID) + "/" + url.PathEscape(d.GlobalTenantID)
	card := newCard(d.ORDID, server.GatewayURL()+path)
	server.Handle(path+a2asrv.WellKnownAgentCardPath, a2asrv.NewStaticAgentCardHandler(card))
	server.Handle(path, a2asrv.NewJSONRPCHandler(a2asrv.NewHandler(executor)))
}

func newCard(name, url string) *a2a.AgentCard {
	return &a2a.AgentCard{
		Name: name, Description: "Answers with who asks.", Version: "1.0.0", ProtocolVersion: "0.3.0",
		URL: url, PreferredTransport: a2a.TransportProtocolJSONRPC,
		DefaultInputModes: []string{"text/plain"}, DefaultOutputModes: []string{"text/plain"},
		Capabilities: a2a.AgentCapabilities{Streaming: true},
		Skills:       []a2a.AgentSkill{{ID: "greet", Name: "Greet", Description: "Greets the caller.", Tags: []string{"greeting"}}},
	}
}

// greeter is an agent that says in each answer who it was asked by. To most messages
// it answers at once; to "report" with a task that it works on, piece by piece.
type greeter struct{}

func (greeter) Execute(ctx context.Context, req *a2asrv.RequestContext, queue eventqueue.Queue) error {
	caller, _ := agwtest.CallerFromContext(ctx)
	if textOf(req.Message.Parts) != "report" {
		return queue.Write(ctx, a2a.NewMessage(a2a.MessageRoleAgent, a2a.TextPart{Text: "Hello, " + orTechnical(caller.User)}))
	}
	return report(ctx, req, queue, caller.User)
}

func report(ctx context.Context, req *a2asrv.RequestContext, queue eventqueue.Queue, user string) error {
	if err := queue.Write(ctx, a2a.NewStatusUpdateEvent(req, a2a.TaskStateWorking, nil)); err != nil {
		return err
	}
	work := time.NewTicker(30 * time.Millisecond)
	defer work.Stop()
	var artifact a2a.ArtifactID
	for i := range chunks {
		select {
		case <-work.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		event := newChunk(req, artifact, fmt.Sprintf("page %d for %s", i+1, orTechnical(user)))
		artifact = event.Artifact.ID
		if err := queue.Write(ctx, event); err != nil {
			return err
		}
	}
	done := a2a.NewStatusUpdateEvent(req, a2a.TaskStateCompleted, nil)
	done.Final = true
	return queue.Write(ctx, done)
}

func newChunk(req *a2asrv.RequestContext, artifact a2a.ArtifactID, text string) *a2a.TaskArtifactUpdateEvent {
	if artifact == "" {
		return a2a.NewArtifactEvent(req, a2a.TextPart{Text: text})
	}
	return a2a.NewArtifactUpdateEvent(req, artifact, a2a.TextPart{Text: text})
}

func (greeter) Cancel(ctx context.Context, req *a2asrv.RequestContext, queue eventqueue.Queue) error {
	canceled := a2a.NewStatusUpdateEvent(req, a2a.TaskStateCanceled, nil)
	canceled.Final = true
	return queue.Write(ctx, canceled)
}

// textOf returns the text of the first part, if it is one.
func textOf(parts []a2a.Part) string {
	if len(parts) == 0 {
		return ""
	}
	text, _ := parts[0].(a2a.TextPart)
	return text.Text
}

func orTechnical(user string) string {
	if user == "" {
		return "(system)"
	}
	return user
}
