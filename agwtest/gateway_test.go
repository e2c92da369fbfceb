package agwtest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
)

func TestGatewayChecksToken(t *testing.T) {
	t.Parallel()
	srv, client, good := startWithToken(t, agwtest.Options{})
	srv.Tokens.SetLifetime(-time.Second)
	expired := obtainToken(t, srv, client, systemForm(srv))
	other := startServer(t, agwtest.Options{})
	tests := map[string]struct {
		authorization string
		challenge     string // a part of it; "" if the token is accepted
	}{
		"good":                      {"Bearer " + good, ""},
		"scheme in lower case":      {"bearer " + good, ""},
		"no header":                 {"", `Bearer realm="agwtest"`},
		"scheme Basic":              {"Basic " + good, `Bearer realm="agwtest"`},
		"no token":                  {"Bearer ", `Bearer realm="agwtest"`},
		"not a token":               {"Bearer x", "not a signed"},
		"payload not in base64":     {"Bearer a.!.c", "not a signed"},
		"payload not a JSON object": {"Bearer a.NQ.c", "not a signed"},
		"tampered":                  {"Bearer " + good[:len(good)-4] + "AAAA", "signature"},
		"expired":                   {"Bearer " + expired, "expired"},
		"token of a service":        {"Bearer " + obtainServiceToken(t, srv, client, "t1"), "audience"},
		"JWT of a user":             {"Bearer " + srv.UserToken(agwtest.User{}), "audience"},
		"token of another double":   {"Bearer " + other.UserToken(agwtest.User{}), "signature"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := send(t, client, newRequest(t, "GET", srv.GatewayURL(), "", "Authorization", test.authorization))
			challenge := r.Header.Get("WWW-Authenticate")
			if test.challenge == "" && r.StatusCode != 200 {
				t.Errorf("got status %s and challenge %q, want the token to be accepted", r.Status, challenge)
			}
			if test.challenge != "" && (r.StatusCode != 401 || !strings.Contains(challenge, test.challenge)) {
				t.Errorf("got status %s and challenge %q, want 401 and %q", r.Status, challenge, test.challenge)
			}
		})
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	newSystemToken := func() string { return obtainToken(t, srv, client, systemForm(srv)) }
	first, second := newSystemToken(), newSystemToken()
	assert := func(what, token string, want int) {
		t.Helper()
		assertStatus(t, what, get(t, client, srv.GatewayURL(), token), want)
	}

	srv.Revoke("not a token")
	srv.Revoke(first)
	assert("Revoke: the token", first, 401)
	assert("Revoke: another token of the same client", second, 200)
	assert("Revoke: a token of a user", alice, 200)

	srv.RevokeUser("alice")
	assert("RevokeUser: a token of the user", alice, 401)
	assert("RevokeUser: a system token", second, 200)

	srv.RevokeUser("")
	assert("RevokeUser without a name: a system token", second, 401)
	third := newSystemToken()
	assert("RevokeUser without a name: a later system token", third, 200)

	srv.RevokeAll()
	assert("RevokeAll: a token", third, 401)
	fourth := newSystemToken()
	assert("RevokeAll: a later token", fourth, 200)

	srv.RejectTokens(true)
	assert("RejectTokens: a token", fourth, 401)
	assert("RejectTokens: a later token", newSystemToken(), 401)
	srv.RejectTokens(false)
	assert("RejectTokens(false): a token", fourth, 200)
}

func TestRevocationOfServiceTokens(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	first := obtainServiceToken(t, srv, client, "t1")
	second := obtainServiceToken(t, srv, client, "t1")
	assert := func(what, token string, want int) {
		t.Helper()
		assertStatus(t, what, get(t, client, labelURL(srv, "subscriber.ias"), token), want)
	}
	srv.RevokeAll()
	assert("RevokeAll is about the gateway only: a service token", first, 200)
	srv.Revoke(first)
	assert("Revoke: the token", first, 401)
	assert("Revoke: another token", second, 200)

	access := obtainToken(t, srv, client, systemForm(srv))
	srv.RevokeServiceTokens()
	assert("RevokeServiceTokens: a token", second, 401)
	assert("RevokeServiceTokens: a later token", obtainServiceToken(t, srv, client, "t1"), 200)
	assertStatus(t, "RevokeServiceTokens: a token for the gateway", get(t, client, srv.GatewayURL(), access), 200)
}

func TestEchoOfBodyAndTrailer(t *testing.T) {
	t.Parallel()
	for proto, http1 := range map[string]bool{"HTTP/1.1": true, "HTTP/2.0": false} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			srv, client, alice := startWithToken(t, agwtest.Options{HTTP1: http1, GatewayPath: "/base/"})
			if !strings.HasSuffix(srv.GatewayURL(), "/base") {
				t.Fatalf("the URL of the gateway does not end in its path /base: %s", srv.GatewayURL())
			}
			req := newRequest(t, "PUT", srv.GatewayURL()+"/trailers", "", "Authorization", "Bearer "+alice)
			req.Body, req.ContentLength, req.GetBody = io.NopCloser(strings.NewReader(strings.Repeat("x", 100_000))), -1, nil
			req.Trailer = http.Header{"X-End": {"yes"}}
			r := send(t, client, req)
			e := decodeEcho(t, r)
			if e.BodySize != 100_000 || len(e.Body) != 64<<10 {
				t.Errorf("a body of 100,000 bytes: got an echo of %d bytes and a size of %d, want 64 KiB and 100,000", len(e.Body), e.BodySize)
			}
			if e.Method != "PUT" || e.Trailer.Get("X-End") != "yes" {
				t.Errorf("echo: got method %s and trailer %v, want PUT and X-End: yes", e.Method, e.Trailer)
			}
			if r.Trailer.Get("Agwtest-Trailer") != "the end" {
				t.Errorf("trailer of the response: got %v, want Agwtest-Trailer: the end", r.Trailer)
			}
			if r.Proto != proto || e.Proto != proto {
				t.Errorf("the response came over %s and the echo says %s, want %s", r.Proto, e.Proto, proto)
			}
		})
	}
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	r := get(t, client, srv.GatewayURL()+"/sse?events=3&interval=1ms", alice)
	if r.Header.Get("Content-Type") != "text/event-stream" || strings.Count(r.text, "\n\n") != 3 {
		t.Fatalf("got Content-Type %q and body %q, want three server-sent events", r.Header.Get("Content-Type"), r.text)
	}
	_, data, _ := strings.Cut(r.text, "data: ")
	var event struct {
		Number int
		agwtest.Caller
	}
	if err := json.NewDecoder(strings.NewReader(data)).Decode(&event); err != nil || event.Number != 1 || event.User != "alice" {
		t.Errorf("first event: got %+v (error %v), want number 1 of alice", event, err)
	}

	resp, err := client.Do(newRequest(t, "GET", srv.GatewayURL()+"/sse?events=1&hold=true", "", "Authorization", "Bearer "+alice))
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	stream := bufio.NewReader(resp.Body)
	if line, err := stream.ReadString('\n'); err != nil || line != "id: 1\n" {
		t.Fatalf("first line of the stream: got %q (error %v), want the id 1", line, err)
	}
	releaseUntil(t, srv.Gateway, func() error { _, err := io.ReadAll(stream); return err })
}

// A stream ends when its client has gone, also between two events.
func TestEventStreamEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	ended := make(chan agwtest.Request, 1)
	srv.Gateway.OnResponse(func(r agwtest.Request) { ended <- r })
	ctx, cancel := context.WithCancel(t.Context())
	req := newRequest(t, "GET", srv.GatewayURL()+"/sse?events=2&interval=1h", "", "Authorization", "Bearer "+alice)
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	cancel()
	resp.Body.Close()
	if r := <-ended; r.Status != 200 {
		t.Errorf("record of the stream: got status %d, want 200", r.Status)
	}
}

// A stream is cut as soon as it has as many bytes as the fault allows.
func TestEventStreamIsCut(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	srv.Gateway.Inject(agwtest.Fault{Reset: true, TruncateAfter: 5})
	r := get(t, client, srv.GatewayURL()+"/sse?events=1&hold=true", alice)
	if r.err == nil || len(r.text) > 5 {
		t.Errorf("got body %q and error %v, want an error after at most 5 bytes", r.text, r.err)
	}
}

// releaseUntil releases what hangs at a service until wait returns. It repeats
// that, as the request may begin to hang later than the caller knows.
func releaseUntil(t *testing.T, s *agwtest.Service, wait func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("after Release: %v", err)
			}
			return
		case <-tick.C:
			s.Release()
		}
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	resp, err := client.Do(newRequest(t, "GET", srv.GatewayURL()+"/upgrade", "",
		"Authorization", "Bearer "+alice, "Connection", "Upgrade", "Upgrade", "websocket"))
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != 101 || !ok {
		t.Fatalf("got status %s and a body of type %T, want 101 and a connection", resp.Status, resp.Body)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatalf("writing on the connection: %v", err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Fatalf("reading from the connection: got %q (error %v), want the echo of ping", got, err)
	}
	srv.Close()
	if _, err := conn.Read(got); err == nil {
		t.Error("Close left an upgraded connection open")
	}
}

func TestStatusOfBuiltinPaths(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	for path, want := range map[string]int{
		"/status/204":              204,
		"/status/503":              503,
		"/status/99":               400,
		"/status/x":                400,
		"/upgrade":                 426,
		"/redirect?to=x&status=99": 400,
	} {
		assertStatus(t, path, get(t, client, srv.GatewayURL()+path, alice), want)
	}
}

func TestForeignHostCountsTokens(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	r := get(t, client, srv.GatewayURL()+"/redirect?status=302&to="+srv.ForeignURL()+"/x", alice)
	if r.StatusCode != 302 || r.Header.Get("Location") != srv.ForeignURL()+"/x" {
		t.Fatalf("got status %s and Location %q, want 302 to the foreign host", r.Status, r.Header.Get("Location"))
	}
	send(t, client, newRequest(t, "GET", srv.ForeignURL()+"/x", ""))
	if got, want := srv.Counts(), (agwtest.Counts{Token: 1, Gateway: 1, Foreign: 1}); got != want {
		t.Errorf("after a foreign request without a token: got %+v, want %+v", got, want)
	}
	get(t, client, srv.ForeignURL()+"/y", alice)
	if got, want := srv.Counts(), (agwtest.Counts{Token: 1, Gateway: 1, Foreign: 2, Leaked: 1}); got != want {
		t.Errorf("after a foreign request with a token: got %+v, want %+v", got, want)
	}
	requests := srv.Requests()
	last := requests[len(requests)-1]
	if last.Service != agwtest.ServiceForeign || last.Path != "/y" || last.User != "alice" || last.Header.Get("Authorization") == "" {
		t.Errorf("record of the foreign request with a token: got %+v, want path /y, user alice and the token", last)
	}
}

func TestMountedHandlers(t *testing.T) {
	t.Parallel()
	reporting := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, ok := agwtest.CallerFromContext(r.Context())
			w.(http.Flusher).Flush()
			fmt.Fprint(w, name, " ", caller.User, " ", ok, " ", r.URL.Path)
		})
	}
	srv, client, alice := startWithToken(t, agwtest.Options{GatewayPath: "/base"})
	srv.Handle("/v1/mcp/", reporting("all"))
	srv.Handle("/v1/mcp/one", reporting("one"))
	if e := decodeEcho(t, get(t, client, srv.GatewayURL()+"/v1/mcp", alice)); e.Path != "/base/v1/mcp" {
		t.Errorf("a path that no pattern covers: got %+v, want an echo", e)
	}
	srv.Handle("/", reporting("root"))
	for path, want := range map[string]string{
		"/v1/mcp/one":   "one alice true /base/v1/mcp/one",
		"/v1/mcp/one/x": "all alice true /base/v1/mcp/one/x",
		"/v1/mcp":       "root alice true /base/v1/mcp",
		"//v1/../x":     "root alice true /base//v1/../x",
		"/status/503":   "root alice true /base/status/503",
		"":              "root alice true /base",
	} {
		if r := get(t, client, srv.GatewayURL()+path, alice); r.text != want {
			t.Errorf("path %q: got %q, want %q", path, r.text, want)
		}
	}
	assertStatus(t, "a mounted handler without a token", send(t, client, newRequest(t, "GET", srv.GatewayURL()+"/v1/mcp/one", "")), 401)
	if c, ok := agwtest.CallerFromContext(t.Context()); ok {
		t.Errorf("a context that is not of a request: got the caller %+v, want none", c)
	}
}

// Handlers may use all of http.ResponseController.
func TestResponseControllerInMountedHandlers(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	srv.Handle("/deadline", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	assertStatus(t, "a handler that sets a deadline", get(t, client, srv.GatewayURL()+"/deadline", alice), 200)
}
