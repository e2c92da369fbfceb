package wire_test

import (
	"context"
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
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// A server may close a kept connection at any time; the request that meets it is
// sent again on another.
func TestStaleConnectionIsNoFailure(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	c, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 2 {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
			return
		}
		_, _ = io.WriteString(w, "{}")
	})
	for range 2 {
		if _, err := c.Do(t.Context(), wire.Request{Method: "POST", URL: at, Form: url.Values{"a": {"b"}}}); err != nil {
			t.Error(err)
		}
	}
	if n.Load() != 3 {
		t.Errorf("%d requests arrived, want 3", n.Load())
	}
}

func TestTruncatedAnswer(t *testing.T) {
	t.Parallel()
	c, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"access_token":"half`)
	})
	e := failure(t, c, wire.Request{URL: at})
	if e.Kind != tokensource.Passing || !errors.Is(e, io.ErrUnexpectedEOF) || strings.Contains(e.Error(), "half") {
		t.Error(e)
	}
}

func TestNetworkErrors(t *testing.T) {
	t.Parallel()
	c, at := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, u := range []string{gone.URL + "/?q=hidden", strings.Replace(at, "http:", "https:", 1) + "?q=hidden"} {
		e := failure(t, c, wire.Request{Op: "op", URL: u})
		if e.Kind != tokensource.Passing || e.StatusCode != 0 || e.Err == nil || strings.Contains(e.Error(), "hidden") {
			t.Errorf("%s: %v", u, e)
		}
	}
	if e := failure(t, c, wire.Request{URL: "https://a b/?hidden"}); e.Kind != tokensource.Permanent || strings.Contains(e.Error(), "hidden") {
		t.Error(e)
	}
	// Whatever sends the request may speak of the URL, or fail in silence.
	for _, test := range []struct {
		err  error
		want string
	}{
		{&url.Error{Op: "Post", URL: endpoint + "?hidden", Err: errors.New("told so")}, "told so"},
		{errors.New("what the-secret said"), "what [redacted] said"},
		{nil, "neither an answer nor an error"},
	} {
		c := wire.NewClient(wire.Config{Base: transportFunc(func(*http.Request) (*http.Response, error) { return nil, test.err })})
		e := failure(t, c, wire.Request{URL: endpoint, Secrets: []string{"the-secret"}})
		if !strings.HasSuffix(e.Error(), test.want) || strings.Contains(e.Error(), "hidden") {
			t.Error(e)
		}
		for err := error(e); err != nil; err = errors.Unwrap(err) {
			if strings.Contains(err.Error(), "the-secret") {
				t.Errorf("within reach: %v", err)
			}
		}
	}
}

// net/http quotes what it cannot understand.
func TestMalformedAnswerIsCleaned(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nthe-secret "+strings.Repeat("x", 1000)+"\r\n\r\n")
		_ = conn.Close()
	}()
	c := wire.NewClient(wire.Config{})
	e := failure(t, c, wire.Request{URL: "http://" + listener.Addr().String(), Secrets: []string{"the-secret"}})
	if strings.Contains(e.Error(), "secret") || len(e.Err.Error()) > 200 || e.Kind != tokensource.Passing {
		t.Error(e)
	}
	_ = listener.Close()
	<-done
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	synctest.Test(t, func(t *testing.T) {
		body, writer := io.Pipe()
		defer writer.Close()
		for name, base := range map[string]transportFunc{
			"before the answer": func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			},
			"in the body": func(req *http.Request) (*http.Response, error) {
				context.AfterFunc(req.Context(), func() { _ = writer.CloseWithError(errors.New("body closed")) })
				return &http.Response{StatusCode: 200, Body: body}, nil
			},
		} {
			c := wire.NewClient(wire.Config{Base: base})
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, stopped)
			e := failureOf(t, get(ctx, c, endpoint))
			cancel()
			if !errors.Is(e, context.DeadlineExceeded) || e.Kind != tokensource.Passing {
				t.Errorf("%s: %v", name, e)
			}
		}
		base := &crowd{takes: time.Hour}
		c := wire.NewClient(wire.Config{Base: base})
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := get(gone, c, endpoint); !errors.Is(err, context.Canceled) || base.sent.Load() != 0 {
			t.Errorf("%d requests sent after the end: %v", base.sent.Load(), err)
		}
		why := fmt.Errorf("enough: %w", context.Canceled)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if err := get(ctx, c, endpoint); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
