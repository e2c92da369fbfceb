package agwtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault agwtest.Fault
		check func(r result) bool
	}{
		"status and Retry-After": {
			agwtest.Fault{Status: 429, RetryAfter: "3", Body: "slow down", ContentType: "text/plain"},
			func(r result) bool {
				return r.StatusCode == 429 && r.Header.Get("Retry-After") == "3" && r.text == "slow down" && r.Header.Get("Content-Type") == "text/plain"
			},
		},
		"HTML": {
			agwtest.Fault{Body: "<html>", ContentType: "text/html"},
			func(r result) bool { return r.StatusCode == 200 && r.text == "<html>" },
		},
		"empty":       {agwtest.Fault{Status: 200}, func(r result) bool { return r.StatusCode == 200 && r.text == "" }},
		"latency":     {agwtest.Fault{Latency: time.Millisecond}, func(r result) bool { return r.field("access_token") != "" }},
		"header only": {agwtest.Fault{Header: http.Header{"x-a": {"b"}}}, func(r result) bool { return r.Header.Get("X-A") == "b" && r.field("access_token") != "" }},
		"oversized": {
			agwtest.Fault{Padding: 10 << 20},
			func(r result) bool { return len(r.text) > 10<<20 && r.field("access_token") != "" },
		},
		"truncated": {
			agwtest.Fault{TruncateAfter: 20},
			func(r result) bool { return r.err == nil && len(r.text) == 20 && r.json == nil },
		},
		"reset in mid-body": {
			agwtest.Fault{Reset: true, ResetAfter: 20},
			func(r result) bool { return r.err != nil && len(r.text) <= 20 },
		},
		"reset at the end": {
			agwtest.Fault{Reset: true, ResetAfter: 1 << 20},
			func(r result) bool { return r.err != nil },
		},
		"redirect": {
			agwtest.Fault{Redirect: "https://x.invalid/"},
			func(r result) bool { return r.StatusCode == 307 && r.Header.Get("Location") == "https://x.invalid/" },
		},
		"handler": {
			agwtest.Fault{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, r.PostForm.Get("grant_type"), http.StatusTeapot)
			})},
			func(r result) bool { return r.StatusCode == 418 && r.text == "client_credentials\n" },
		},
		"leak": {
			agwtest.Fault{Leak: true, Status: 403},
			func(r result) bool {
				return r.StatusCode == 403 && strings.Contains(r.field("error_description"), "client_id=agwtest-client")
			},
		},
	}
	for name, test := range tests {
		for _, http1 := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := start(t, agwtest.Options{HTTP1: http1})
				c := client(t, srv)
				srv.Tokens.Inject(test.fault)
				if r := post(t, c, srv.TokenURLNoClientCert(), systemForm(srv)); !test.check(r) {
					t.Errorf("%s: %s %v %.200q %v", r.Proto, r.Status, r.Header, r.text, r.err)
				}
				token(t, srv, c, systemForm(srv)) // the next answer is a good one
			})
		}
	}
}

func TestFaultsInTurn(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	ask := func() int { return post(t, c, srv.TokenURLNoClientCert(), systemForm(srv)).StatusCode }
	srv.Tokens.OnRequest(func(r agwtest.Request) *agwtest.Fault {
		if r.Form.Get("grant_type") != "client_credentials" {
			return nil
		}
		return &agwtest.Fault{Status: 418}
	})
	srv.Tokens.Inject(agwtest.Fault{Status: 500, Times: 2}, agwtest.Fault{Status: 503})
	for i, want := range []int{500, 500, 503, 418, 418} {
		if got := ask(); got != want {
			t.Errorf("answer %d: %d, want %d", i, got, want)
		}
	}
	token(t, srv, c, userForm(srv, srv.UserToken(agwtest.User{})))
	srv.Tokens.Inject(agwtest.Fault{Status: 500})
	srv.Tokens.Heal()
	if got := ask(); got != 200 {
		t.Errorf("after Heal: %d", got)
	}
	if got := srv.Requests()[0].Status; got != 500 {
		t.Errorf("recorded status: %d", got)
	}
}

func TestFaultDrop(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	srv.Gateway.Inject(agwtest.Fault{Reset: true})
	resp, err := client(t, srv).Post(srv.GatewayURL(), "text/plain", strings.NewReader("x"))
	if err == nil {
		resp.Body.Close()
		t.Fatalf("got an answer: %s", resp.Status)
	}
}

func TestHang(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	hang := &agwtest.Fault{Hang: true}
	srv.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault { return hang })

	release(t, srv.Tokens.Service, func() error {
		resp, err := c.PostForm(srv.TokenURLNoClientCert(), systemForm(srv))
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	srv.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault { cancel(); return hang })
	req := request(t, "POST", srv.TokenURLNoClientCert(), "").WithContext(ctx)
	if resp, err := c.Do(req); !errors.Is(err, context.Canceled) {
		if err == nil {
			resp.Body.Close()
		}
		t.Errorf("the caller that left got %v", err)
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	t.Parallel()
	srv, c, alice := withToken(t, agwtest.Options{})
	arrived, left := make(chan struct{}), make(chan struct{})
	fault := &agwtest.Fault{Hang: true}
	srv.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault { arrived <- struct{}{}; return fault })
	srv.Auth.OnRequest(func(agwtest.Request) *agwtest.Fault {
		arrived <- struct{}{}
		return &agwtest.Fault{Latency: time.Hour}
	})
	for _, url := range []string{srv.TokenURLNoClientCert(), authURL(srv, "t1")} {
		go func() {
			defer func() { left <- struct{}{} }()
			if resp, err := c.PostForm(url, nil); err == nil {
				resp.Body.Close()
			}
		}()
		<-arrived
	}
	resp, err := c.Do(request(t, "GET", srv.GatewayURL()+"/sse", "", "Authorization", "Bearer "+alice))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	srv.Close()
	<-left
	<-left
	srv.Close() // again does nothing
	if resp, err := c.Get(srv.GatewayURL()); err == nil {
		resp.Body.Close()
		t.Error("a closed server answers")
	}
}

func TestTokenFields(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{TokenLifetime: 90 * time.Second})
	c := client(t, srv)
	ask := func() result { return post(t, c, srv.TokenURLNoClientCert(), systemForm(srv)) }
	if r := ask(); r.json["expires_in"] != 90.0 {
		t.Errorf("lifetime of the options: %s", r.text)
	}
	srv.Tokens.SetLifetime(1500 * time.Millisecond)
	srv.Tokens.SetField("expires_in", nil)
	srv.Tokens.SetField("access_token", "a\nb")
	srv.Tokens.SetField("expires_at", func(expiry time.Time) any { return expiry.UTC().Format(time.RFC3339) })
	srv.Tokens.SetField("odd", map[string]int{"x": 1})
	r := ask()
	at, err := time.Parse(time.RFC3339, r.field("expires_at"))
	if _, has := r.json["expires_in"]; has || r.field("access_token") != "a\nb" || err != nil || time.Until(at) > 2*time.Second || r.json["odd"] == nil {
		t.Errorf("fields: %s", r.text)
	}
	srv.Tokens.ResetToken()
	srv.Tokens.SetClaim("exp", "soon")
	srv.Tokens.SetClaim("iat", nil)
	odd := token(t, srv, c, systemForm(srv))
	if p := payload(t, odd); p["exp"] != "soon" || p["iat"] != nil || p["zid"] != "provider" {
		t.Errorf("claims: %v", p)
	}
	srv.Tokens.SetClaim("exp", func() {})
	if r := ask(); r.StatusCode != 500 || r.field("error") != "server_error" {
		t.Errorf("a claim that is no JSON: %s %s", r.Status, r.text)
	}
	srv.Tokens.ResetToken()
	srv.Tokens.SetField("x", func() {})
	if r := ask(); r.StatusCode != 500 || json.Valid([]byte(r.text)) {
		t.Errorf("a field that is no JSON: %s %s", r.Status, r.text)
	}
	srv.Tokens.ResetToken()
	srv.Destinations.SetClaim("exp", func() {})
	service := serviceToken(t, srv, c, "t1")
	srv.Auth.SetLifetime(time.Minute)
	r = call(t, c, destinationURL(srv), service, "Accept", "application/json", "X-fragment-name", "ias-t1@instance")
	if r.StatusCode != 500 || r.field("ErrorMessage") == "" {
		t.Errorf("a destination token that is no JSON: %s %s", r.Status, r.text)
	}
}

func TestRefusedUser(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	form := userForm(srv, srv.UserToken(agwtest.User{Name: "bob"}))
	srv.Tokens.RefuseUser("bob", true)
	if r := post(t, c, srv.TokenURLNoClientCert(), form); r.StatusCode != 400 || r.field("error") != "invalid_grant" {
		t.Errorf("got %s %s", r.Status, r.text)
	}
	token(t, srv, c, userForm(srv, srv.UserToken(agwtest.User{Name: "alice"})))
	srv.Tokens.RefuseUser("bob", false)
	token(t, srv, c, form)
}

func TestLeakOfHeaders(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	srv.Destinations.Inject(agwtest.Fault{Leak: true})
	r := call(t, c, destinationURL(srv), "the-bearer", "X-user-token", "the-user")
	if r.StatusCode != 400 || !strings.Contains(r.text, "Bearer the-bearer") || !strings.Contains(r.text, "the-user") {
		t.Errorf("got %s %s", r.Status, r.text)
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	t.Parallel()
	srv, c, alice := withToken(t, agwtest.Options{})
	var ended atomic.Bool
	srv.Handle("/long", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		for range 1000 {
			runtime.Gosched()
		}
		ended.Store(true)
	}))
	resp, err := c.Do(request(t, "GET", srv.GatewayURL()+"/long", "", "Authorization", "Bearer "+alice))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	srv.Close()
	if !ended.Load() {
		t.Error("Close returned before the handler")
	}
}
