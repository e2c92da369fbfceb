package adversary_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// tenant is the one that worlds act in.
const tenant = "acme"

// A world is a program that uses one of the flows, the services that it talks to,
// what is secret in it, and what comes out of it.
type world struct {
	*agwtest.Server
	*vault
	*output

	flow   tokensource.Flow
	src    *tokensource.Source
	client *http.Client
	user   string   // a JWT
	values []any    // everything with methods that a program would hold
	lists  []lister // of endpoints
}

type lister = func(context.Context) error

// newWorld starts the double and a flow that talks to it.
func newWorld(t *testing.T, flow string, opts agwtest.Options) *world {
	t.Helper()
	srv, err := agwtest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	w := &world{Server: srv, vault: &vault{}, output: newOutput()}
	w.user = srv.UserToken(agwtest.User{Name: "alice", Tenant: tenant})
	w.lockToken("user's JWT", w.user)
	base := srv.Transport()
	t.Cleanup(base.CloseIdleConnections)
	if flow == "customer" {
		w.asCustomer(t, base)
	} else {
		w.asLoB(t, base)
	}
	w.src, err = tokensource.New(w.flow, tokensource.Options{
		Settings: cache.Settings{FetchTimeout: 10 * time.Second}, Logger: w.logger(), OnEvent: w.event,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.client = transport.New(w.src, &transport.Options{Base: base}).Client()
	return w
}

// lockToken locks a JWT and each of its segments.
func (w *world) lockToken(name, token string) {
	w.lock(name, token)
	for i, segment := range strings.Split(token, ".") {
		w.lock(fmt.Sprintf("%s, segment %d", name, i), segment)
	}
}

func (w *world) asCustomer(t *testing.T, base *http.Transport) {
	t.Helper()
	c := w.Credentials()
	creds := &customer.Credentials{
		TokenServiceURL: c["tokenServiceUrl"].(string), ClientID: c["clientid"].(string),
		Certificate: c["certificate"].(string), PrivateKey: c["privateKey"].(string),
		GatewayURL:   c["gatewayUrl"].(string),
		Dependencies: []customer.Dependency{{ORDID: "sap.s4:apiAccess:salesOrder:v1", GlobalTenantID: "t"}},
	}
	w.lockKey(creds.PrivateKey)
	opts := &customer.Options{Base: base}
	flow, err := customer.NewFlow(creds, opts)
	if err != nil {
		t.Fatal(err)
	}
	w.flow = flow
	w.values = []any{creds, *creds, flow}
	w.usual("options", opts)
	w.lists = []lister{
		func(ctx context.Context) error { _, err := flow.MCPServers(ctx); return err },
		func(ctx context.Context) error { _, err := flow.Agents(ctx); return err },
	}
}

// lockKey locks the lines of a PEM key, its body as a whole and its bytes.
func (w *world) lockKey(key string) {
	block, _ := pem.Decode([]byte(key))
	var body string
	for line := range strings.Lines(key) {
		if !strings.HasPrefix(line, "-----") {
			w.lock("private key, a line", strings.TrimSpace(line))
			body += strings.TrimSpace(line)
		}
	}
	w.lock("private key, body", body)
	w.lock("private key, bytes", string(block.Bytes))
}

func (w *world) asLoB(t *testing.T, base *http.Transport) {
	t.Helper()
	b := w.DestinationBinding()
	creds := &lob.Credentials{Landscape: "agwtest", Binding: lob.Binding{
		ClientID: b["clientid"], ClientSecret: b["clientsecret"], URL: b["url"], URI: b["uri"], IdentityZone: b["identityzone"],
	}}
	w.lock("client secret", creds.ClientSecret)
	opts := &lob.Options{Tenant: tenant, Base: base, Logger: w.logger(), OnEvent: w.event}
	flow, err := lob.NewFlow(creds, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(flow.CloseIdleConnections)
	w.flow = flow
	w.values = []any{creds, *creds, creds.Binding, &creds.Binding, flow}
	w.usual("options", opts)
	w.lists = []lister{
		func(ctx context.Context) error { _, err := flow.MCPServers(ctx); return err },
		func(ctx context.Context) error { _, err := flow.Agents(ctx); return err },
		func(ctx context.Context) error { _, err := flow.ClientID(ctx); return err },
	}
}

// purge forgets all tokens, those of the flow's own included.
func (w *world) purge() {
	w.src.Purge()
	if f, ok := w.flow.(*lob.Flow); ok {
		f.Purge()
	}
}

// subjects are the contexts that a program would make.
func (w *world) subjects() map[string]context.Context {
	return map[string]context.Context{
		"technical": context.Background(),
		"user":      tokensource.WithUserToken(context.Background(), w.user),
	}
}

// exercise does all that a program can do, and keeps what comes of it.
func (w *world) exercise(t *testing.T) (failures int) {
	t.Helper()
	note := func(where string, err error) {
		if err != nil {
			failures++
		}
		w.failure(where, err)
	}
	for who, ctx := range w.subjects() {
		w.value("context of "+who, ctx)
		g, err := w.src.Grant(ctx)
		note("grant of "+who, err)
		w.value("grant of "+who, g)
		note("call of "+who, w.call(t, ctx))
	}
	for _, list := range w.lists {
		note("list", list(context.Background()))
	}
	for _, v := range append(w.values, w.src, *w.src, w.src.Stats(), w.flow.Identity()) {
		w.value(fmt.Sprintf("%T", v), v)
	}
	w.usual("client", w.client)
	w.usual("transport", w.client.Transport)
	w.lockUsed()
	return failures
}

// call sends a request to the gateway, and keeps all but the body of the answer.
func (w *world) call(t *testing.T, ctx context.Context) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "/v1/mcp/ord/tenant", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	w.usual("request", req)
	w.value("header of the request", req.Header)
	w.usual("response", resp)
	w.usual("request of the response", resp.Request)
	w.value("header of the request of the response", resp.Request.Header)
	return nil
}

// lockUsed locks all credentials that the services have seen.
func (w *world) lockUsed() {
	for _, r := range w.Requests() {
		for name, value := range map[string]string{
			"assertion": r.Form.Get("assertion"), "client secret": r.Form.Get("client_secret"),
			"X-User-Token":          r.Header.Get("X-User-Token"),
			"token of " + r.Service: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
		} {
			if value != "" {
				w.lockToken(name, value)
			}
		}
	}
}
