package route

import (
	"net/url"
	"strings"
)

// Location returns what a response's Location means to the caller of a request. The
// caller asked for asked; the request was sent to sent, at gateway. None of the URLs is
// modified.
//
// A Location that is relative, which means to sent (RFC 9110, section 10.2.2), becomes
// absolute. But if asked [IsRelative] and the Location is below the gateway's path, the
// result is a path that means the same to asked: without the path of the gateway, to
// which [Join] will join it. Any other Location stays as it is.
func Location(gateway, asked, sent *url.URL, location string) string {
	ref, err := url.Parse(location)
	if location == "" || err != nil || ref.IsAbs() {
		return location
	}
	target := sent.ResolveReference(ref)
	if !IsRelative(asked) {
		return target.String()
	}
	rest, found := strings.CutPrefix(target.EscapedPath(), strings.TrimRight(gateway.EscapedPath(), "/"))
	if !found || !strings.HasPrefix(rest, "/") {
		return target.String()
	}
	own := *target
	own.Scheme, own.Host = "", ""
	own.Path, _ = url.PathUnescape(rest) // EscapedPath is always valid
	own.RawPath = rest
	// Not every path leads back to where it was cut off: one that begins with two slashes
	// names a host, /v1/mcp is not repeated, and a ".." that a server decodes is refused.
	if followed, err := asked.Parse(own.String()); err == nil {
		if joined, err := Join(gateway, followed); err == nil && joined.String() == target.String() {
			return own.String()
		}
	}
	return target.String()
}
