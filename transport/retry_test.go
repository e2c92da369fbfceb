package transport_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// unauthorized is a 401 with a body of a known length.
func unauthorized(b *body, length int64) result { return result{status: 401, body: b, length: length} }

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
				refusal := newBody("refused")
				b := newBase(unauthorized(refusal, 7), result{status: 200})
				one := mustGrant(t, "one", gateway)
				src := newSource(one, mustGrant(t, "two", "https://other.example"))
				req := newRequest(t, method, "/x", content())
				resp, err := transport.New(src, &transport.Options{Base: b}).RoundTrip(req)
				if err != nil || resp.StatusCode != 200 || resp.Request != req {
					t.Fatalf("got %v and error %v", resp, err)
				}
				if len(src.invalidated) != 1 || src.invalidated[0] != one {
					t.Errorf("dropped were %v", src.invalidated)
				}
				if len(b.sent) != 2 || b.sent[0].body != b.sent[1].body {
					t.Fatalf("was sent %d times", len(b.sent))
				}
				first, second := b.sent[0], b.sent[1]
				if second.Header.Get("Authorization") != "Bearer two" || second.URL.String() != "https://other.example/x" {
					t.Errorf("the second attempt was not made for the second grant: %s", second.URL)
				}
				if first.Header.Get("Authorization") != "Bearer one" || first.URL.Host != "gw.example" {
					t.Error("the first attempt was changed")
				}
				if id := second.Header.Get("X-Correlation-Id"); id == "" || id != first.Header.Get("X-Correlation-Id") {
					t.Error("the attempts have different correlation ids")
				}
				if refusal.closed.Load() != 1 {
					t.Errorf("the first answer was closed %d times", refusal.closed.Load())
				}
			})
		}
	}
}

func TestRetryOnce(t *testing.T) {
	t.Parallel()
	b := newBase(result{status: 401})
	src := newSource(mustGrant(t, "1", gateway), mustGrant(t, "2", gateway), mustGrant(t, "3", gateway))
	resp, err := transport.New(src, &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
	if err != nil || resp.StatusCode != 401 {
		t.Fatalf("got %v and error %v", resp, err)
	}
	if len(b.sent) != 2 || len(src.invalidated) != 1 {
		t.Errorf("was sent %d times, %d tokens were dropped", len(b.sent), len(src.invalidated))
	}
}

func TestNoRetryOnOtherAnswers(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 302, 400, 403, 404, 407, 429, 500, 503} {
		b := newBase(result{status: status})
		src := newSource(mustGrant(t, "1", gateway), mustGrant(t, "2", gateway))
		resp, err := transport.New(src, &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
		if err != nil || resp.StatusCode != status || len(b.sent) != 1 || len(src.invalidated) != 0 {
			t.Errorf("%d: got %v and error %v, sent %d times", status, resp, err, len(b.sent))
		}
	}
}

// failingSource has an error in place of a second grant.
type failingSource struct{ *source }

func (s failingSource) Invalidate(g *tokensource.Grant) bool {
	defer func() { s.err = errors.New("token service down") }()
	return s.source.Invalidate(g)
}

// Whatever stands in the way of a second attempt, the caller gets the real 401.
func TestRefusalIsReturnedUnread(t *testing.T) {
	t.Parallel()
	one, two := mustGrant(t, "one", gateway), mustGrant(t, "two", gateway)
	plain := func(t *testing.T) *http.Request { return newRequest(t, "GET", "/x", nil) }
	for name, test := range map[string]struct {
		src tokensource.GrantSource
		req func(t *testing.T) *http.Request
	}{
		"the body cannot be replayed": {newSource(one, two), func(t *testing.T) *http.Request { return newRequest(t, "POST", "/x", newBody("content")) }},
		"the same token":              {newSource(one), plain},
		"an equal token":              {newSource(one, mustGrant(t, "one", gateway)), plain},
		"no second token":             {failingSource{newSource(one)}, plain},
		"no gateway":                  {newSource(one, mustGrant(t, "two", "/path")), plain},
		"an insecure gateway":         {newSource(one, mustGrant(t, "two", "http://gw.example")), plain},
		"the gateway has moved": {newSource(one, mustGrant(t, "two", "https://other.example")),
			func(t *testing.T) *http.Request { return newRequest(t, "GET", "https://gw.example/x", nil) }},
		"GetBody fails": {newSource(one, two), func(t *testing.T) *http.Request {
			req := newRequest(t, "POST", "/x", strings.NewReader("content"))
			req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
			return req
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusal := newBody("refused")
			b := newBase(unauthorized(refusal, 7), result{status: 200})
			resp, err := transport.New(test.src, &transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(test.req(t))
			if err != nil || resp.StatusCode != 401 || len(b.sent) != 1 {
				t.Fatalf("got %v and error %v, sent %d times", resp, err, len(b.sent))
			}
			if refusal.closed.Load() != 0 || refusal.read.Load() != 0 {
				t.Error("the answer was read or closed")
			}
			if content, err := io.ReadAll(resp.Body); err != nil || string(content) != "refused" {
				t.Errorf("its body is %q, error %v", content, err)
			}
			if resp.Body != refusal {
				t.Error("the body is wrapped")
			}
		})
	}
}

func TestEveryRefusedTokenIsReported(t *testing.T) {
	t.Parallel()
	src := newSource(mustGrant(t, "one", gateway))
	req := newRequest(t, "POST", "/x", newBody("content"))
	if _, err := transport.New(src, &transport.Options{Base: newBase(result{status: 401})}).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if len(src.invalidated) != 1 {
		t.Error("a refused token was not dropped, since the request could not be sent again")
	}
}

// Only a short first answer of known length is worth reading.
func TestFirstAnswerIsDrainedIfShort(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		length, content int
		drained         int64
	}{
		{7, 7, 7},
		{4096, 4096, 4096},
		{4097, 4097, 0},
		{-1, 7, 0},
		{10, 7, 7},
		{0, 0, 0},
	} {
		refusal := newBody(strings.Repeat("x", test.content))
		b := newBase(unauthorized(refusal, int64(test.length)), result{status: 200})
		src := newSource(mustGrant(t, "one", gateway), mustGrant(t, "two", gateway))
		resp, err := transport.New(src, &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v and error %v", resp, err)
		}
		if refusal.read.Load() != test.drained || refusal.closed.Load() != 1 {
			t.Errorf("of a length %d, %d bytes were read, and it was closed %d times", test.length, refusal.read.Load(), refusal.closed.Load())
		}
	}
}

func TestSecondAttemptFails(t *testing.T) {
	t.Parallel()
	refusal := newBody("refused")
	b := newBase(unauthorized(refusal, 7), result{err: io.ErrUnexpectedEOF})
	src := newSource(mustGrant(t, "one", gateway), mustGrant(t, "two", gateway))
	resp, err := transport.New(src, &transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
	if !errors.Is(err, io.ErrUnexpectedEOF) || resp != nil || refusal.closed.Load() != 1 {
		t.Errorf("got %v and error %v, the first answer was closed %d times", resp, err, refusal.closed.Load())
	}
}

// A generated correlation id is generated once, a disabled one never.
func TestCorrelationIDsOfARetry(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		generated := 0
		b := newBase(result{status: 401}, result{status: 200})
		rt := transport.New(newSource(mustGrant(t, "one", gateway), mustGrant(t, "two", gateway)), &transport.Options{
			Base: b, NoCorrelationID: off, NewCorrelationID: func() string { generated++; return "id" },
		})
		if _, err := rt.RoundTrip(newRequest(t, "GET", "/x", nil)); err != nil {
			t.Fatal(err)
		}
		if len(b.sent) != 2 {
			t.Fatalf("was sent %d times", len(b.sent))
		}
		want := 1
		if off {
			want = 0
		}
		if _, sent := b.sent[1].Header["X-Correlation-Id"]; generated != want || sent == off {
			t.Errorf("off %v: %d ids were generated, sent %v", off, generated, sent)
		}
	}
}
