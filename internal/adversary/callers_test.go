package adversary_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
)

// A server passes the Authorization header of its caller on, whatever that is. Nothing that
// cannot be a token reaches a service, and no such call gets the system token.
func TestHeadersThatAreNotTokens(t *testing.T) {
	t.Parallel()
	for _, flow := range flowNames {
		for name, header := range map[string]string{
			"1 MiB":                       "Bearer " + strings.Repeat("a", 1<<20),
			"another scheme":              "Basic YWxpY2U6c2VjcmV0",
			"no token behind the scheme":  "Bearer ",
			"nothing":                     "",
			"a header that it would add":  "token\r\nX-Admin: 1",
			"a token and something more":  "Bearer one, Bearer two",
			"letters that are not ASCII":  "Bearer tök\u00e9n",
			"a character that none shows": "Bearer a\x00b",
		} {
			t.Run(flow+"/"+name, func(t *testing.T) {
				t.Parallel()
				p := startProgram(t, flow, agwtest.Options{})
				for how, ctx := range map[string]context.Context{
					"in the context":           tokensource.WithUserToken(context.Background(), header),
					"in the context, a tenant": tokensource.WithUserToken(tokensource.WithTenant(context.Background(), map[string]string{"lob": tenant}[flow]), header),
				} {
					err := p.call(t, ctx)
					if !errors.Is(err, tokensource.ErrBadUserToken) && !errors.Is(err, tokensource.ErrNoUserToken) {
						t.Errorf("%s: got error %v, want ErrBadUserToken or ErrNoUserToken", how, err)
					}
				}
				if _, err := p.source.For(tokensource.UserSubject(header)).AccessToken(context.Background()); err == nil {
					t.Error("as a client's default: got a token, want an error")
				}
				if n := len(p.server.Requests()); n != 0 {
					t.Errorf("%d requests were sent for what is not a token, want none", n)
				}
			})
		}
	}
}

// What a caller hangs on its context never sees the requests to services.
func TestTracesOfCallersSeeNoService(t *testing.T) {
	t.Parallel()
	for _, flow := range flowNames {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, flow, agwtest.Options{})
			var mu sync.Mutex
			seen := make(map[string]int)
			count := func(what string) {
				mu.Lock()
				defer mu.Unlock()
				seen[what]++
			}
			ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
				GetConn:              func(string) { count("connection wanted") },
				WroteHeaderField:     func(name string, _ []string) { count("field " + name) },
				Got1xxResponse:       func(int, textproto.MIMEHeader) error { count("1xx"); return nil },
				TLSHandshakeDone:     func(tls.ConnectionState, error) { count("handshake") },
				GotFirstResponseByte: func() { count("response") },
			})
			user := tokensource.WithUserToken(ctx, p.userToken)
			if _, err := p.source.AccessToken(user); err != nil {
				t.Errorf("a token of the user: %v", err)
			}
			for name, list := range map[string]func(context.Context) error{
				"MCPServers": func(ctx context.Context) error { _, err := p.flow.MCPServers(ctx); return err },
				"Agents":     func(ctx context.Context) error { _, err := p.flow.Agents(ctx); return err },
				"ClientID":   func(ctx context.Context) error { _, err := p.flow.ClientID(ctx); return err },
			} {
				if err := list(ctx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if len(seen) > 0 {
				t.Errorf("the caller's trace saw requests to services: %v", seen)
			}
		})
	}
}

// A gateway that rejects every token, slowly: the call ends with its 401, and costs one
// token request more than it would have.
func TestGatewayThatRejectsSlowly(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "customer", agwtest.Options{})
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	p.server.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = http.NewResponseController(w).Flush()
		select { // the body has no end in sight
		case <-done:
		case <-r.Context().Done():
		}
	}))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := p.client.Do(newGet(t, "/slow").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got status %d, want the gateway's 401", resp.StatusCode)
	}
	if n := p.server.Counts().Token; n != 2 {
		t.Errorf("%d token requests, want 2: the first token, and one after the rejection", n)
	}
}
