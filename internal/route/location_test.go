package route_test

import (
	"net/url"
	"testing"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/internal/route"
)

func TestLocation(t *testing.T) {
	t.Parallel()
	const (
		plain   = "https://gw.example"
		based   = "https://gw.example/base"
		mcp     = "https://gw.example/v1/mcp"
		escaped = "https://gw.example/b%2Fc"
	)
	for _, test := range []struct{ name, gateway, asked, location, want string }{
		{"a path", based, "/v1/x", "/base/y", "/y"},
		{"a path, no base path", plain, "/v1/x", "/y", "/y"},
		{"a path, base path of a slash", plain + "/", "/v1/x", "/y", "/y"},
		{"a path, base path with a slash", based + "/", "/v1/x", "/base/y", "/y"},
		{"a sibling", based, "/v1/x", "y?q#f", "/v1/y?q#f"},
		{"a sibling, hostless without a slash", based, "v1/x", "y", "/v1/y"},
		{"up and down", based, "/v1/x", "../v2/y/", "/v2/y/"},
		{"a query", based, "/v1/x", "?q", "/v1/x?q"},
		{"an empty query", based, "/v1/x", "?", "/v1/x?"},
		{"a fragment", based, "/v1/x", "#f", "/v1/x#f"},
		{"a query to the query of the request", based, "/v1/x?old", "?q", "/v1/x?q"},
		{"a host", based, "/v1/x", "//gw.example/base/y", "/y"},
		{"an escaped path", based, "/v1/x", "/base/a%2Fb", "/a%2Fb"},
		{"an escaped base path", escaped, "/v1/x", "/b%2Fc/y", "/y"},
		{"an ORD id", based, "/v1/x", "./sap.s4:order", "/v1/sap.s4:order"},
		{"the base path with a slash", based, "/v1/x", "/base/", "/"},
		{"the root, no base path", plain, "/v1/x", "/", "/"},
		{"below /v1/mcp", mcp, "/v1/mcp/o/t", "/v1/mcp/o/u", "/o/u"},

		{"the base path without a slash, which no path below it means", based, "/v1/x", "/base", based},
		{"beside the base path", based, "/v1/x", "/basement", "https://gw.example/basement"},
		{"out of the base path", based, "/v1/x", "/y", "https://gw.example/y"},
		{"out of the base path by ..", based, "/v1/x", "/base/../y", "https://gw.example/y"},
		{"a base path spelled differently", escaped, "/v1/x", "/b%2fc/y", "https://gw.example/b%2fc/y"},
		{"/v1/mcp twice, which would become once", mcp, "/v1/mcp/o/t", "/v1/mcp/v1/mcp/x", "https://gw.example/v1/mcp/v1/mcp/x"},
		{"two slashes, which would name a host", based, "/v1/x", "/base//evil.example/y", "https://gw.example/base//evil.example/y"},
		{"two slashes, no base path", plain, "/v1/x", "/.//evil.example/y", "https://gw.example//evil.example/y"},
		{"an encoded .., which would be refused", based, "/v1/x", "/base/%2e%2e/y", "https://gw.example/base/%2e%2e/y"},
		{"a foreign host", based, "/v1/x", "//evil.example/base/y", "https://evil.example/base/y"},
		{"the placeholder without a scheme", based, "/v1/x", "//agent-gateway.invalid/base/y", "https://agent-gateway.invalid/base/y"},
		{"another port", based, "/v1/x", "//gw.example:8443/base/y", "https://gw.example:8443/base/y"},
		{"a user", based, "/v1/x", "//u@gw.example/base/y", "https://u@gw.example/base/y"},

		{"absolute", based, "/v1/x", "https://gw.example/base/y", "https://gw.example/base/y"},
		{"absolute, the placeholder", based, "/v1/x", "https://agent-gateway.invalid/y", "https://agent-gateway.invalid/y"},
		{"absolute and foreign", based, "/v1/x", "http://evil.example", "http://evil.example"},
		{"opaque", based, "/v1/x", "sap.s4:order", "sap.s4:order"},
		{"malformed", based, "/v1/x", "%zz", "%zz"},
		{"empty", based, "/v1/x", "", ""},

		{"of a request that names the gateway", based, "https://gw.example/base/v1/x", "/base/y", "https://gw.example/base/y"},
		{"a sibling, of a request that names the gateway", based, "https://gw.example/base/v1/x", "y", "https://gw.example/base/v1/y"},
		{"the host spelled differently", based, "https://GW.example:443/base/v1/x", "y", "https://gw.example/base/v1/y"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gateway, asked := mustURL(t, test.gateway), mustURL(t, test.asked)
			all := []*url.URL{asked}
			if asked.Host == "" { // the same with the placeholder
				all = append(all, mustURL(t, "https://agent-gateway.invalid").ResolveReference(asked))
			}
			for _, asked := range all {
				sent, err := route.Join(gateway, asked)
				if err != nil {
					t.Fatal(err)
				}
				before := []url.URL{*gateway, *asked, *sent}
				if got := route.Location(gateway, asked, sent, test.location); got != test.want {
					t.Errorf("the Location %q of a request for %s:\n got %s\nwant %s", test.location, asked, got, test.want)
				}
				if *gateway != before[0] || *asked != before[1] || *sent != before[2] {
					t.Errorf("a URL was modified: %s, %s, %s", gateway, asked, sent)
				}
			}
		})
	}
}

// Whoever follows a Location gets where the gateway said, and by a relative one nowhere
// but below the gateway's path.
func FuzzLocation(f *testing.F) {
	for _, location := range []string{"/base/y", "y", "//evil.example", "/base//evil.example", "/base/v1/mcp/v1/mcp/x", "..", "?q", "/base/%2e%2e/y", "/base/.//x", "/base/a:b", `/base/\x`} {
		for _, base := range []string{"", "/base", "/base/v1/mcp", "/b%2Fc"} {
			f.Add(base, location)
		}
	}
	f.Fuzz(func(t *testing.T, base, location string) {
		gateway, err := url.Parse("https://gw.example" + base)
		if err != nil || gateway.Host != "gw.example" || gateway.RawQuery != "" || gateway.User != nil {
			return
		}
		for _, raw := range []string{"/v1/x", "v1/x", "https://agent-gateway.invalid/v1/x?q", "https://gw.example/base/v1/x"} {
			asked := mustURL(t, raw)
			sent, err := route.Join(gateway, asked)
			if err != nil {
				return
			}
			target, err := sent.Parse(location)
			if err != nil {
				continue
			}
			if _, err := url.Parse(target.String()); err != nil { // such as https://::
				continue
			}
			got := route.Location(gateway, asked, sent, location)
			if ref := mustURL(t, location); location == "" || ref.IsAbs() {
				if got != location {
					t.Fatalf("the Location %q became %q, want it to stay", location, got)
				}
				continue
			}
			followed, err := asked.Parse(got)
			if err != nil {
				t.Fatalf("the Location %q of %s became %q, which cannot be followed: %v", location, sent, got, err)
			}
			if !route.IsRelative(asked) || !route.IsRelative(followed) {
				if got != target.String() {
					t.Fatalf("the Location %q of %s became %q, want %q", location, sent, got, target)
				}
				continue
			}
			end, err := route.Join(gateway, followed)
			if err != nil || end.String() != target.String() || !origin.Same(end, gateway) {
				t.Fatalf("the Location %q of %s became %q, which leads to %v (error %v), want %q", location, sent, got, end, err, target)
			}
		}
	})
}
