package wire_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// serve starts a server that ends with the test, and returns a client of it.
func serve(t *testing.T, handler http.HandlerFunc) (*wire.Client, string) {
	t.Helper()
	srv := httptest.NewServer(handler)
	c := wire.NewClient(wire.Config{})
	t.Cleanup(func() { c.CloseIdleConnections(); srv.Close() })
	return c, srv.URL
}

func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	type seen struct {
		method, path, query, body string
		header                    http.Header
	}
	got := make(chan seen, 1)
	c, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header}
		w.Header().Set("Set-Cookie", "session=1")
		_, _ = io.WriteString(w, ` {"a":1}`)
	})
	header := http.Header{"X-User-Token": {"t"}}
	for range 2 { // the second shows whether a cookie was kept
		body, err := c.Do(t.Context(), wire.Request{
			Method: "POST", URL: at + "/token?x=1", Header: header, Form: url.Values{"b": {"&"}, "a": {"1"}},
		})
		if err != nil || string(body) != ` {"a":1}` {
			t.Fatalf("%q, %v", body, err)
		}
		s := <-got
		if s.method != "POST" || s.path != "/token" || s.query != "x=1" || s.body != "a=1&b=%26" {
			t.Errorf("%+v", s)
		}
		for name, want := range map[string]string{
			"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", "X-User-Token": "t",
		} {
			if v := s.header.Values(name); len(v) != 1 || v[0] != want {
				t.Errorf("%s: %q", name, v)
			}
		}
		for _, name := range []string{"Authorization", "Cookie", "Idempotency-Key", "Referer"} {
			if v, there := s.header[name]; there {
				t.Errorf("%s: %q", name, v)
			}
		}
	}
	if len(header) != 1 {
		t.Error("the caller's header was modified")
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const html = "<!DOCTYPE html><html>please log in</html>"
	for _, test := range []struct {
		status      int
		body        string
		kind        tokensource.Kind
		code        string
		description string
	}{
		{400, `{"error":"invalid_grant","error_description":"expired"}`, tokensource.Refused, "invalid_grant", "expired"},
		{400, `{"error":"invalid_client"}`, tokensource.Refused, "invalid_client", ""},
		{400, `{"error":"unauthorized_client"}`, tokensource.Refused, "unauthorized_client", ""},
		{400, `{"error":"access_denied"}`, tokensource.Refused, "access_denied", ""},
		{400, `{"error":"invalid_request","error_description":null}`, tokensource.Permanent, "invalid_request", ""},
		{400, `{"error":"temporarily_unavailable"}`, tokensource.Passing, "temporarily_unavailable", ""},
		{400, `{"error":7,"error_description":"x"}`, tokensource.Permanent, "", ""},
		{401, ``, tokensource.Refused, "", ""},
		{401, `{"error":"invalid_client","error_description":"bad"}`, tokensource.Refused, "invalid_client", "bad"},
		{403, `Forbidden for you`, tokensource.Refused, "", "Forbidden for you"},
		{404, `{"ErrorMessage":"no such destination"}`, tokensource.Permanent, "", "no such destination"},
		{404, `"a string"`, tokensource.Permanent, "", "a string"},
		{404, `["a"]`, tokensource.Permanent, "", ""},
		{422, `{"unknown":"shape"}`, tokensource.Permanent, "", ""},
		{422, `{"error":"trunc`, tokensource.Permanent, "", ""},
		{408, ``, tokensource.Passing, "", ""},
		{425, ``, tokensource.Passing, "", ""},
		{429, `{"error":"invalid_client"}`, tokensource.Passing, "invalid_client", ""},
		{500, html, tokensource.Passing, "", ""},
		{502, ``, tokensource.Passing, "", ""},
		{503, `busy`, tokensource.Passing, "", "busy"},
		{200, html, tokensource.Passing, "", ""},
		{200, ``, tokensource.Passing, "", ""},
		{200, `  `, tokensource.Passing, "", ""},
		{200, `{"access_token":"abc`, tokensource.Passing, "", ""},
		{200, `"string"`, tokensource.Passing, "", ""},
		{200, `{} garbage`, tokensource.Passing, "", ""},
		{200, strings.Repeat(" ", wire.MaxBody) + "{}", tokensource.Passing, "", ""},
		{201, `{}`, tokensource.Passing, "", ""},
		{204, ``, tokensource.Passing, "", ""},
		{101, ``, tokensource.Passing, "", ""},
		{304, ``, tokensource.Permanent, "", ""},
	} {
		t.Run(fmt.Sprintf("%d %.40s", test.status, test.body), func(t *testing.T) {
			t.Parallel()
			e := failure(t, answering(test.status, test.body, "Retry-After", "7"), wire.Request{Op: "op", URL: endpoint + "?q=s"})
			if e.Op != "op" || e.URL != endpoint || e.StatusCode != test.status {
				t.Errorf("%+v", *e)
			}
			if e.Kind != test.kind || e.Code != test.code || e.Description != test.description {
				t.Errorf("kind %d, code %q, description %q", e.Kind, e.Code, e.Description)
			}
			if passing := e.Kind == tokensource.Passing && e.Err == nil || test.status == 500; passing && e.RetryAfter != 7*time.Second {
				t.Errorf("RetryAfter %v", e.RetryAfter)
			}
			checkRetrieveError(t, e)
		})
	}
}

// checkRetrieveError checks that e is known to golang.org/x/oauth2 if it has a code.
func checkRetrieveError(t *testing.T, e *tokensource.Error) {
	t.Helper()
	r := (*oauth2.RetrieveError)(nil)
	if is := errors.As(error(e), &r); is != (e.Code != "") {
		t.Fatalf("an *oauth2.RetrieveError: %v, code %q", is, e.Code)
	}
	if r == nil {
		return
	}
	if r.ErrorCode != e.Code || r.ErrorDescription != e.Description || r.Body != nil {
		t.Errorf("%+v", *r)
	}
	if r.Response.StatusCode != e.StatusCode || r.Response.Request != nil || r.Response.Header != nil {
		t.Errorf("%+v", *r.Response)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for location, shown := range map[string]string{
			"https://evil.example/a?assertion=hidden#hidden": "https://evil.example/a",
			"https://hidden:hidden@evil.example/":            "https://evil.example/",
			"/elsewhere?hidden":                              "/elsewhere",
			"":                                               "",
			"https://evil.example/%zz?hidden":                "",
			"https://evil.example/the-secret":                "https://evil.example/[redacted]",
		} {
			e := failure(t, answering(status, `{"error":"hidden"}`, "Location", location), wire.Request{URL: endpoint, Secrets: []string{"the-secret"}})
			if e.Kind != tokensource.Permanent || !strings.Contains(e.Error(), "redirects are not followed") {
				t.Errorf("%d %s: %v", status, location, e)
			}
			if !strings.Contains(e.Error(), shown) || strings.Contains(e.Error(), "hidden") || strings.Contains(e.Error(), "secret") {
				t.Errorf("%d %s: %v", status, location, e)
			}
		}
	}
}

func TestAnswerIsBoundedAfterDecompression(t *testing.T) {
	t.Parallel()
	c, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte("{"))
		for range 64 {
			if _, err := z.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
				return
			}
		}
		_, _ = z.Write([]byte("}"))
		_ = z.Close()
	})
	e := failure(t, c, wire.Request{URL: at})
	if e.Kind != tokensource.Passing || !strings.Contains(e.Error(), "larger than") || e.StatusCode != 200 {
		t.Error(e)
	}
}

// endless is a body without an end.
type endless struct{ read, closed int }

func (e *endless) Read(p []byte) (int, error) { e.read += len(p); return len(p), nil }
func (e *endless) Close() error               { e.closed++; return nil }

func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400, 101} {
		body := new(endless)
		c := wire.NewClient(wire.Config{Base: transportFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: body}, nil
		})})
		failure(t, c, wire.Request{URL: endpoint})
		if body.read > 2*wire.MaxBody || body.closed != 1 || status == 101 && body.read > 0 {
			t.Errorf("%d: %d bytes read, closed %d times", status, body.read, body.closed)
		}
	}
}

func TestHeaderIsBounded(t *testing.T) {
	t.Parallel()
	c, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
		_, _ = io.WriteString(w, "{}")
	})
	if e := failure(t, c, wire.Request{URL: at}); e.Kind != tokensource.Passing {
		t.Error(e)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(map[string]int{"/ok": 200, "/no": 400}[r.URL.Path])
		_, _ = io.WriteString(w, strings.Repeat(" ", 100<<10)+"{}")
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	c := wire.NewClient(wire.Config{})
	t.Cleanup(func() { c.CloseIdleConnections(); srv.Close() })
	for range 5 {
		_ = get(t.Context(), c, srv.URL+"/ok")
		_ = get(t.Context(), c, srv.URL+"/no")
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 10 requests in a row", n)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		body string
		want string // part of the error, "" for none
		kind tokensource.Kind
	}{
		{`{"access_token":"abc","token_type":"bEARER"}`, "", 0},
		{`{"access_token":"abc"}`, "", 0},
		{`{"access_token":"abc","token_type":"mac"}`, "not of type Bearer", tokensource.Permanent},
		{`{}`, "access_token is missing or empty", tokensource.Passing},
		{`{"access_token":""}`, "access_token is missing or empty", tokensource.Passing},
		{`{"access_token":"hid\nden"}`, "access_token has a character", tokensource.Passing},
		{`{"access_token":["hidden"]}`, "access_token is not a string", tokensource.Passing},
		{`["hidden"]`, "not a JSON object", tokensource.Passing},
		{`hidden`, "not a JSON object", tokensource.Passing},
	} {
		token, err := answering(200, test.body).Token(t.Context(), wire.Request{Op: "op", URL: endpoint + "?hidden"})
		if test.want == "" {
			if err != nil || token.AccessToken != "abc" {
				t.Errorf("%s: %v", test.body, err)
			}
			continue
		}
		e := failureOf(t, err)
		if !strings.Contains(e.Error(), test.want) || strings.Contains(e.Error(), "hid") || e.Kind != test.kind || e.URL != endpoint || e.StatusCode != 200 {
			t.Errorf("%s: %v", test.body, err)
		}
	}
}

// A base that dials in the deprecated way goes on to do so.
func TestBaseWithDial(t *testing.T) {
	t.Parallel()
	errDialed := errors.New("dialed")
	//lint:ignore SA1019 this is what is tested
	base := &http.Transport{Dial: func(string, string) (net.Conn, error) { return nil, errDialed }}
	_, err := wire.NewClient(wire.Config{Base: base}).Do(t.Context(), wire.Request{Op: "op", URL: "https://ias.example/token"})
	if !errors.Is(err, errDialed) {
		t.Errorf("got %v", err)
	}
}
