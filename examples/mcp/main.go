// This program uses MCP servers behind the Agent Gateway with the official Go SDK:
// one session for each user, and the server sees who calls. It needs no account and
// no network: the gateway and the MCP servers behind it run in this process.
//
//	go run -C examples/mcp .            # a customer agent
//	go run -C examples/mcp . -flow lob  # a LoB agent, for two tenants
//
// What a program of its own needs of it is the function connect.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	flow := flag.String("flow", "customer", "which kind of agent: customer or lob")
	flag.Parse()
	if err := run(ctx, *flow, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mcp:", err)
		os.Exit(1)
	}
}

// connect opens the session of one user with one MCP server. The client acts for
// that user in all that the SDK does on its own, too: pings, streams and their
// resumption, and the end of the session. A user is a tokensource.Subject, made by
// tokensource.UserSubject(jwt).
func connect(ctx context.Context, gw *agw.Gateway, server flows.Endpoint, user tokensource.Subject, opts *mcp.ClientOptions) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "my-agent", Version: "1.0.0"}, opts)
	return client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   server.URL,
		HTTPClient: gw.ClientFor(user),
	}, nil)
}
