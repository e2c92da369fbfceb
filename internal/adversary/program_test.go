package adversary_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// tenant is the one that programs act in by default.
const tenant = "acme"

var flowNames = []string{"customer", "lob"}

// A program uses one of the flows with the services of a double. What is secret in it is
// known, and what comes out of it is collected.
type program struct {
	server  *agwtest.Server
	secrets *secrets
	output  *output

	flow      flows.Flow
	source    *tokensource.Source
	client    *http.Client
	userToken string // a JWT
	values    []any  // with methods of this module, that it holds
}

// startProgram starts a double, and a program that uses it.
func startProgram(t *testing.T, flowName string, opts agwtest.Options) *program {
	t.Helper()
	server, err := agwtest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p := &program{server: server, secrets: &secrets{}, output: newOutput()}
	p.userToken = server.UserToken(agwtest.User{Name: "alice", Tenant: tenant})
	p.secrets.addToken("user's JWT", p.userToken)
	base := server.Transport()
	t.Cleanup(base.CloseIdleConnections)

	options := flows.Options{ServiceTransport: base, Tokens: tokensource.Options{
		Settings: tokensource.Settings{FetchTimeout: 10 * time.Second}, Logger: p.output.logger(), OnEvent: p.output.addEvent,
	}}
	var credentials flows.Credentials
	if flowName == "customer" {
		c := customerCredentials(server)
		p.secrets.addKey(c.PrivateKey)
		credentials, p.values = c, []any{c, *c}
	} else {
		c := lobCredentials(server)
		p.secrets.add("client secret", c.ClientSecret)
		credentials, p.values = c, []any{c, *c}
		options.Tenant = tenant
	}
	if p.flow, err = credentials.NewFlow(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.flow.CloseIdleConnections)
	if p.source, err = tokensource.New(p.flow, options.Tokens); err != nil {
		t.Fatal(err)
	}
	p.client = transport.New(p.source, transport.Options{Base: base}).Client()
	p.output.addValueInUse("options", options)
	p.values = append(p.values, p.flow, p.source, *p.source)
	return p
}

func customerCredentials(server *agwtest.Server) *customer.Credentials {
	c := server.Credentials()
	return &customer.Credentials{
		TokenServiceURL: c["tokenServiceUrl"].(string), ClientID: c["clientid"].(string),
		Certificate: c["certificate"].(string), PrivateKey: c["privateKey"].(string), GatewayURL: c["gatewayUrl"].(string),
		Dependencies: []flows.Dependency{{ORDID: "sap.s4:apiAccess:salesOrder:v1", GlobalTenantID: "t"}},
	}
}

func lobCredentials(server *agwtest.Server) *lob.Credentials {
	b := server.DestinationBinding()
	return &lob.Credentials{
		ClientID: b["clientid"], ClientSecret: b["clientsecret"], URL: b["url"], URI: b["uri"], IdentityZone: b["identityzone"],
		Landscape: "agwtest",
	}
}

// services returns the handles of the services that the program gets tokens from.
func (p *program) services() map[string]*agwtest.Service {
	if p.flow.Identity().Flow == "customer" {
		return map[string]*agwtest.Service{"the token service": p.server.Tokens.Service}
	}
	return map[string]*agwtest.Service{
		"the authorization server": p.server.Auth.Service, "the list of fragments": p.server.Fragments, "the destination": p.server.Destinations.Service,
	}
}

// purge drops all tokens, those of the flow's own included.
func (p *program) purge() {
	p.source.Purge()
	p.flow.Purge()
}

// exercise does everything that a program can do, collects what comes out, and returns how
// much of it failed.
func (p *program) exercise(t *testing.T) (failures int) {
	t.Helper()
	add := func(where string, err error) {
		if err != nil {
			failures++
		}
		p.output.addError(where, err)
	}
	for name, ctx := range map[string]context.Context{
		"system": context.Background(),
		"user":   tokensource.WithUserToken(context.Background(), p.userToken),
	} {
		p.output.addValue("context of the "+name, ctx)
		token, err := p.source.AccessToken(ctx)
		add("token of the "+name, err)
		p.output.addValue("token of the "+name, token)
		add("call of the "+name, p.call(t, ctx))
	}
	_, err := p.flow.MCPServers(context.Background())
	add("MCP servers", err)
	_, err = p.flow.Agents(context.Background())
	add("agents", err)
	_, err = p.flow.ClientID(context.Background())
	add("client id", err)
	for _, v := range append(p.values, p.source.Stats(), p.flow.Identity()) {
		p.output.addValue(fmt.Sprintf("%T", v), v)
	}
	p.output.addValueInUse("client", p.client)
	p.output.addValueInUse("transport", p.client.Transport)
	p.addUsedSecrets()
	return failures
}

// call sends a request to the gateway, and collects everything but the body of the response.
func (p *program) call(t *testing.T, ctx context.Context) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "/v1/mcp/ord/tenant", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	p.output.addValueInUse("request", req)
	p.output.addValue("header of the request", req.Header)
	p.output.addValueInUse("response", resp)
	p.output.addValueInUse("request of the response", resp.Request)
	p.output.addValue("header of the request of the response", resp.Request.Header)
	return nil
}

// addUsedSecrets adds the credentials and tokens that the services have received.
func (p *program) addUsedSecrets() {
	for _, r := range p.server.Requests() {
		for name, value := range map[string]string{
			"assertion": r.Form.Get("assertion"), "client secret": r.Form.Get("client_secret"),
			"X-User-Token":          r.Header.Get("X-User-Token"),
			"token of " + r.Service: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
		} {
			if value != "" {
				p.secrets.addToken(name, value)
			}
		}
	}
}
