package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

// run plays the whole scene and reports on out. It fails if a tool saw anybody else
// than the user of its session.
func run(ctx context.Context, flow string, out io.Writer) error {
	s, err := newScene(flow, agw.Config{})
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Fprintf(out, "MCP servers of the %s credentials\n", s.gateway.Flow())
	var visits []*visit
	for _, tenant := range s.tenants() {
		servers, err := s.gateway.MCPServers(tokensource.WithTenant(ctx, tenant))
		if err != nil {
			return err
		}
		for _, server := range servers {
			fmt.Fprintf(out, "  %-8s %-32s %s\n", cmp.Or(tenant, "(own)"), server.ORDID, server.URL)
		}
		visits = append(visits, s.visits(tenant, servers, out)...)
	}
	var wrong []error
	for _, v := range visits {
		if err := v.play(ctx, s.gateway); err != nil {
			wrong = append(wrong, fmt.Errorf("%s at %s: %w", v.caller, v.server.ORDID, err))
		}
	}
	counts := s.server.Counts()
	fmt.Fprintf(out, "\n%d requests to the gateway, %d requests for tokens and servers, %d sessions with errors\n", counts.Gateway, counts.Services(), len(wrong))
	return errors.Join(wrong...)
}

// visits returns one visit of each user to each of a tenant's servers.
func (s *scene) visits(tenant string, servers []flows.Endpoint, out io.Writer) (visits []*visit) {
	for _, user := range []string{"alice", "bob"} {
		jwt := s.server.UserToken(agwtest.User{Name: user, Tenant: tenant})
		for _, server := range servers {
			visits = append(visits, &visit{
				out: out, server: server,
				caller:  caller{user, tenant},
				subject: tokensource.UserSubject(jwt).In(tenant),
			})
		}
	}
	return visits
}

// caller is who a tool should see.
type caller struct{ user, tenant string }

func (c caller) String() string {
	if c.tenant == "" {
		return c.user
	}
	return c.user + " of " + c.tenant
}

// visit is the session of one user with one MCP server.
type visit struct {
	out      io.Writer
	server   flows.Endpoint
	caller   caller
	subject  tokensource.Subject
	session  *mcp.ClientSession
	progress chan string
	changed  chan struct{}
}

func (v *visit) play(ctx context.Context, gw *agw.Gateway) (err error) {
	v.progress, v.changed = make(chan string, exportSteps), make(chan struct{}, 1)
	v.session, err = connect(ctx, gw, v.server, v.subject, v.options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.session.Close()) }()
	fmt.Fprintf(v.out, "\n%s at %s\n", v.caller, v.server.ORDID)
	v.report("session", "protocol %s", v.session.InitializeResult().ProtocolVersion)
	for _, step := range []func(context.Context) error{v.tools, v.whoami, v.orders, v.export, v.learn, v.tools} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (v *visit) report(what, format string, args ...any) {
	fmt.Fprintf(v.out, "  %-14s %s\n", what, fmt.Sprintf(format, args...))
}

// options has the SDK tell of progress and of changes.
func (v *visit) options() *mcp.ClientOptions {
	return &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			v.progress <- fmt.Sprintf("%v/%v", req.Params.Progress, req.Params.Total)
		},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) {
			select {
			case v.changed <- struct{}{}:
			default: // one is as good as many
			}
		},
	}
}

func (v *visit) tools(ctx context.Context) error {
	var names []string
	for tool, err := range v.session.Tools(ctx, nil) {
		if err != nil {
			return err
		}
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	v.report("tools", "%s", strings.Join(names, ", "))
	return nil
}

func (v *visit) whoami(ctx context.Context) error {
	var c agwtest.Caller
	if err := call(ctx, v.session, &mcp.CallToolParams{Name: toolWhoami}, &c); err != nil {
		return err
	}
	v.report(toolWhoami, "user %s, client %s, tenant %s, token %s", orTechnical(c.User), c.Client, c.Tenant, c.TokenID)
	if v.caller.tenant != "" && c.Tenant != v.caller.tenant {
		return fmt.Errorf("the tool saw tenant %s", c.Tenant)
	}
	return v.check(c.User)
}

func (v *visit) orders(ctx context.Context) error {
	var o orders
	if err := call(ctx, v.session, &mcp.CallToolParams{Name: toolOrders}, &o); err != nil {
		return err
	}
	v.report(toolOrders, "%s", strings.Join(o.Orders, ", "))
	return v.check(o.Owner)
}

func (v *visit) export(ctx context.Context) error {
	params := &mcp.CallToolParams{Name: toolExport}
	params.SetProgressToken("export")
	var o orders
	if err := call(ctx, v.session, params, &o); err != nil {
		return err
	}
	var seen []string
	for range exportSteps {
		select {
		case p := <-v.progress:
			seen = append(seen, p)
		case <-ctx.Done():
			return fmt.Errorf("waiting for progress: %w", ctx.Err())
		}
	}
	v.report(toolExport, "progress %s; %d orders", strings.Join(seen, " "), len(o.Orders))
	return v.check(o.Owner)
}

func (v *visit) learn(ctx context.Context) error {
	params := &mcp.CallToolParams{Name: toolLearn, Arguments: lesson{Name: "forecast_for_" + v.caller.user}}
	if err := call(ctx, v.session, params, nil); err != nil {
		return err
	}
	select {
	case <-v.changed:
		v.report(toolLearn, "told that the list of tools has changed")
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a change of the list of tools: %w", ctx.Err())
	}
}

func (v *visit) check(seen string) error {
	if seen != v.caller.user {
		return fmt.Errorf("the tool saw %s", orTechnical(seen))
	}
	return nil
}

// call calls a tool and decodes its structured result, unless result is nil.
func call(ctx context.Context, session *mcp.ClientSession, params *mcp.CallToolParams, result any) error {
	res, err := session.CallTool(ctx, params)
	switch {
	case err != nil:
		return err
	case res.IsError:
		return fmt.Errorf("tool %s failed: %w", params.Name, res.GetError())
	case result == nil:
		return nil
	}
	content, err := json.Marshal(res.StructuredContent)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, result)
}
