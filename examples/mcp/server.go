package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw/agwtest"
)

// Names of the tools.
const (
	toolWhoami = "whoami"
	toolOrders = "list_orders"
	toolExport = "export_orders"
	toolLearn  = "learn"
)

// exportSteps is the number of progress notifications of one export.
const exportSteps = 4

// newMCPServer returns an MCP server with a few tools.
func newMCPServer(name string) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1.0.0"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: toolWhoami, Description: "Says who calls."}, whoami)
	mcp.AddTool(s, &mcp.Tool{Name: toolOrders, Description: "Lists the caller's orders."}, listOrders)
	mcp.AddTool(s, &mcp.Tool{Name: toolExport, Description: "Exports orders, which takes a while."}, exportOrders)
	mcp.AddTool(s, &mcp.Tool{Name: toolLearn, Description: "Adds a tool to this server."}, learner(s))
	return s
}

// handler serves s by streamable HTTP, with sessions and streams that can be
// resumed.
func handler(s *mcp.Server) http.Handler {
	return identified(mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return s },
		&mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)},
	))
}

// identified tells h of each call's caller, so that a session belongs to the caller
// who began it.
func identified(h http.Handler) http.Handler {
	return auth.RequireBearerToken(verify, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(h)
}

const callerKey = "caller"

// verify takes the identity over from the gateway, which has checked the token.
func verify(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	c, ok := agwtest.CallerFromContext(ctx)
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{UserID: c.Client + "/" + c.User, Extra: map[string]any{callerKey: c}}, nil
}

// callerOf returns who sent this very call. (The context of a tool is that of the
// request which began the session.)
func callerOf(req *mcp.CallToolRequest) agwtest.Caller {
	c, _ := req.Extra.TokenInfo.Extra[callerKey].(agwtest.Caller)
	return c
}

type none struct{}

func whoami(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, agwtest.Caller, error) {
	return nil, callerOf(req), nil
}

type orders struct {
	Owner  string   `json:"owner"`
	Orders []string `json:"orders"`
}

func listOrders(_ context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, orders, error) {
	c := callerOf(req)
	o := orders{Owner: c.User}
	for i := range 3 {
		o.Orders = append(o.Orders, fmt.Sprintf("%s-%d", orTechnical(c.User), 4711+i))
	}
	return nil, o, nil
}

// exportOrders takes its time and says how far it is.
func exportOrders(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, orders, error) {
	work := time.NewTicker(30 * time.Millisecond)
	defer work.Stop()
	for step := range exportSteps {
		select {
		case <-work.C:
		case <-ctx.Done():
			return nil, orders{}, ctx.Err()
		}
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: req.Params.GetProgressToken(), Progress: float64(step + 1), Total: exportSteps,
		})
		if err != nil {
			return nil, orders{}, err
		}
	}
	return listOrders(ctx, req, none{})
}

type lesson struct {
	Name string `json:"name"`
}

// learner returns a tool that adds a tool, of which s tells all sessions.
func learner(s *mcp.Server) mcp.ToolHandlerFor[lesson, lesson] {
	return func(_ context.Context, _ *mcp.CallToolRequest, l lesson) (*mcp.CallToolResult, lesson, error) {
		mcp.AddTool(s, &mcp.Tool{Name: l.Name, Description: "Says who calls, too."}, whoami)
		return nil, l, nil
	}
}

func orTechnical(user string) string {
	if user == "" {
		return "(system)"
	}
	return user
}
