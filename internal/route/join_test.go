package route_test

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/internal/route"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	const host = "https://agent-gateway.invalid"
	for _, test := range []struct{ name, gateway, ref, want string }{
		{"no base path", "https://gw.example", host + "/v1/x", "https://gw.example/v1/x"},
		{"port of the gateway", "https://gw.example:8443", host + "/v1/x", "https://gw.example:8443/v1/x"},
		{"placeholder in capitals", "https://gw.example", "HTTPS://Agent-Gateway.INVALID/v1/x", "https://gw.example/v1/x"},
		{"placeholder with port 443", "https://gw.example", host + ":443/v1/x", "https://gw.example/v1/x"},
		{"placeholder with an empty port", "https://gw.example", host + ":/v1/x", "https://gw.example/v1/x"},
		{"placeholder without path", "https://gw.example/base", host, "https://gw.example/base"},
		{"placeholder with user info", "https://gw.example", "https://u:p@agent-gateway.invalid/x", "https://gw.example/x"},
		{"host-less", "https://gw.example/base", "/v1/x", "https://gw.example/base/v1/x"},
		{"host-less without slash", "https://gw.example/base", "v1/x", "https://gw.example/base/v1/x"},
		{"host-less ORD id", "https://gw.example", "/sap.s4:apiAccess:order:v1/t", "https://gw.example/sap.s4:apiAccess:order:v1/t"},
		{"query and fragment", "https://gw.example/base", host + "/x?a=%2F&b#f", "https://gw.example/base/x?a=%2F&b#f"},
		{"base path", "https://gw.example/base/path", host + "/v1/x", "https://gw.example/base/path/v1/x"},
		{"base path with slash", "https://gw.example/base/", host + "/v1/x", "https://gw.example/base/v1/x"},
		{"base path of a slash", "https://gw.example/", host + "/v1/x", "https://gw.example/v1/x"},
		{"trailing slash kept", "https://gw.example/base", host + "/v1/x/", "https://gw.example/base/v1/x/"},
		{"two slashes", "https://gw.example", host + "//evil.example/x", "https://gw.example//evil.example/x"},
		{"escaped path", "https://gw.example/base", host + "/a%2Fb/c%20d", "https://gw.example/base/a%2Fb/c%20d"},
		{"escaped path, no base path", "https://gw.example", host + "/a%2Fb", "https://gw.example/a%2Fb"},
		{"escaped base path", "https://gw.example/b%2Fc", host + "/v1/x y", "https://gw.example/b%2Fc/v1/x%20y"},
		{"escaped base path with slash", "https://gw.example/b%2Fc/", host + "/v1", "https://gw.example/b%2Fc/v1"},
		{"escaped slash in front", "https://gw.example/base", "%2Fx", "https://gw.example/base/%2Fx"},
		{"a percent sign", "https://gw.example/base", host + "/100%25", "https://gw.example/base/100%25"},

		{"v1/mcp once", "https://gw.example/v1/mcp", host + "/v1/mcp/ord/t", "https://gw.example/v1/mcp/ord/t"},
		{"v1/mcp once, below a base path", "https://gw.example/base/v1/mcp", host + "/v1/mcp/ord/t", "https://gw.example/base/v1/mcp/ord/t"},
		{"v1/mcp once, with more", "https://gw.example/v1/mcp/more", host + "/v1/mcp/ord", "https://gw.example/v1/mcp/more/ord"},
		{"v1/mcp once, escaped", "https://gw.example/v1/mcp", host + "/v1/mcp/o%2Frd", "https://gw.example/v1/mcp/o%2Frd"},
		{"v1/mcp once, escaped base path", "https://gw.example/b%2Fc/v1/mcp", host + "/v1/mcp/ord", "https://gw.example/b%2Fc/v1/mcp/ord"},
		{"v1/mcp alone", "https://gw.example/v1/mcp", host + "/v1/mcp", "https://gw.example/v1/mcp"},
		{"v1/mcp with slash", "https://gw.example/v1/mcp", host + "/v1/mcp/", "https://gw.example/v1/mcp/"},
		{"v1/mcp is no segment of the path", "https://gw.example/v1/mcp", host + "/v1/mcpx", "https://gw.example/v1/mcp/v1/mcpx"},
		{"v1/mcp is no segment of the base", "https://gw.example/v1/mcpx", host + "/v1/mcp/o", "https://gw.example/v1/mcpx/v1/mcp/o"},
		{"v1/mcp is no beginning of a segment", "https://gw.example/xv1/mcp", host + "/v1/mcp/o", "https://gw.example/xv1/mcp/v1/mcp/o"},
		{"v1/a2a is another path", "https://gw.example/v1/mcp", host + "/v1/a2a/o", "https://gw.example/v1/mcp/v1/a2a/o"},

		{"dots that are no segment", "https://gw.example/base", host + "/a..b/...;/x../.", "https://gw.example/base/a..b/...;/x../."},

		{"absolute", "https://gw.example/base", "https://gw.example/v1/mcp/x", "https://gw.example/v1/mcp/x"},
		{"absolute, default port", "https://gw.example/base", "https://GW.example:443/x", "https://gw.example/x"},
		{"absolute, port of the gateway", "https://gw.example:443/base", "https://gw.example/x", "https://gw.example:443/x"},
		{"absolute, user info", "https://gw.example", "https://agent-gateway.invalid@gw.example/x", "https://gw.example/x"},
		{"absolute, escaped", "https://gw.example/base", "https://gw.example/a%2F../x", "https://gw.example/a%2F../x"},
		{"absolute IPv6", "http://[::1]:8080", "http://[::1]:8080/x", "http://[::1]:8080/x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gateway, ref := mustURL(t, test.gateway), mustURL(t, test.ref)
			user := ref.User
			got, err := route.Join(gateway, ref)
			if err != nil {
				t.Fatalf("a request for %s at %s: %v", ref, gateway, err)
			}
			if got.String() != test.want {
				t.Errorf("a request for %s at %s:\n got %s\nwant %s", ref, gateway, got, test.want)
			}
			if reparsed := mustURL(t, got.String()); reparsed.Path != got.Path {
				t.Errorf("Path is %q, but a server gets %q", got.Path, reparsed.Path)
			}
			untouched := mustURL(t, test.ref)
			untouched.User = user // a pointer
			if gateway.String() != test.gateway || *ref != *untouched {
				t.Errorf("an argument was modified: the gateway is %s now, the reference %s", gateway, ref)
			}
		})
	}
}

func TestJoinRefuses(t *testing.T) {
	t.Parallel()
	const host = "https://agent-gateway.invalid"
	for _, test := range []struct {
		ref  string
		want error
	}{
		{"sap.s4:apiAccess:order:v1/tenant", route.ErrOpaqueURL},
		{"https:v1/mcp", route.ErrOpaqueURL},

		{"https://evil.example/x", route.ErrForeignHost},
		{"http://gw.example/x", route.ErrForeignHost},
		{"https://gw.example:8443/x", route.ErrForeignHost},
		{"https://gw.example./x", route.ErrForeignHost},
		{"https://gw.example.evil.example/x", route.ErrForeignHost},
		{"https://gw.example@evil.example/x", route.ErrForeignHost},
		{"https://agent-gateway.invalid@evil.example/x", route.ErrForeignHost},
		{"https://agent-gateway.invalid:443@evil.example/x", route.ErrForeignHost},
		{"https://agent-gateway.invalid.evil.example/x", route.ErrForeignHost},
		{"https://agent-gateway.invalid./x", route.ErrForeignHost},
		{"http://agent-gateway.invalid/x", route.ErrForeignHost},
		{"http://agent-gateway.invalid:443/x", route.ErrForeignHost},
		{"https://agent-gateway.invalid:80/x", route.ErrForeignHost},
		{"https://agent-gateway.invalid:0443/x", route.ErrForeignHost},
		{"ftp://agent-gateway.invalid/x", route.ErrForeignHost},
		{"//gw.example/x", route.ErrForeignHost},
		{"//agent-gateway.invalid/x", route.ErrForeignHost},
		{"//evil.example/x", route.ErrForeignHost},
		{"https:///x", route.ErrForeignHost},
		{"https:/x", route.ErrForeignHost},
		{"https://:443/x", route.ErrForeignHost},

		{"..", route.ErrPathEscapes},
		{"/..", route.ErrPathEscapes},
		{"../x", route.ErrPathEscapes},
		{host + "/../x", route.ErrPathEscapes},
		{host + "/a/../../x", route.ErrPathEscapes},
		{host + "/a//../..", route.ErrPathEscapes},
		{host + "/v1/mcp/../x", route.ErrPathEscapes},
		{host + "/a/..?q", route.ErrPathEscapes},
		{host + "/%2e%2e/x", route.ErrPathEscapes},
		{host + "/.%2E/x", route.ErrPathEscapes},
		{host + "/a%2f..%2f..%2fx", route.ErrPathEscapes},
		{host + "/a%2F%2e%2e", route.ErrPathEscapes},
		{host + `/a\..\x`, route.ErrPathEscapes},
		{host + "/a%5c..%5Cx", route.ErrPathEscapes},
		{host + "/..;/x", route.ErrPathEscapes},
		{host + "/..%3bv=1/x", route.ErrPathEscapes},
		{host + "/%252e%252e/x", route.ErrPathEscapes},
		{host + "/%25252e./x", route.ErrPathEscapes},
		{host + "/a%252f..", route.ErrPathEscapes},
	} {
		t.Run(test.ref, func(t *testing.T) {
			t.Parallel()
			got, err := route.Join(mustURL(t, "https://gw.example/base"), mustURL(t, test.ref))
			if !errors.Is(err, test.want) {
				t.Errorf("a request for %s: got %v and error %v, want error %q", test.ref, got, err, test.want)
			}
		})
	}
}

// However often, and mixed with what, a segment is encoded, it is found, and in one
// pass: the last of these would take hours to decode layer by layer.
func TestJoinDecodesToTheEnd(t *testing.T) {
	t.Parallel()
	gateway := mustURL(t, "https://gw.example/base")
	for path, want := range map[string]error{
		"/100%25/%252e%252e/x":                             route.ErrPathEscapes, // not every server gives up at the first one
		"/%25zz/%252e%252e/x":                              route.ErrPathEscapes,
		"/%252%65%252%65/x":                                route.ErrPathEscapes,
		"/%2525252525252e.":                                route.ErrPathEscapes,
		"/100%25/x":                                        nil,
		"/%252e/%252e%252e%252e/a..b":                      nil,
		"/%" + strings.Repeat("25", 4<<20) + "2e./x":       route.ErrPathEscapes,
		"/a" + strings.Repeat("%25", 4<<20) + "2e2e2e2e2e": nil,
	} {
		if _, err := route.Join(gateway, mustURL(t, "https://agent-gateway.invalid"+path)); !errors.Is(err, want) {
			t.Errorf("a request for %.40s: got error %v, want %v", path, err, want)
		}
	}
}

// URLs that do not come from a parser.
func TestJoinURLsMadeByHand(t *testing.T) {
	t.Parallel()
	gateway := mustURL(t, "https://gw.example/base")
	for _, ref := range []*url.URL{
		{Scheme: "https", Host: "gw.example@evil.example"},
		{Scheme: "https", Host: "agent-gateway.invalid:443:443"},
		{Scheme: "https", Host: "agent-gateway.invalid:443@evil.example"},
		{Scheme: "https", Host: "evil.example/agent-gateway.invalid"},
		{Scheme: "https", Host: "agent-gateway.invalid/../evil.example"},
	} {
		if got, err := route.Join(gateway, ref); !errors.Is(err, route.ErrForeignHost) {
			t.Errorf("a request for %#v: got %v and error %v, want an ErrForeignHost", ref, got, err)
		}
	}
	if _, err := route.Join(new(url.URL), &url.URL{Path: "/x"}); !errors.Is(err, route.ErrNoGateway) {
		t.Errorf("a gateway without a host: got error %v, want an ErrNoGateway", err)
	}
	for want, ref := range map[string]*url.URL{
		"https://gw.example/base//evil.example/x": {Path: "//evil.example/x"},
		"https://gw.example/base/a%3Fb%23c%0D%0A": {Path: "/a?b#c\r\n"},
		"https://gw.example/base/a%20b":           {Path: "/a b", RawPath: "/not/that"},
		"https://gw.example/base/%2A":             {Path: "*"},
		"https://gw.example/base/x":               {Path: "/x", OmitHost: true},
	} {
		got, err := route.Join(gateway, ref)
		if err != nil || got.String() != want {
			t.Errorf("a request for %#v: got %v and error %v, want %s", ref, got, err, want)
		}
	}
}

func TestForeignHostError(t *testing.T) {
	t.Parallel()
	_, err := route.Join(mustURL(t, "https://GW.example/hidden"), mustURL(t, "https://hidden:hidden@Evil.example:8443/hidden?hidden"))
	foreign := (*route.ForeignHostError)(nil)
	if !errors.As(err, &foreign) || !errors.Is(err, route.ErrForeignHost) {
		t.Fatalf("got error %v (%T), want a *ForeignHostError that is an ErrForeignHost", err, err)
	}
	if want := (route.ForeignHostError{Target: "https://evil.example:8443", Gateway: "https://gw.example:443"}); *foreign != want {
		t.Errorf("got %+v, want %+v", *foreign, want)
	}
	down := errors.New("down")
	for _, test := range []struct {
		name   string
		change func()
		want   string
	}{
		{"of a request", func() {}, `the request is for "https://evil.example:8443", the gateway is "https://gw.example:443"`},
		{"of a redirect", func() { foreign.Redirected = true }, `a redirect leads to "https://evil.example:8443", the gateway is "https://gw.example:443"`},
		{"without a token", func() { foreign.NoToken = down }, `a redirect leads to "https://evil.example:8443", the last known gateway is "https://gw.example:443" (down)`},
	} {
		test.change()
		want := "agw: foreign host (use gw.URL for the gateway, and another client for other hosts): " + test.want
		if err.Error() != want {
			t.Errorf("the error %s:\n got %v\nwant %s", test.name, err, want)
		}
	}
	if !errors.Is(err, route.ErrForeignHost) || !errors.Is(err, down) {
		t.Errorf("%v does not wrap both ErrForeignHost and the reason why there is no token", err)
	}
}

func TestJoinIntoAllocatesLittle(t *testing.T) { // not parallel, since it counts allocations
	for _, test := range []struct {
		name, gateway, ref string
		want               float64
	}{
		{"no base path", "https://gw.example", "https://agent-gateway.invalid/v1/mcp/o/t", 0},
		{"an absolute URL", "https://gw.example/base", "https://gw.example/base/v1/mcp/o/t", 0},
		{"a base path", "https://gw.example/base", "https://agent-gateway.invalid/v1/mcp/o/t", 1},
		{"v1/mcp, which is not repeated", "https://gw.example/v1/mcp", "https://agent-gateway.invalid/v1/mcp/o/t", 1},
	} {
		gateway, ref, u := mustURL(t, test.gateway), mustURL(t, test.ref), new(url.URL)
		if n := testing.AllocsPerRun(100, func() {
			if err := route.JoinInto(u, gateway, ref); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}); n > test.want {
			t.Errorf("%s: %v allocations, want at most %v", test.name, n, test.want)
		}
		if joined, err := route.Join(gateway, ref); err != nil || *joined != *u {
			t.Errorf("%s: JoinInto makes %s, Join %v (error %v)", test.name, u, joined, err)
		}
	}
}

func FuzzJoin(f *testing.F) {
	for _, ref := range []string{"/v1/mcp/x", "https://agent-gateway.invalid/a%2Fb?q", "/..", "/%2e%2e/x", `\..\x`, "/a%252f..", "//evil.example",
		"https://u@agent-gateway.invalid:443/", "sap.s4:x", "https://gw.example/x", "/..;/", "*", "%2F", "/%"} {
		for _, base := range []string{"", "/base", "/b%2Fc/v1/mcp"} {
			f.Add(base, ref)
		}
	}
	f.Fuzz(func(t *testing.T, base, rawRef string) {
		gateway := &url.URL{Scheme: "https", Host: "gw.example"}
		if parsed, err := url.Parse("https://gw.example/" + strings.Trim(base, "/")); err == nil && path.Clean(parsed.Path) == parsed.Path {
			gateway.Path, gateway.RawPath = parsed.Path, parsed.RawPath
		}
		ref, err := url.Parse(rawRef)
		if err != nil {
			return
		}
		got, err := route.Join(gateway, ref)
		if err != nil {
			return
		}
		if got.Scheme != gateway.Scheme || got.Host != gateway.Host || got.User != nil || got.Opaque != "" {
			t.Fatalf("%q leads to %q", rawRef, got)
		}
		sent, err := url.Parse(got.String())
		if err != nil || !origin.Same(sent, gateway) || sent.RawQuery != ref.RawQuery {
			t.Fatalf("%q is sent as %q (%v)", rawRef, got, err)
		}
		if ref.Host == "" || !strings.EqualFold(ref.Hostname(), gateway.Hostname()) {
			assertBelow(t, gateway, sent)
		}
	})
}

// assertBelow fails if some server could take u's path for one outside base's.
func assertBelow(t *testing.T, base, u *url.URL) {
	t.Helper()
	decode := func(p string) string { return strings.ReplaceAll(p, `\`, "/") }
	prefix := strings.TrimRight(path.Clean("/"+decode(base.Path)), "/")
	for p, last := u.Path, ""; p != last; {
		clean := path.Clean("/" + decode(p))
		if clean != prefix && !strings.HasPrefix(clean+"/", prefix+"/") {
			t.Fatalf("%q is outside of %q", u, base)
		}
		last = p
		if decoded, err := url.PathUnescape(p); err == nil {
			p = decoded
			if b, err := url.PathUnescape(prefix); err == nil {
				prefix = strings.TrimRight(path.Clean("/"+decode(b)), "/")
			}
		}
	}
}
