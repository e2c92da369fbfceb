package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2asrv"
	"go.uber.org/goleak"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	var report strings.Builder
	if err := run(t.Context(), &report); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"sap.s4:agent:orderAssistant:v1", "Hello, alice", "page 3 for alice", "Hello, bob", "page 3 for bob",
		"task is completed", "2 token requests, 0 users with errors",
	} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &report)
		}
	}
}

// detecting is held while the environment is that of one test's credentials.
var detecting sync.Mutex

// start returns a new scene of its own for a test, and the context of the test,
// which bounds all waiting.
func start(t *testing.T, cfg agw.Config, executor a2asrv.AgentExecutor) (context.Context, *scene) {
	t.Helper()
	detecting.Lock()
	defer detecting.Unlock()
	s, err := newScene(cfg, executor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx, s
}

func (s *scene) agent(t *testing.T, ctx context.Context) flows.Endpoint {
	t.Helper()
	agents, err := s.gateway.Agents(ctx)
	if err != nil || len(agents) != 1 {
		t.Fatalf("Agents = %v, %v", agents, err)
	}
	return agents[0]
}

// as returns a client of the agent that acts for user.
func (s *scene) as(t *testing.T, ctx context.Context, user string) *a2aclient.Client {
	t.Helper()
	client, err := connect(ctx, s.gateway, s.agent(t, ctx), s.jwt(user))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *scene) jwt(user string) string { return s.server.UserToken(agwtest.User{Name: user}) }

func (s *scene) subject(user string) tokensource.Subject {
	return tokensource.UserSubject(s.jwt(user))
}

// mustGreet sends a message, to which the agent must answer with the name of user,
// and returns the id of the token that the gateway saw last.
func (s *scene) mustGreet(t *testing.T, ctx context.Context, client *a2aclient.Client, user string) (token string) {
	t.Helper()
	greet(t, ctx, client, user)
	if t.Failed() {
		t.FailNow()
	}
	sent := s.sent()
	return sent[len(sent)-1].TokenID
}

// greet is mustGreet for goroutines.
func greet(t *testing.T, ctx context.Context, client *a2aclient.Client, user string) {
	t.Helper()
	answer, err := client.SendMessage(ctx, ask("hello"))
	if err != nil || textIn(answer) != "Hello, "+user {
		t.Errorf("the agent said %v, %v; want a greeting of %s", answer, err, user)
	}
}

// eventually returns once done reports true, and fails the test if that does not
// happen within ctx. It asks every few milliseconds.
func eventually(t *testing.T, ctx context.Context, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		}
	}
}

// sent returns the requests that the gateway got.
func (s *scene) sent() []agwtest.Request {
	return slices.DeleteFunc(s.server.Requests(), func(r agwtest.Request) bool { return r.Service != agwtest.ServiceGateway })
}

// refused returns how many requests the gateway answered with status 401.
func (s *scene) refused() (n int) {
	for _, r := range s.sent() {
		if r.Status == http.StatusUnauthorized {
			n++
		}
	}
	return n
}

// checkUsers fails the test if the gateway got a request from anybody else than one
// of users.
func (s *scene) checkUsers(t *testing.T, users ...string) {
	t.Helper()
	for _, r := range s.sent() {
		if !slices.Contains(users, r.User) {
			t.Errorf("%s %s came from %q", r.Method, r.Path, r.User)
		}
	}
}
