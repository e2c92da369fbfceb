// This program talks to an A2A agent behind the Agent Gateway with the official Go
// SDK: it reads the agent's card, sends a message and follows a stream, each on
// behalf of a user, and the agent sees who calls. It needs no account and no network:
// the gateway and the agent behind it run in this process.
//
//	go run -C examples/a2a .
//
// What a program of its own needs of it is the function connect.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2aclient/agentcard"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "a2a:", err)
		os.Exit(1)
	}
}

// connect reads the card of an agent and returns a client of that agent that acts for
// one user. The defaults are disabled because one of them, gRPC, would not go through
// the gateway's client.
func connect(ctx context.Context, gw *agw.Gateway, agent flows.Endpoint, userJWT string) (*a2aclient.Client, error) {
	client := gw.ClientFor(tokensource.UserSubject(userJWT))
	card, err := agentcard.NewResolver(client).Resolve(ctx, agent.URL)
	if err != nil {
		return nil, err
	}
	return a2aclient.NewFromCard(ctx, card, a2aclient.WithDefaultsDisabled(), a2aclient.WithJSONRPCTransport(client))
}
