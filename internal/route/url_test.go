package route_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/route"
)

func TestURL(t *testing.T) {
	t.Parallel()
	const host = "https://agent-gateway.invalid"
	for _, test := range []struct {
		name, path string
		segments   []string
		want       string
	}{
		{"the base path", "", nil, host + "/"},
		{"a slash", "/", nil, host + "/"},
		{"a path", "v1/x", nil, host + "/v1/x"},
		{"slashes around the path", "/v1/x/", nil, host + "/v1/x/"},
		{"an escaped path", "v1/a%2Fb", nil, host + "/v1/a%2Fb"},
		{"characters that no URL has", "v1/a b/ü|x", []string{"c/d"}, host + "/v1/a%20b/%C3%BC%7Cx/c%2Fd"},
		{"an ORD id as path", "sap.s4:apiAccess:salesOrder:v1/t", nil, host + "/sap.s4:apiAccess:salesOrder:v1/t"},
		{"a query", "v1/x?to=https://elsewhere.example//..", nil, host + "/v1/x?to=https://elsewhere.example//.."},
		{"a slash and a query", "v1/x/?q", nil, host + "/v1/x/?q"},
		{"a query alone", "?q", nil, host + "/?q"},
		{"a fragment", "v1/x#/../", nil, host + "/v1/x#/../"},
		{"dots in names", ".x/..y/...", []string{"...", ".z"}, host + "/.x/..y/.../.../.z"},
		{"segments", "v1/mcp", []string{ordID, tenant}, host + "/v1/mcp/" + ordID + "/" + tenant},
		{"segments, slashes around the path", "/v1/mcp/", []string{"a", "b"}, host + "/v1/mcp/a/b"},
		{"segments alone", "", []string{"a", "b"}, host + "/a/b"},
		{"segments after a slash", "/", []string{"a"}, host + "/a"},
		{"segments that need escaping", "v1", []string{"a/b", "?", "#", "%2e", "C:/x", " "}, host + "/v1/a%2Fb/%3F/%23/%252e/C:%2Fx/%20"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := route.URL(test.path, test.segments...)
			if got != test.want {
				t.Errorf("URL(%q, %q):\n got %s\nwant %s", test.path, test.segments, got, test.want)
			}
			if sent := mustURL(t, got); sent.EscapedPath() != strings.TrimPrefix(strings.FieldsFunc(got, isQueryOrFragment)[0], host) {
				t.Errorf("URL(%q, %q) is %s, but is sent as %s", test.path, test.segments, got, sent)
			}
			if err := route.Check(mustURL(t, got)); err != nil {
				t.Errorf("Check(%s): %v, want no error", got, err)
			}
		})
	}
}

func isQueryOrFragment(r rune) bool { return r == '?' || r == '#' }

// URL has no error to return, so the URL itself stands for the error.
func TestURLOfABadPart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, path string
		segments   []string
		want       string // in the text of the error, after "agw: invalid URL: "
	}{
		{"an empty segment", "v1/mcp", []string{"ord", ""}, "segment 2 given to gw.URL is empty"},
		{"an empty segment between others", "v1/mcp", []string{"", "tenant"}, "segment 1 given to gw.URL is empty"},
		{"the first of two bad ones", "", []string{"a", "b", ".", ""}, `segment 3 given to gw.URL is "." or ".."`},
		{"segment .", "v1", []string{"."}, `segment 1 given to gw.URL is "." or ".."`},
		{"segment ..", "v1", []string{"a", ".."}, `segment 2 given to gw.URL is "." or ".."`},
		{"an absolute URL as segment", "v1", []string{"https://gw.example/x"}, "segment 1 given to gw.URL is an absolute URL"},
		{"path .", ".", nil, `the path given to gw.URL has a "." or ".." segment`},
		{"path ..", "..", nil, `the path given to gw.URL has a "." or ".." segment`},
		{"path . before segments", ".", []string{"a"}, `the path given to gw.URL has a "." or ".." segment`},
		{"a dot segment in the path", "v1/./x", nil, `the path given to gw.URL has a "." or ".." segment`},
		{"a dot segment at the end", "v1/../", nil, `the path given to gw.URL has a "." or ".." segment`},
		{"a dot segment before a query", "v1/..?q", nil, `the path given to gw.URL has a "." or ".." segment`},
		{"an absolute URL", "https://gw.example/v1/x", nil, "the path given to gw.URL is an absolute URL"},
		{"an absolute URL of another scheme", "A2+x-.y://gw.example", []string{"a"}, "the path given to gw.URL is an absolute URL"},
		{"two slashes in front", "//gw.example/x", nil, "the path given to gw.URL has two slashes in a row"},
		{"two slashes in the middle", "v1/mcp//tenant", nil, "the path given to gw.URL has two slashes in a row"},
		{"two slashes at the end", "v1/mcp//", nil, "the path given to gw.URL has two slashes in a row"},
		{"two slashes before segments", "v1/mcp//", []string{"a"}, "the path given to gw.URL has two slashes in a row"},
		{"two slashes alone", "//", nil, "the path given to gw.URL has two slashes in a row"},
		{"a query before segments", "v1/x?q=1", []string{"a"}, "the path given to gw.URL has a query or fragment"},
		{"a fragment before segments", "#", []string{"a"}, "the path given to gw.URL has a query or fragment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			raw := route.URL(test.path, test.segments...)
			// Callers append to it, and clients parse it.
			for _, raw := range []string{raw, raw + "?a=b", raw + "/x#y", route.Card(raw)} {
				req, err := http.NewRequest(http.MethodGet, raw, nil)
				if err != nil {
					t.Fatalf("URL(%q, %q) is %s, of which no request can be made: %v", test.path, test.segments, raw, err)
				}
				err = route.Check(req.URL)
				if !errors.Is(err, route.ErrInvalidURL) || !strings.HasPrefix(err.Error(), "agw: invalid URL: "+test.want) {
					t.Errorf("URL(%q, %q) is %s, for which Check returns %v, want %q", test.path, test.segments, raw, err, test.want)
				}
				if _, joinErr := route.Join(mustURL(t, "https://gw.example"), req.URL); !errors.Is(joinErr, route.ErrInvalidURL) {
					t.Errorf("Join of %s: got error %v, want %v", raw, joinErr, err)
				}
			}
			if route.IsRelative(mustURL(t, raw)) {
				t.Errorf("%s counts as relative to the gateway", raw)
			}
		})
	}
}

// Anybody can make a URL of that scheme. It is not sent, and its text is not repeated.
func TestCheckURLsThatURLDidNotMake(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"agw-invalid-url://", "agw-invalid-url:///x", "agw-invalid-url://hush", "agw-invalid-url://hush.is-empty", "agw-invalid-url://segment-hush.is-empty",
		"agw-invalid-url://path.hush", "AGW-INVALID-URL://segment-1.hush",
	} {
		if err := route.Check(mustURL(t, raw)); !errors.Is(err, route.ErrInvalidURL) || strings.Contains(err.Error(), "hush") {
			t.Errorf("Check(%s): got %v, want %v", raw, err, route.ErrInvalidURL)
		}
	}
	if err := route.Check(mustURL(t, "agw-invalid-url:hush")); !errors.Is(err, route.ErrOpaqueURL) {
		t.Errorf("an opaque URL: got %v, want %v", err, route.ErrOpaqueURL)
	}
}

// Whatever the parts, the URL is an error, or each segment arrives as it is, below the
// gateway's path.
func FuzzURL(f *testing.F) {
	f.Add("v1/mcp", ordID, tenant)
	f.Add("", "", "..")
	f.Add("/v1//mcp?q", "a/b", "%2e%2e")
	f.Add("https://x", ".", "https://x")
	f.Fuzz(func(t *testing.T, path, first, second string) {
		raw := route.URL(path, first, second)
		u, err := url.Parse(raw)
		if err != nil {
			if _, pathErr := url.Parse("https://agent-gateway.invalid/" + path); pathErr == nil {
				t.Fatalf("URL(%q, %q, %q) is %q, which does not parse: %v", path, first, second, raw, err)
			}
			return
		}
		gateway := mustURL(t, "https://gw.example/base")
		got, err := route.Join(gateway, u)
		if err != nil {
			if !errors.Is(err, route.ErrInvalidURL) && !errors.Is(err, route.ErrPathEscapes) {
				t.Fatalf("URL(%q, %q, %q) is %q, and Join returns %v", path, first, second, raw, err)
			}
			return
		}
		assertBelow(t, gateway, got)
		segments := strings.Split(strings.TrimPrefix(got.EscapedPath(), "/"), "/")
		if len(segments) < 3 || got.RawQuery != "" || got.Fragment != "" {
			t.Fatalf("URL(%q, %q, %q) leads to %q, which is not the base path with two segments", path, first, second, got)
		}
		for i, want := range []string{first, second} {
			if segment, err := url.PathUnescape(segments[len(segments)-2+i]); err != nil || segment != want {
				t.Fatalf("URL(%q, %q, %q) leads to %q, whose segment is %q (error %v), want %q", path, first, second, got, segment, err, want)
			}
		}
	})
}
