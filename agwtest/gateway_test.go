package agwtest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
)

// withToken starts a double and obtains the token of a user.
func withToken(t *testing.T, options agwtest.Options) (*agwtest.Server, *http.Client, string) {
	t.Helper()
	srv := start(t, options)
	c := client(t, srv)
	return srv, c, token(t, srv, c, userForm(srv, srv.UserToken(agwtest.User{Name: "alice"})))
}

func TestGatewayChecksBearer(t *testing.T) {
	t.Parallel()
	srv, c, good := withToken(t, agwtest.Options{})
	srv.Tokens.SetLifetime(-time.Second)
	expired := token(t, srv, c, systemForm(srv))
	srv.Tokens.SetLifetime(time.Hour)
	srv.Tokens.SetClaim("aud", "urn:x")
	stray := token(t, srv, c, systemForm(srv))
	srv.Tokens.ResetToken()
	other := start(t, agwtest.Options{})
	tests := map[string]struct {
		authorization string
		challenge     string // "" when it is let in
	}{
		"good":          {"Bearer " + good, ""},
		"lower case":    {"bearer " + good, ""},
		"none":          {"", `Bearer realm="agwtest"`},
		"basic":         {"Basic " + good, `Bearer realm="agwtest"`},
		"no token":      {"Bearer ", `Bearer realm="agwtest"`},
		"garbage":       {"Bearer x", "not a signed"},
		"no payload":    {"Bearer a.!.c", "not a signed"},
		"no object":     {"Bearer a.NQ.c", "not a signed"},
		"tampered":      {"Bearer " + good[:len(good)-4] + "AAAA", "signature"},
		"expired":       {"Bearer " + expired, "expired"},
		"audience":      {"Bearer " + stray, "audience"},
		"user's own":    {"Bearer " + srv.UserToken(agwtest.User{}), "audience"},
		"other service": {"Bearer " + other.UserToken(agwtest.User{}), "signature"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := do(t, c, request(t, "GET", srv.GatewayURL(), "", "Authorization", test.authorization))
			challenge := r.Header.Get("WWW-Authenticate")
			if test.challenge == "" && r.StatusCode != 200 {
				t.Errorf("refused: %s", challenge)
			}
			if test.challenge != "" && (r.StatusCode != 401 || !strings.Contains(challenge, test.challenge)) {
				t.Errorf("got %s %q", r.Status, challenge)
			}
		})
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	srv, c, alice := withToken(t, agwtest.Options{})
	system := token(t, srv, c, systemForm(srv))
	second := token(t, srv, c, systemForm(srv))
	status := func(token string) int { return call(t, c, srv.GatewayURL(), token).StatusCode }

	srv.Revoke("no token")
	srv.Revoke(system)
	if status(system) != 401 || status(second) != 200 || status(alice) != 200 {
		t.Error("Revoke does not revoke that token alone")
	}
	srv.RevokeUser("alice")
	if status(alice) != 401 || status(second) != 200 {
		t.Error("RevokeUser does not revoke that user's tokens alone")
	}
	srv.RevokeUser("")
	if status(second) != 401 {
		t.Error("RevokeUser does not reach technical tokens")
	}
	if status(token(t, srv, c, systemForm(srv))) != 200 {
		t.Error("RevokeUser reaches tokens of later")
	}
	third := token(t, srv, c, systemForm(srv))
	srv.RevokeAll()
	if status(third) != 401 {
		t.Error("RevokeAll spares a token")
	}
	fourth := token(t, srv, c, systemForm(srv))
	srv.AlwaysUnauthorized(true)
	if status(fourth) != 401 {
		t.Error("AlwaysUnauthorized lets a token in")
	}
	srv.AlwaysUnauthorized(false)
	if status(fourth) != 200 {
		t.Error("AlwaysUnauthorized(false) does not")
	}
}

func TestEchoOfBodyAndTrailer(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{true, false} {
		srv, c, alice := withToken(t, agwtest.Options{HTTP1: http1, GatewayPath: "/base/"})
		if !strings.HasSuffix(srv.GatewayURL(), "/base") {
			t.Fatal(srv.GatewayURL())
		}
		body := strings.Repeat("x", 100_000)
		req := request(t, "PUT", srv.GatewayURL()+"/trailers", "", "Authorization", "Bearer "+alice)
		req.Body, req.ContentLength, req.GetBody = io.NopCloser(strings.NewReader(body)), -1, nil
		req.Trailer = http.Header{"X-End": {"yes"}}
		r := do(t, c, req)
		e := echoOf(t, r)
		if e.BodySize != 100_000 || len(e.Body) != 64<<10 || e.Method != "PUT" || e.Trailer.Get("X-End") != "yes" || e.Proto != r.Proto {
			t.Errorf("echo of %d bytes, %d in all, %s, trailer %v", len(e.Body), e.BodySize, e.Proto, e.Trailer)
		}
		if r.Trailer.Get("Agwtest-Trailer") != "the end" {
			t.Errorf("%s: trailer %v", r.Proto, r.Trailer)
		}
		if want := map[bool]string{true: "HTTP/1.1", false: "HTTP/2.0"}[http1]; r.Proto != want {
			t.Errorf("got %s, want %s", r.Proto, want)
		}
	}
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	srv, c, alice := withToken(t, agwtest.Options{})
	r := call(t, c, srv.GatewayURL()+"/sse?events=3&interval=1ms", alice)
	if r.Header.Get("Content-Type") != "text/event-stream" || strings.Count(r.text, "\n\n") != 3 {
		t.Fatalf("got %q", r.text)
	}
	_, data, _ := strings.Cut(r.text, "data: ")
	var e agwtest.Event
	if err := json.NewDecoder(strings.NewReader(data)).Decode(&e); err != nil || e.Number != 1 || e.User != "alice" {
		t.Errorf("event %+v %v", e, err)
	}

	resp, err := c.Do(request(t, "GET", srv.GatewayURL()+"/sse?events=1&hold=true", "", "Authorization", "Bearer "+alice))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stream := bufio.NewReader(resp.Body)
	if line, err := stream.ReadString('\n'); err != nil || line != "id: 1\n" {
		t.Fatalf("%q %v", line, err)
	}
	if srv.Gateway.Meter().InFlight != 1 {
		t.Error("the stream is not in flight")
	}
	release(t, srv.Gateway, func() error { _, err := io.ReadAll(stream); return err })
}

// release lets go of what hangs at a service until wait returns, which it may
// reach later than the caller knows.
func release(t *testing.T, s *agwtest.Service, wait func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		case <-tick.C:
			s.Release()
		}
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	srv, c, alice := withToken(t, agwtest.Options{})
	resp, err := c.Do(request(t, "GET", srv.GatewayURL()+"/upgrade", "",
		"Authorization", "Bearer "+alice, "Connection", "Upgrade", "Upgrade", "websocket"))
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != 101 || !ok {
		t.Fatalf("%s, body %T", resp.Status, resp.Body)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Fatalf("%q %v", got, err)
	}
	srv.Close()
	if _, err := conn.Read(got); err == nil {
		t.Error("the connection outlives the server")
	}
}

func TestOtherPaths(t *testing.T) {
	t.Parallel()
	srv, c, alice := withToken(t, agwtest.Options{})
	for path, want := range map[string]int{
		"/status/204":              204,
		"/status/503":              503,
		"/status/99":               400,
		"/status/x":                400,
		"/upgrade":                 426,
		"/redirect?to=x&status=99": 400,
	} {
		if r := call(t, c, srv.GatewayURL()+path, alice); r.StatusCode != want {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

func TestForeignHostNotesBearer(t *testing.T) {
	t.Parallel()
	srv, c, alice := withToken(t, agwtest.Options{})
	r := call(t, c, srv.GatewayURL()+"/redirect?status=302&to="+srv.ForeignURL()+"/x", alice)
	if r.StatusCode != 302 || r.Header.Get("Location") != srv.ForeignURL()+"/x" {
		t.Fatalf("%s to %q", r.Status, r.Header.Get("Location"))
	}
	do(t, c, request(t, "GET", srv.ForeignURL()+"/x", ""))
	if n := srv.Counts(); n.Foreign != 1 || n.Leaked != 0 {
		t.Errorf("%+v", n)
	}
	call(t, c, srv.ForeignURL()+"/y", alice)
	if n := srv.Counts(); n.Foreign != 2 || n.Leaked != 1 || n.Services() != 1 {
		t.Errorf("%+v", n)
	}
	if f := srv.ForeignRequests(); len(f) != 2 || f[1].Path != "/y" || f[1].User != "alice" || f[1].Header.Get("Authorization") == "" {
		t.Errorf("%+v", f)
	}
}

func TestMountedHandlers(t *testing.T) {
	t.Parallel()
	name := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, ok := agwtest.CallerFromContext(r.Context())
			w.(http.Flusher).Flush()
			fmt.Fprint(w, name, " ", caller.User, " ", ok, " ", r.URL.Path)
		})
	}
	srv, c, alice := withToken(t, agwtest.Options{GatewayPath: "/base", Handler: name("default")})
	srv.Handle("/v1/mcp/", name("all"))
	srv.Handle("/v1/mcp/one", name("one"))
	for path, want := range map[string]string{
		"/v1/mcp/one":   "one alice true /base/v1/mcp/one",
		"/v1/mcp/one/x": "all alice true /base/v1/mcp/one/x",
		"/v1/mcp":       "default alice true /base/v1/mcp",
		"//v1/../x":     "default alice true /base//v1/../x",
	} {
		if r := call(t, c, srv.GatewayURL()+path, alice); r.text != want {
			t.Errorf("%s: %q", path, r.text)
		}
	}
	if r := do(t, c, request(t, "GET", srv.GatewayURL()+"/v1/mcp/one", "")); r.StatusCode != 401 {
		t.Errorf("without a bearer: %s", r.Status)
	}
	if _, ok := agwtest.CallerFromContext(t.Context()); ok {
		t.Error("a caller out of nowhere")
	}
}
