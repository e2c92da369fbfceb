package compat_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/agwtest"
)

func TestProtocols(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		ctx, w := start(t, options)
		echo := echoOf(t, w.ClientFor(w.subject("alice")), newRequest(t, ctx, http.MethodGet, w.URL("orders"), nil))
		mustSee(t, echo, "alice")
		if !strings.HasSuffix(t.Name(), echo.Proto) {
			t.Errorf("the gateway was spoken to in %s", echo.Proto)
		}
	})
}

// A jar keeps the cookies of the gateway under the host that the program calls it by.
func TestCookieJar(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		ctx, w := start(t, options)
		w.server.Handle("/affinity", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			caller, _ := agwtest.CallerFromContext(r.Context())
			if c, err := r.Cookie("node"); err == nil && c.Value != caller.User {
				http.Error(rw, "a cookie of somebody else", http.StatusBadRequest)
				return
			} else if err == nil {
				rw.WriteHeader(http.StatusNoContent)
				return
			}
			http.SetCookie(rw, &http.Cookie{Name: "node", Value: caller.User, Path: "/", Secure: true, HttpOnly: true})
		}))
		for _, user := range []string{"alice", "bob"} {
			client := w.ClientFor(w.subject(user))
			client.Jar, _ = cookiejar.New(nil)
			for _, want := range []int{http.StatusOK, http.StatusNoContent} {
				resp, err := client.Do(newRequest(t, ctx, http.MethodGet, w.URL("affinity"), nil))
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("%s got status %s, want %d", user, resp.Status, want)
				}
			}
		}
	})
}

// The body of a 101 is the connection, with otelhttp beneath us or not.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for name, traced := range map[string]bool{"plain": false, "traced": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, w := start(t, agwtest.Options{HTTP1: true}, func(server *agwtest.Server, cfg *agw.Config) {
				if traced {
					cfg.Transport = otelhttp.NewTransport(newBase(t, server))
				}
			})
			req := newRequest(t, ctx, http.MethodGet, w.URL("upgrade"), nil)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "echo")
			resp, err := w.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			conn, ok := resp.Body.(io.ReadWriteCloser)
			if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
				t.Fatalf("status %s, body %T", resp.Status, resp.Body)
			}
			mustEcho(t, conn, conn)
		})
	}
}

// mustEcho checks that what is written comes back.
func mustEcho(t *testing.T, in io.Reader, out io.Writer) {
	t.Helper()
	for _, want := range []string{"hello", "again"} {
		if _, err := io.WriteString(out, want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
}

// Events arrive while the stream is open.
func TestEvents(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		ctx, w := start(t, options)
		resp, err := w.ClientFor(w.subject("alice")).Do(newRequest(t, ctx, http.MethodGet, w.URL("sse")+"?events=3&hold=true", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		mustReadEvents(t, resp.Body, 3)
	})
}

// mustReadEvents reads n events of alice.
func mustReadEvents(t *testing.T, body io.Reader, n int) {
	t.Helper()
	lines := bufio.NewScanner(body)
	for number := 1; number <= n; {
		if !lines.Scan() {
			t.Fatalf("the stream ended before event %d: %v", number, lines.Err())
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e struct {
			Number int
			agwtest.Caller
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil || e.Number != number || e.User != "alice" {
			t.Errorf("event %+v, %v; want number %d of alice", e, err, number)
		}
		number++
	}
}

// lateTrailer is a body that fills the trailer of its request in the end.
type lateTrailer struct {
	io.Reader
	req *http.Request
}

func (l *lateTrailer) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		l.req.Trailer.Set("Digest", "sum")
	}
	return n, err
}

func TestTrailers(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		ctx, w := start(t, options)
		body := &lateTrailer{Reader: strings.NewReader("body")}
		req := newRequest(t, ctx, http.MethodPost, w.URL("trailers"), body)
		req.Trailer = http.Header{"Digest": nil}
		body.req = req
		resp, err := w.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if echo := decode(t, resp); echo.Body != "body" || echo.Trailer.Get("Digest") != "sum" {
			t.Errorf("the gateway got %q with trailer %v", echo.Body, echo.Trailer)
		}
		if got := resp.Trailer.Get("Agwtest-Trailer"); got != "the end" {
			t.Errorf("trailer %q", got)
		}
	})
}

// A body that the gateway does not want is not sent; so one that cannot be rewound
// is still the caller's after a 401.
func TestExpectContinue(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		ctx, w := start(t, options)
		client := w.ClientFor(w.subject("alice"))
		upload := func() (*unrewindable, *http.Response) {
			body := &unrewindable{Reader: strings.NewReader("body")}
			req := newRequest(t, ctx, http.MethodPut, w.URL("orders"), body)
			req.Header.Set("Expect", "100-continue")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			return body, resp
		}
		_, resp := upload()
		if echo := decode(t, resp); echo.Body != "body" {
			t.Errorf("the gateway got %q", echo.Body)
		}
		w.server.RevokeAll()
		body, resp := upload()
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || body.count() > 0 {
			t.Errorf("status %s, %d bytes were read", resp.Status, body.count())
		}
		_, resp = upload()
		mustSee(t, decode(t, resp), "alice")
	})
}

// An upload that cannot be sent again is not: the caller gets the 401, and the next
// upload a new token. One that can be is.
func TestUploads(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		const size = 1 << 20
		ctx, w := start(t, options)
		client := w.ClientFor(w.subject("alice"))
		upload := func(body io.Reader) *http.Response {
			resp, err := client.Do(newRequest(t, ctx, http.MethodPut, w.URL("orders"), body))
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		once := func() io.Reader { return &unrewindable{Reader: bytes.NewReader(make([]byte, size))} }
		if echo := decode(t, upload(once())); echo.BodySize != size {
			t.Errorf("the gateway got %d bytes", echo.BodySize)
		}
		w.server.RevokeAll()
		if resp := upload(strings.NewReader("once more")); decode(t, resp).Body != "once more" {
			t.Error("the body was not sent again")
		}
		resp := upload(once())
		mustSee(t, decode(t, resp), "alice")
	})
}

func TestUploadRefused(t *testing.T) {
	protocols(t, func(t *testing.T, options agwtest.Options) {
		ctx, w := start(t, options)
		client := w.ClientFor(w.subject("alice"))
		upload := func() *http.Response {
			body := &unrewindable{Reader: strings.NewReader("body")}
			resp, err := client.Do(newRequest(t, ctx, http.MethodPut, w.URL("orders"), body))
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		mustSee(t, decode(t, upload()), "alice")
		w.server.RevokeAll()
		resp := upload()
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %s, want 401", resp.Status)
		}
		mustSee(t, decode(t, upload()), "alice")
	})
}

// forward is a transport of the program's own that knows how to forward.
type forward struct{ *http.Client }

func (f forward) RoundTrip(req *http.Request) (*http.Response, error) {
	return f.Transport.RoundTrip(req)
}

// CloseIdleConnections reaches the connections from wherever it is called, except
// past a wrapper that does not forward it, as otelhttp's does not: then it is the
// gateway's own that does it.
func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, w world) (client doer, idle func()){
		"client": func(_ *testing.T, w world) (doer, func()) {
			c := w.Client()
			return c, c.CloseIdleConnections
		},
		"gateway": func(_ *testing.T, w world) (doer, func()) { return w.Client(), w.CloseIdleConnections },
		"wrapper": func(_ *testing.T, w world) (doer, func()) {
			c := &http.Client{Transport: forward{w.Client()}}
			return c, c.CloseIdleConnections
		},
		"retryablehttp": func(_ *testing.T, w world) (doer, func()) {
			c := newRetrying(w.Client())
			return c.StandardClient(), c.HTTPClient.CloseIdleConnections
		},
		"otelhttp": func(_ *testing.T, w world) (doer, func()) {
			return &http.Client{Transport: otelhttp.NewTransport(w.Client().Transport)}, w.CloseIdleConnections
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			protocols(t, func(t *testing.T, options agwtest.Options) {
				ctx, w := start(t, options)
				client, idle := test(t, w)
				for range 2 {
					echoOf(t, client, newRequest(t, ctx, http.MethodGet, w.URL("orders"), nil))
				}
				before := w.server.Gateway.Meter().Connections
				idle()
				echoOf(t, client, newRequest(t, ctx, http.MethodGet, w.URL("orders"), nil))
				if after := w.server.Gateway.Meter().Connections; before != 1 || after != 2 {
					t.Errorf("%d connections before and %d after, want 1 and 2", before, after)
				}
			})
		})
	}
}
