package transport_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// unauthorized is a 401 response with a body and its ContentLength.
func unauthorized(body *countingBody, length int64) result {
	return result{status: http.StatusUnauthorized, body: body, length: length}
}

// newTwoTokens returns a source of the tokens "one" and "two".
func newTwoTokens(tb testing.TB) *fakeSource {
	tb.Helper()
	return newSource(newToken(tb, "one", gatewayURL), newToken(tb, "two", gatewayURL))
}

func TestRetryWithAnotherToken(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for name, content := range map[string]func() io.Reader{
			"no body":      func() io.Reader { return nil },
			"NoBody":       func() io.Reader { return http.NoBody },
			"with GetBody": func() io.Reader { return strings.NewReader("content") },
		} {
			t.Run(method+" "+name, func(t *testing.T) {
				t.Parallel()
				rejection := newBody("rejected")
				b := newBase(unauthorized(rejection, 8), result{status: 200})
				one := newToken(t, "one", gatewayURL)
				src := newSource(one, newToken(t, "two", "https://other.example"))
				req := newRequest(t, method, "/x", content())
				resp, err := transport.New(src, transport.Options{Base: b}).RoundTrip(req)
				if err != nil || resp.StatusCode != 200 || resp.Request != req {
					t.Fatalf("got %+v and error %v, want the second response, to the caller's request", resp, err)
				}
				if !slices.Equal(src.invalidated, []*tokensource.Token{one}) {
					t.Errorf("invalidated were %v, want the first token", src.invalidated)
				}
				if len(b.sent) != 2 {
					t.Fatalf("the request was sent %d times, want twice", len(b.sent))
				}
				first, second := b.sent[0], b.sent[1]
				if first.content != second.content {
					t.Errorf("the second body is %q, want %q like the first", second.content, first.content)
				}
				if got := first.Header.Get("Authorization"); got != "Bearer one" || first.URL.String() != gatewayURL+"/x" {
					t.Errorf("the first request went to %s with %q, want the first token and its gateway", first.URL, got)
				}
				if got := second.Header.Get("Authorization"); got != "Bearer two" || second.URL.String() != "https://other.example/x" {
					t.Errorf("the second request went to %s with %q, want the second token and its gateway", second.URL, got)
				}
				if a, b := first.Header.Get("X-Correlation-Id"), second.Header.Get("X-Correlation-Id"); a == "" || a != b {
					t.Errorf("the correlation ids are %q and %q, want the same for both attempts", a, b)
				}
				if n := rejection.closed.Load(); n != 1 {
					t.Errorf("the body of the first response was closed %d times, want once", n)
				}
			})
		}
	}
}

func TestNoThirdAttempt(t *testing.T) {
	t.Parallel()
	b := newBase(result{status: 401})
	src := newSource(newToken(t, "one", gatewayURL), newToken(t, "two", gatewayURL), newToken(t, "three", gatewayURL))
	resp, err := transport.New(src, transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
	if err != nil || resp.StatusCode != 401 {
		t.Fatalf("got %+v and error %v, want the second 401 response", resp, err)
	}
	if len(b.sent) != 2 || len(src.invalidated) != 1 {
		t.Errorf("the request was sent %d times, and %d tokens were invalidated; want 2 and 1", len(b.sent), len(src.invalidated))
	}
}

func TestNoRetryAfterOtherStatuses(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 302, 400, 403, 404, 407, 429, 500, 503} {
		b, src := newBase(result{status: status}), newTwoTokens(t)
		resp, err := transport.New(src, transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
		if err != nil || resp.StatusCode != status {
			t.Errorf("status %d: got %+v and error %v, want the response", status, resp, err)
		}
		if len(b.sent) != 1 || len(src.invalidated) != 0 {
			t.Errorf("status %d: the request was sent %d times, and %d tokens were invalidated; want 1 and 0", status, len(b.sent), len(src.invalidated))
		}
	}
}

// Whatever prevents a second attempt, the caller gets the gateway's own 401 response.
func TestResponseIsReturnedUnreadWithoutARetry(t *testing.T) {
	t.Parallel()
	one, two := newToken(t, "one", gatewayURL), newToken(t, "two", gatewayURL)
	withoutBody := func(t *testing.T) *http.Request { return newRequest(t, "GET", "/x", nil) }
	for name, test := range map[string]struct {
		src transport.Source
		req func(t *testing.T) *http.Request
	}{
		"no GetBody":              {newSource(one, two), func(t *testing.T) *http.Request { return newRequest(t, "POST", "/x", newBody("content")) }},
		"the same token":          {newSource(one), withoutBody},
		"an equal token":          {newSource(one, newToken(t, "one", gatewayURL)), withoutBody},
		"no second token":         {sourceFailingAfterInvalidate{newSource(one)}, withoutBody},
		"no gateway":              {newSource(one, newToken(t, "two", "/path")), withoutBody},
		"a gateway by plain http": {newSource(one, newToken(t, "two", "http://gw.example")), withoutBody},
		"another gateway than that of the URL": {newSource(one, newToken(t, "two", "https://other.example")),
			func(t *testing.T) *http.Request { return newRequest(t, "GET", "https://gw.example/x", nil) }},
		"GetBody fails": {newSource(one, two), func(t *testing.T) *http.Request {
			req := newRequest(t, "POST", "/x", strings.NewReader("content"))
			req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
			return req
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rejection := newBody("rejected")
			b := newBase(unauthorized(rejection, 8), result{status: 200})
			resp, err := transport.New(test.src, transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(test.req(t))
			if err != nil || resp.StatusCode != 401 || len(b.sent) != 1 {
				t.Fatalf("got %+v and error %v, and the request was sent %d times; want the first response", resp, err, len(b.sent))
			}
			if resp.Body != rejection {
				t.Errorf("the body is a %T, want the one of the base", resp.Body)
			}
			if closed, read := rejection.closed.Load(), rejection.read.Load(); closed != 0 || read != 0 {
				t.Errorf("the body was closed %d times, and %d bytes were read; want it untouched", closed, read)
			}
			if content, err := io.ReadAll(resp.Body); err != nil || string(content) != "rejected" {
				t.Errorf("the body is %q (error %v), want %q", content, err, "rejected")
			}
		})
	}
}

func TestTokenIsInvalidatedThoughTheRequestCannotBeSentAgain(t *testing.T) {
	t.Parallel()
	src := newSource(newToken(t, "one", gatewayURL))
	req := newRequest(t, "POST", "/x", newBody("content"))
	if _, err := transport.New(src, transport.Options{Base: newBase(result{status: 401})}).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if len(src.invalidated) != 1 {
		t.Errorf("%d tokens were invalidated, want 1: the next request needs another one", len(src.invalidated))
	}
}

// Even a short body can take its time. See also TestRetryAfterASlowRejectionOverHTTP.
func TestFirstResponseIsClosedUnread(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		length, content int
	}{
		{"short", 8, 8},
		{"long", 1 << 20, 1 << 20},
		{"of unknown length", -1, 8},
		{"truncated", 10, 8},
		{"empty", 0, 0},
	} {
		rejection := newBody(strings.Repeat("x", test.content))
		b := newBase(unauthorized(rejection, int64(test.length)), result{status: 200})
		resp, err := transport.New(newTwoTokens(t), transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("a first body that is %s: got %+v and error %v, want the second response", test.name, resp, err)
		}
		if read, closed := rejection.read.Load(), rejection.closed.Load(); read != 0 || closed != 1 {
			t.Errorf("a first body that is %s: %d bytes were read, and it was closed %d times; want none and once", test.name, read, closed)
		}
	}
}

func TestRetryThatFails(t *testing.T) {
	t.Parallel()
	rejection := newBody("rejected")
	b := newBase(unauthorized(rejection, 8), result{err: io.ErrUnexpectedEOF})
	resp, err := transport.New(newTwoTokens(t), transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
	if resp != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %+v and error %v, want the error of the second attempt", resp, err)
	}
	if n := rejection.closed.Load(); n != 1 {
		t.Errorf("the body of the first response was closed %d times, want once", n)
	}
}

func TestCorrelationIDOfARetryIsThatOfTheFirstAttempt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, newID string
		in, want    http.Header // correlation ids only
		generated   int
	}{
		{"generated", "id", nil, http.Header{"X-Correlation-Id": {"id"}}, 1},
		{"none", "", nil, http.Header{}, 1},
		{"the caller's", "id", http.Header{"X-Correlation-Id": {"mine"}}, http.Header{"X-Correlation-Id": {"mine"}}, 0},
		{"the caller's, in lower case", "id", http.Header{"x-correlation-id": {"mine"}}, http.Header{"x-correlation-id": {"mine"}}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			generated := 0
			b := newBase(result{status: 401}, result{status: 200})
			rt := transport.New(newTwoTokens(t), transport.Options{Base: b, NewCorrelationID: func() string { generated++; return test.newID }})
			req := newRequest(t, "GET", "/x", nil)
			req.Header = test.in
			if _, err := rt.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
			if len(b.sent) != 2 {
				t.Fatalf("the request was sent %d times, want twice", len(b.sent))
			}
			if generated != test.generated {
				t.Errorf("the generator was called %d times, want %d", generated, test.generated)
			}
			for i, sent := range b.sent {
				for _, name := range []string{"X-Correlation-Id", "x-correlation-id"} {
					if got, want := sent.Header[name], test.want[name]; !slices.Equal(got, want) {
						t.Errorf("attempt %d: %s is %q, want %q", i+1, name, got, want)
					}
				}
			}
		})
	}
}
