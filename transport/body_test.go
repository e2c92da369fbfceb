package transport_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/agwgo/agw/transport"
)

// However a request ends, its body is closed exactly once, and so is each copy of it.
func TestBodyIsClosedOnce(t *testing.T) {
	t.Parallel()
	one, two := newToken(t, "one", gatewayURL), newToken(t, "two", gatewayURL)
	const (
		relative = "/x"
		foreign  = "https://evil.example"
	)
	for name, test := range map[string]struct {
		src     transport.Source
		url     string
		results []result
		pass    bool // PassForeignHosts
		replay  bool // the request has a GetBody
		bodies  int  // that there are in the end
		fails   bool
	}{
		"sent":                         {src: newSource(one), url: relative, bodies: 1},
		"no token":                     {src: &fakeSource{err: io.EOF}, url: relative, bodies: 1, fails: true},
		"no source":                    {src: nil, url: relative, bodies: 1, fails: true},
		"no gateway":                   {src: newSource(newToken(t, "one", "/")), url: relative, bodies: 1, fails: true},
		"foreign":                      {src: newSource(one), url: foreign, bodies: 1, fails: true},
		"foreign to the known gateway": {src: &fakeSource{gateway: parseURL(t, gatewayURL)}, url: foreign, bodies: 1, fails: true},
		"foreign, passed":              {src: newSource(one), url: foreign, pass: true, bodies: 1},
		"foreign, passed, base fails":  {src: newSource(one), url: foreign, results: []result{{err: io.EOF}}, pass: true, bodies: 1, fails: true},
		"opaque URL":                   {src: newSource(one), url: "sap.s4:x", bodies: 1, fails: true},
		"path escapes":                 {src: newSource(one), url: "/../x", bodies: 1, fails: true},
		"plain http":                   {src: newSource(newToken(t, "one", "http://gw.example")), url: relative, bodies: 1, fails: true},
		"base fails":                   {src: newSource(one), url: relative, results: []result{{err: io.EOF}}, bodies: 1, fails: true},
		"401, no GetBody":              {src: newSource(one, two), url: relative, results: []result{{status: 401}}, bodies: 1},
		"401, retry":                   {src: newSource(one, two), url: relative, results: []result{{status: 401}, {status: 200}}, replay: true, bodies: 2},
		"401, same token":              {src: newSource(one), url: relative, results: []result{{status: 401}}, replay: true, bodies: 1},
		"401, no second token":         {src: sourceFailingAfterInvalidate{newSource(one)}, url: relative, results: []result{{status: 401}}, replay: true, bodies: 1},
		"401, foreign to the second token": {src: newSource(one, newToken(t, "two", "https://other.example")), url: "https://gw.example/", pass: true,
			results: []result{{status: 401}}, replay: true, bodies: 1},
		"401, retry fails": {src: newSource(one, two), url: relative, results: []result{{status: 401}, {err: io.EOF}}, replay: true, bodies: 2, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bodies := []*countingBody{newBody("content")}
			req := newRequest(t, "POST", test.url, bodies[0])
			if test.replay {
				req.GetBody = func() (io.ReadCloser, error) {
					bodies = append(bodies, newBody("content"))
					return bodies[len(bodies)-1], nil
				}
			}
			_, err := transport.New(test.src, transport.Options{Base: newBase(test.results...), PassForeignHosts: test.pass}).RoundTrip(req)
			if (err != nil) != test.fails {
				t.Errorf("got error %v, want one: %v", err, test.fails)
			}
			if len(bodies) != test.bodies {
				t.Errorf("there were %d bodies, want %d", len(bodies), test.bodies)
			}
			for i, b := range bodies {
				if n := b.closed.Load(); n != 1 {
					t.Errorf("body %d was closed %d times, want once", i+1, n)
				}
			}
		})
	}
	t.Run("no URL", func(t *testing.T) {
		t.Parallel()
		content := newBody("content")
		if _, err := transport.New(newSource(one), transport.Options{}).RoundTrip(&http.Request{Body: content}); err == nil {
			t.Error("a request without a URL was sent, want an error")
		}
		if n := content.closed.Load(); n != 1 {
			t.Errorf("the body was closed %d times, want once", n)
		}
	})
}
