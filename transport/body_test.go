package transport_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// The body is closed exactly once on every path, and so is each copy of it.
func TestBodyIsClosedOnce(t *testing.T) {
	t.Parallel()
	one, two := mustGrant(t, "one", gateway), mustGrant(t, "two", gateway)
	for name, test := range map[string]struct {
		src       tokensource.GrantSource
		url       string
		results   []result
		pass      bool
		replay    bool
		bodies    int
		wantError bool
	}{
		"sent":                   {src: newSource(one), url: "/x", bodies: 1},
		"no token":               {src: &source{err: io.EOF}, url: "/x", bodies: 1, wantError: true},
		"no source":              {src: nil, url: "/x", bodies: 1, wantError: true},
		"no gateway":             {src: newSource(mustGrant(t, "one", "/")), url: "/x", bodies: 1, wantError: true},
		"foreign":                {src: newSource(one), url: "https://evil.example", bodies: 1, wantError: true},
		"foreign at once":        {src: &source{known: mustURL(t, gateway)}, url: "https://evil.example", bodies: 1, wantError: true},
		"foreign, passed":        {src: newSource(one), url: "https://evil.example", pass: true, bodies: 1},
		"foreign, passed, fails": {src: newSource(one), url: "https://evil.example", results: []result{{err: io.EOF}}, pass: true, bodies: 1, wantError: true},
		"opaque":                 {src: newSource(one), url: "sap.s4:x", bodies: 1, wantError: true},
		"bad path":               {src: newSource(one), url: "/../x", bodies: 1, wantError: true},
		"insecure":               {src: newSource(mustGrant(t, "one", "http://gw.example")), url: "/x", bodies: 1, wantError: true},
		"base fails":             {src: newSource(one), url: "/x", results: []result{{err: io.EOF}}, bodies: 1, wantError: true},
		"401, no replay":         {src: newSource(one, two), url: "/x", results: []result{{status: 401}}, bodies: 1},
		"401, replay":            {src: newSource(one, two), url: "/x", results: []result{{status: 401}, {status: 200}}, replay: true, bodies: 2},
		"401, same token":        {src: newSource(one), url: "/x", results: []result{{status: 401}}, replay: true, bodies: 1},
		"401, no second token":   {src: failingSource{newSource(one)}, url: "/x", results: []result{{status: 401}}, replay: true, bodies: 1},
		"401, foreign then": {src: newSource(one, mustGrant(t, "two", "https://other.example")), url: "https://gw.example/", pass: true,
			results: []result{{status: 401}}, replay: true, bodies: 1},
		"401, replay fails": {src: newSource(one, two), url: "/x", results: []result{{status: 401}, {err: io.EOF}}, replay: true, bodies: 2, wantError: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bodies := []*body{newBody("content")}
			req := newRequest(t, "POST", test.url, bodies[0])
			if test.replay {
				req.GetBody = func() (io.ReadCloser, error) {
					bodies = append(bodies, newBody("content"))
					return bodies[len(bodies)-1], nil
				}
			}
			_, err := transport.New(test.src, &transport.Options{Base: newBase(test.results...), PassForeignHosts: test.pass}).RoundTrip(req)
			if (err != nil) != test.wantError {
				t.Errorf("error %v", err)
			}
			if len(bodies) != test.bodies {
				t.Errorf("there were %d bodies, want %d", len(bodies), test.bodies)
			}
			for i, b := range bodies {
				if n := b.closed.Load(); n != 1 {
					t.Errorf("body %d was closed %d times", i, n)
				}
			}
		})
	}
	t.Run("no URL", func(t *testing.T) {
		content := newBody("content")
		_, err := transport.New(newSource(one), nil).RoundTrip(&http.Request{Body: content})
		if err == nil || content.closed.Load() != 1 {
			t.Errorf("closed %d times, error %v", content.closed.Load(), err)
		}
	})
}
