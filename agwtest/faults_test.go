package agwtest_test

import (
	"context"
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
	plainText := http.Header{"Content-Type": {"text/plain"}}
	tests := map[string]struct {
		fault agwtest.Fault
		want  string
		check func(r result) bool
	}{
		"status, body and Retry-After": {
			agwtest.Fault{Status: 429, RetryAfter: "3", Body: "slow down"},
			"429, application/json, slow down, Retry-After 3",
			func(r result) bool {
				return r.StatusCode == 429 && r.Header.Get("Retry-After") == "3" && r.text == "slow down" && r.Header.Get("Content-Type") == "application/json"
			},
		},
		"body of another type": {
			agwtest.Fault{Body: "hello", Header: plainText},
			"200, text/plain, hello",
			func(r result) bool {
				return r.StatusCode == 200 && r.text == "hello" && r.Header.Get("Content-Type") == "text/plain"
			},
		},
		"empty body": {
			agwtest.Fault{Status: 200},
			"200 without a body",
			func(r result) bool { return r.StatusCode == 200 && r.text == "" },
		},
		"latency": {
			agwtest.Fault{Latency: time.Millisecond},
			"a token",
			func(r result) bool { return r.field("access_token") != "" },
		},
		"header only": {
			agwtest.Fault{Header: http.Header{"x-a": {"b"}}},
			"a token and the header X-A: b",
			func(r result) bool { return r.Header.Get("X-A") == "b" && r.field("access_token") != "" },
		},
		"oversized": {
			agwtest.Fault{Padding: 10 << 20},
			"a token after 10 MiB of white space",
			func(r result) bool { return len(r.text) > 10<<20 && r.field("access_token") != "" },
		},
		"truncated": {
			agwtest.Fault{TruncateAfter: 20},
			"20 bytes that are no JSON, as if they were all",
			func(r result) bool { return r.err == nil && len(r.text) == 20 && r.json == nil },
		},
		"reset in the middle of the body": {
			agwtest.Fault{Reset: true, TruncateAfter: 20},
			"an error after at most 20 bytes",
			func(r result) bool { return r.err != nil && len(r.text) <= 20 },
		},
		"reset at the end of the body": {
			agwtest.Fault{Reset: true, TruncateAfter: 1 << 20},
			"an error",
			func(r result) bool { return r.err != nil },
		},
		"redirect": {
			agwtest.Fault{Redirect: "https://x.invalid/"},
			"307 to https://x.invalid/",
			func(r result) bool { return r.StatusCode == 307 && r.Header.Get("Location") == "https://x.invalid/" },
		},
		"handler": {
			agwtest.Fault{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, r.PostForm.Get("grant_type"), http.StatusTeapot)
			})},
			"418 and the grant type of the form",
			func(r result) bool { return r.StatusCode == 418 && r.text == "client_credentials\n" },
		},
		"leak": {
			agwtest.Fault{Leak: true, Status: 403},
			"403 and a description with the client id",
			func(r result) bool {
				return r.StatusCode == 403 && strings.Contains(r.field("error_description"), "client_id=agwtest-client")
			},
		},
	}
	for name, test := range tests {
		for proto, http1 := range map[string]bool{"HTTP/1.1": true, "HTTP/2": false} {
			t.Run(name+" over "+proto, func(t *testing.T) {
				t.Parallel()
				srv := startServer(t, agwtest.Options{HTTP1: http1})
				client := newClient(t, srv)
				srv.Tokens.Inject(test.fault)
				if r := postForm(t, client, tokenURLWithoutMTLS(srv), systemForm(srv)); !test.check(r) {
					t.Errorf("got status %s, header %v, body %.200q, error %v; want %s", r.Status, r.Header, r.text, r.err, test.want)
				}
				obtainToken(t, srv, client, systemForm(srv)) // the next response is a good one
			})
		}
	}
}

func TestFaultsInTurn(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	request := func() result { return postForm(t, client, tokenURLWithoutMTLS(srv), systemForm(srv)) }
	srv.Tokens.OnRequest(func(r agwtest.Request) *agwtest.Fault {
		if r.Form.Get("grant_type") != "client_credentials" {
			return nil
		}
		return &agwtest.Fault{Status: 418}
	})
	srv.Tokens.Inject(agwtest.Fault{Status: 500, Times: 2}, agwtest.Fault{Status: 503})
	for _, step := range []struct {
		name string
		want int
	}{
		{"first time of the first injected fault", 500},
		{"second time of the first injected fault", 500},
		{"second injected fault", 503},
		{"fault of OnRequest", 418},
		{"fault of OnRequest again", 418},
	} {
		assertStatus(t, step.name, request(), step.want)
	}
	obtainToken(t, srv, client, userForm(srv, srv.UserToken(agwtest.User{}))) // for which OnRequest has no fault
	srv.Tokens.Inject(agwtest.Fault{Status: 500})
	srv.Tokens.ClearFaults()
	assertStatus(t, "after ClearFaults", request(), 200)
	if got := srv.Requests()[0]; got.Status != 500 || !got.Faulty {
		t.Errorf("record of the first request: got status %d and faulty %t, want 500 and true", got.Status, got.Faulty)
	}
}

func TestResetBeforeTheResponse(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	srv.Gateway.Inject(agwtest.Fault{Reset: true})
	resp, err := newClient(t, srv).Post(srv.GatewayURL(), "text/plain", strings.NewReader("x"))
	if err == nil {
		resp.Body.Close()
		t.Fatalf("got status %s, want an error as the connection is cut", resp.Status)
	}
}

func TestHang(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	srv.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Hang: true} })

	releaseUntil(t, srv.Tokens.Service, func() error {
		resp, err := client.PostForm(tokenURLWithoutMTLS(srv), systemForm(srv))
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
}

// A fault that delays the response ends when the client has gone.
func TestFaultsEndWithTheRequest(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]agwtest.Fault{"Hang": {Hang: true}, "Latency": {Latency: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t, agwtest.Options{})
			ended := make(chan agwtest.Request, 1)
			srv.Tokens.OnResponse(func(r agwtest.Request) { ended <- r })
			ctx, cancel := context.WithCancel(t.Context())
			srv.Tokens.OnRequest(func(agwtest.Request) *agwtest.Fault { cancel(); return &fault })
			req := newRequest(t, "POST", tokenURLWithoutMTLS(srv), "").WithContext(ctx)
			if resp, err := newClient(t, srv).Do(req); !errors.Is(err, context.Canceled) {
				if err == nil {
					resp.Body.Close()
				}
				t.Errorf("a request that was canceled: got error %v, want context.Canceled", err)
			}
			if r := <-ended; r.Status != 0 || !r.Faulty {
				t.Errorf("record of a request that was canceled: got status %d and faulty %t, want 0 and true", r.Status, r.Faulty)
			}
		})
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
	arrived, ended := make(chan struct{}), make(chan struct{})
	faultOnArrival := func(fault agwtest.Fault) func(agwtest.Request) *agwtest.Fault {
		return func(agwtest.Request) *agwtest.Fault { arrived <- struct{}{}; return &fault }
	}
	srv.Tokens.OnRequest(faultOnArrival(agwtest.Fault{Hang: true}))
	srv.Auth.OnRequest(faultOnArrival(agwtest.Fault{Latency: time.Hour}))
	for _, url := range []string{tokenURLWithoutMTLS(srv), authURL(srv, "t1")} {
		go func() {
			defer func() { ended <- struct{}{} }()
			if resp, err := client.PostForm(url, nil); err == nil {
				resp.Body.Close()
			}
		}()
		<-arrived
	}
	resp, err := client.Do(newRequest(t, "GET", srv.GatewayURL()+"/sse", "", "Authorization", "Bearer "+alice))
	if err != nil {
		t.Fatalf("no stream: %v", err)
	}
	defer resp.Body.Close()
	srv.Close()
	<-ended
	<-ended
	srv.Close() // once more does nothing
	if resp, err := client.Get(srv.GatewayURL()); err == nil {
		resp.Body.Close()
		t.Errorf("after Close: got status %s, want an error", resp.Status)
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	t.Parallel()
	srv, client, alice := startWithToken(t, agwtest.Options{})
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
	resp, err := client.Do(newRequest(t, "GET", srv.GatewayURL()+"/long", "", "Authorization", "Bearer "+alice))
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	srv.Close()
	if !ended.Load() {
		t.Error("Close returned before a mounted handler had")
	}
}

func TestLeakOfHeaders(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	srv.Destinations.Inject(agwtest.Fault{Leak: true})
	r := get(t, client, destinationURL(srv), "the-bearer", "X-user-token", "the-user")
	if r.StatusCode != 400 || !strings.Contains(r.text, "Bearer the-bearer") || !strings.Contains(r.text, "the-user") {
		t.Errorf("got status %s and body %s, want 400 and both tokens of the request", r.Status, r.text)
	}
}

func TestOnResponse(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	seen := make(chan agwtest.Request, 10)
	request := func() *http.Request { return newRequest(t, http.MethodGet, srv.GatewayURL(), "") }
	srv.Gateway.OnResponse(func(r agwtest.Request) { seen <- r })
	srv.Gateway.Inject(agwtest.Fault{Status: http.StatusBadGateway}, agwtest.Fault{Reset: true})
	assertStatus(t, "first fault", send(t, client, request()), 502)
	if resp, err := client.Do(request()); err == nil {
		resp.Body.Close()
		t.Errorf("second fault: got status %s, want an error as the connection is cut", resp.Status)
	}
	assertStatus(t, "no fault, no token", send(t, client, request()), 401)
	srv.Gateway.OnResponse(nil)
	send(t, client, request())
	srv.Close() // waits for all
	close(seen)

	want := []struct {
		name   string
		status int
		faulty bool
	}{
		{"replaced response", 502, true},
		{"cut response", 0, true},
		{"true response", 401, false},
	}
	for i := 0; ; i++ {
		got, ok := <-seen
		if !ok {
			if i != len(want) {
				t.Errorf("%d responses were observed, want %d", i, len(want))
			}
			return
		}
		if i >= len(want) {
			t.Errorf("a response was observed after OnResponse(nil): %+v", got)
			continue
		}
		if got.Status != want[i].status || got.Faulty != want[i].faulty || got.Service != agwtest.ServiceGateway {
			t.Errorf("%s: got service %s, status %d, faulty %t; want gateway, %d, %t",
				want[i].name, got.Service, got.Status, got.Faulty, want[i].status, want[i].faulty)
		}
	}
}
