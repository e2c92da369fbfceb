package tokenservice_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	type request struct {
		method, path, query, body string
		header                    http.Header
	}
	received := make(chan request, 1)
	c, server := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received <- request{r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header}
		w.Header().Set("Set-Cookie", "session=1")
		_, _ = io.WriteString(w, ` {"a":1}`)
	})
	header := http.Header{"X-User-Token": {"t"}}
	for range 2 { // the second request would have the cookie
		body, err := c.Do(t.Context(), tokenservice.Request{
			Method: "POST", URL: server + "/token?x=1", Header: header, Form: url.Values{"b": {"&"}, "a": {"1"}},
		})
		if err != nil || string(body) != ` {"a":1}` {
			t.Fatalf("Do returned %q and error %v, want the body as it was sent", body, err)
		}
		r := <-received
		if r.method != "POST" || r.path != "/token" || r.query != "x=1" || r.body != "a=1&b=%26" {
			t.Errorf("the server got %s %s?%s with the form %s", r.method, r.path, r.query, r.body)
		}
		for name, want := range map[string]string{
			"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", "X-User-Token": "t",
		} {
			if got := r.header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("the server got the header %s: %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"Authorization", "Cookie", "Idempotency-Key", "Referer"} {
			if got, ok := r.header[name]; ok {
				t.Errorf("the server got the header %s: %q, want none", name, got)
			}
		}
	}
	if len(header) != 1 {
		t.Errorf("the header of the Request was modified: it is %v", header)
	}
}

func TestRequestWithoutAForm(t *testing.T) {
	t.Parallel()
	c, server := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.ContentLength != 0 || r.Header.Get("Content-Type") != "" {
			t.Errorf("the server got a %s of %d bytes of type %q, want a GET without a body", r.Method, r.ContentLength, r.Header.Get("Content-Type"))
		}
		_, _ = io.WriteString(w, "[]")
	})
	if body, err := c.Do(t.Context(), tokenservice.Request{URL: server}); string(body) != "[]" || err != nil {
		t.Errorf("Do returned %q and error %v, want the array", body, err)
	}
}

func TestMalformedRequestIsNotSent(t *testing.T) {
	t.Parallel()
	c := newClient(roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return response(200, "{}"), nil
	}))
	for name, r := range map[string]tokenservice.Request{
		"URL":    {Op: "op", URL: "https://a b/?hidden"},
		"method": {Op: "op", URL: endpoint, Method: "hidden method"},
	} {
		e := doError(t, c, r)
		if e.Kind != tokensource.Permanent || e.Op != "op" || e.URL != "" || strings.Contains(e.Error(), "hidden") {
			t.Errorf("malformed %s: got %v (%v), want a permanent error that does not quote it", name, e, e.Kind)
		}
	}
}

// A server may close a connection at any time. The request that finds it closed is sent
// again on another one.
func TestClosedConnectionIsNotAFailure(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	c, server := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 2 {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
			return
		}
		_, _ = io.WriteString(w, "{}")
	})
	for range 2 {
		if _, err := c.Do(t.Context(), tokenservice.Request{Method: "POST", URL: server, Form: url.Values{"a": {"b"}}}); err != nil {
			t.Error(err)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests arrived, want 3: the second one was to be sent again", n)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(map[string]int{"/success": 200, "/failure": 400}[r.URL.Path])
		_, _ = io.WriteString(w, strings.Repeat(" ", 100<<10)+"{}")
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	c := newClient(nil)
	t.Cleanup(func() { c.CloseIdleConnections(); srv.Close() })
	for range 5 {
		_ = get(t.Context(), c, srv.URL+"/success")
		_ = get(t.Context(), c, srv.URL+"/failure")
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("10 requests in a row took %d connections, want 1", n)
	}
}

func TestResponseIsBoundedAfterDecompression(t *testing.T) {
	t.Parallel()
	c, server := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte("{"))
		for range 4 {
			if _, err := z.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
				return
			}
		}
		_, _ = z.Write([]byte("}"))
		_ = z.Close()
	})
	e := doError(t, c, tokenservice.Request{URL: server})
	if e.Kind != tokensource.Temporary || !strings.Contains(e.Error(), "larger than 1 MiB") || e.StatusCode != 200 {
		t.Errorf("4 MiB of compressed JSON: got %v (%v), want a temporary error that says it is too large", e, e.Kind)
	}
}

func TestLargestResponse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		size int
		ok   bool
	}{
		{"1 MiB", 1 << 20, true},
		{"1 MiB and a byte", 1<<20 + 1, false},
	} {
		body := strings.Repeat(" ", test.size-2) + "{}"
		if err := get(t.Context(), clientOfResponse(200, body), endpoint); (err == nil) != test.ok {
			t.Errorf("a response of %s: got error %v, want one: %v", test.name, err, !test.ok)
		}
	}
}

// endlessBody counts the bytes that are read, and how often it is closed.
type endlessBody struct{ read, closed int }

func (b *endlessBody) Read(p []byte) (int, error) { b.read += len(p); return len(p), nil }
func (b *endlessBody) Close() error               { b.closed++; return nil }

func TestEndlessResponseIsCutOff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ status, mostRead int }{
		{200, 2 << 20},
		{400, 2 << 20},
		{101, 0}, // a switch of protocols
	} {
		body := new(endlessBody)
		c := newClient(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: test.status, Body: body}, nil
		}))
		doError(t, c, tokenservice.Request{URL: endpoint})
		if body.read > test.mostRead || body.closed != 1 {
			t.Errorf("status %d: read %d bytes and closed the body %d times, want at most %d bytes and once", test.status, body.read, body.closed, test.mostRead)
		}
	}
}

func TestHeaderIsBounded(t *testing.T) {
	t.Parallel()
	c, server := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
		_, _ = io.WriteString(w, "{}")
	})
	if e := doError(t, c, tokenservice.Request{URL: server}); e.Kind != tokensource.Temporary {
		t.Errorf("128 KiB of header: got %v (%v), want a temporary error", e, e.Kind)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, body string
		wantError  string // a part of it; "" for none
		kind       tokensource.Kind
	}{
		{"type in another case", `{"access_token":"abc","token_type":"bEARER"}`, "", 0},
		{"no type", `{"access_token":"abc"}`, "", 0},
		{"another type", `{"access_token":"abc","token_type":"mac"}`, "the token is not of type Bearer", tokensource.Permanent},
		{"no token", `{}`, "access_token is missing or empty", tokensource.Temporary},
		{"empty token", `{"access_token":""}`, "access_token is missing or empty", tokensource.Temporary},
		{"token with a line break", `{"access_token":"hid\nden"}`, "access_token has a character", tokensource.Temporary},
		{"token that is not a string", `{"access_token":["hidden"]}`, "access_token is not a string", tokensource.Temporary},
		{"array", `["hidden"]`, "not a JSON object", tokensource.Temporary},
		{"not JSON", `hidden`, "not a JSON object", tokensource.Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resp, err := clientOfResponse(200, test.body).Token(t.Context(), tokenservice.Request{Op: "op", URL: endpoint + "?hidden"})
			if test.wantError == "" {
				if err != nil || resp.AccessToken != "abc" {
					t.Errorf("got error %v, want the token", err)
				}
				return
			}
			e := asError(t, err)
			if resp != nil || e.Kind != test.kind || !strings.Contains(e.Error(), test.wantError) || strings.Contains(e.Error(), "hid") {
				t.Errorf("got %v (%v), want %v and %q", err, e.Kind, test.kind, test.wantError)
			}
			if e.Op != "op" || e.URL != endpoint || e.StatusCode != 200 {
				t.Errorf("got Op %q, URL %q and status %d, want them to say which request it was", e.Op, e.URL, e.StatusCode)
			}
		})
	}
}

// A transport that dials in the deprecated way goes on to do so.
func TestTransportWithDial(t *testing.T) {
	t.Parallel()
	errDialed := errors.New("dialed")
	//lint:ignore SA1019 this is what is tested
	base := &http.Transport{Dial: func(string, string) (net.Conn, error) { return nil, errDialed }}
	if err := get(t.Context(), newClient(base), endpoint); !errors.Is(err, errDialed) {
		t.Errorf("got error %v, want that of Dial", err)
	}
}
