package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
)

// run plays the whole scene and reports on out. It fails if an agent saw anybody else
// than the user whom the call was for.
func run(ctx context.Context, out io.Writer) error {
	s, err := newScene(agw.Config{}, greeter{})
	if err != nil {
		return err
	}
	defer s.close()
	agents, err := s.gateway.Agents(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "agents of the %s credentials\n", s.gateway.Flow())
	var wrong []error
	for _, agent := range agents {
		fmt.Fprintf(out, "  %-32s %s\n", agent.ORDID, agent.URL)
		for _, user := range []string{"alice", "bob"} {
			v := &visit{out: out, user: user}
			if err := v.play(ctx, s.gateway, agent, s.server.UserToken(agwtest.User{Name: user})); err != nil {
				wrong = append(wrong, fmt.Errorf("%s at %s: %w", user, agent.ORDID, err))
			}
		}
	}
	counts := s.server.Counts()
	fmt.Fprintf(out, "\n%d requests to the gateway, %d token requests, %d users with errors\n", counts.Gateway, counts.Token, len(wrong))
	return errors.Join(wrong...)
}

// visit is what one user does with one agent.
type visit struct {
	out    io.Writer
	user   string
	client *a2aclient.Client
}

func (v *visit) play(ctx context.Context, gw *agw.Gateway, agent flows.Endpoint, jwt string) (err error) {
	if v.client, err = connect(ctx, gw, agent, jwt); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.client.Destroy()) }()
	card, err := v.client.GetAgentCard(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(v.out, "\n%s at %s\n", v.user, agent.ORDID)
	v.report("card", "%s %s, %d skill, streaming: %v", card.Description, card.Version, len(card.Skills), card.Capabilities.Streaming)
	if err := v.message(ctx); err != nil {
		return err
	}
	return v.stream(ctx)
}

func (v *visit) report(what, format string, args ...any) {
	fmt.Fprintf(v.out, "  %-14s %s\n", what, fmt.Sprintf(format, args...))
}

func (v *visit) message(ctx context.Context) error {
	answer, err := v.client.SendMessage(ctx, ask("hello"))
	if err != nil {
		return err
	}
	text := textIn(answer)
	v.report("message", "%s", text)
	return v.check(text)
}

func (v *visit) stream(ctx context.Context) error {
	for event, err := range v.client.SendStreamingMessage(ctx, ask("report")) {
		if err != nil {
			return err
		}
		switch e := event.(type) {
		case *a2a.TaskStatusUpdateEvent:
			v.report("stream", "task is %s", e.Status.State)
		case *a2a.TaskArtifactUpdateEvent:
			v.report("stream", "%s", textIn(e))
			if err := v.check(textIn(e)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *visit) check(text string) error {
	if !strings.HasSuffix(text, " "+v.user) {
		return fmt.Errorf("the agent saw somebody else: %q", text)
	}
	return nil
}

func ask(text string) *a2a.MessageSendParams {
	return &a2a.MessageSendParams{Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.TextPart{Text: text})}
}

// textIn returns the text that an agent's answer begins with, if there is one.
func textIn(event a2a.Event) string {
	switch e := event.(type) {
	case *a2a.Message:
		return textOf(e.Parts)
	case *a2a.TaskArtifactUpdateEvent:
		return textOf(e.Artifact.Parts)
	}
	return ""
}
