package transport

import (
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/origin"
)

// PlaceholderHost stands for the gateway of whoever a request acts for, in URLs of
// scheme https and with no port or 443. See the package documentation.
const PlaceholderHost = "agent-gateway.invalid"

// mcpPrefix is what a gateway's URL may or may not end with already.
const mcpPrefix = "/v1/mcp"

// Join returns where a request for ref goes at the given gateway. Scheme and host
// are always the gateway's; query and fragment are ref's; user info is dropped.
//
// A ref that is the placeholder's, or has neither scheme nor host, has its path
// joined to that of the gateway, the escaping of both kept. If /v1/mcp is part of
// the gateway's path and also the beginning of ref's, it is not repeated.
// [ErrPathEscapes] means that ref has a ".." segment, be it percent-encoded (once or
// more often), delimited by backslashes, or followed by path parameters.
//
// Any other ref must be of the gateway's origin, else the error is an
// [ErrForeignHost]; its path is taken as it is. [ErrOpaqueURL] is for a ref that has
// no path at all. Neither URL is modified.
func Join(gateway, ref *url.URL) (*url.URL, error) {
	u := new(url.URL)
	if err := join(u, gateway, ref); err != nil {
		return nil, err
	}
	return u, nil
}

// join is Join into u, which is of no use after an error.
func join(u, gateway, ref *url.URL) error {
	*u = *ref
	u.User, u.OmitHost = nil, false
	u.Scheme, u.Host = gateway.Scheme, gateway.Host // even if ref's are the same: nothing to spell differently
	switch {
	case ref.Opaque != "":
		return ErrOpaqueURL
	case gateway.Host == "":
		return ErrNoGateway
	case !relative(ref):
		if !origin.Same(gateway, ref) {
			return newForeignError(ref, gateway)
		}
		return nil
	case climbs(ref.Path):
		return ErrPathEscapes
	}
	u.Path, u.RawPath = joinPath(gateway, ref)
	return nil
}

// relative reports whether u is to be joined to the gateway's path.
func relative(u *url.URL) bool {
	if u.Host == "" {
		return u.Scheme == ""
	}
	return u.Host == PlaceholderHost && u.Scheme == "https" || // as most are written
		strings.EqualFold(u.Hostname(), PlaceholderHost) && strings.EqualFold(u.Scheme, "https") && origin.Port(u) == "443"
}

// joinPath returns the Path and the RawPath of ref below gateway.
func joinPath(gateway, ref *url.URL) (path, raw string) {
	base := strings.TrimRight(gateway.Path, "/")
	switch {
	case gateway.RawPath != "" || ref.RawPath != "":
		raw = strings.TrimRight(gateway.EscapedPath(), "/")
		raw += unrepeated(raw, rooted(ref.EscapedPath()))
		path, _ = url.PathUnescape(raw) // EscapedPath is valid
		return path, raw
	case base == "":
		return rooted(ref.Path), ""
	default:
		return base + unrepeated(base, rooted(ref.Path)), ""
	}
}

// rooted returns path with a slash before it, unless it is empty.
func rooted(path string) string {
	if path == "" || path[0] == '/' {
		return path
	}
	return "/" + path
}

// unrepeated returns path without the /v1/mcp that it begins with, if base has it.
func unrepeated(base, path string) string {
	rest, ok := strings.CutPrefix(path, mcpPrefix)
	if ok && (rest == "" || rest[0] == '/') && strings.Contains(base+"/", mcpPrefix+"/") {
		return rest
	}
	return path
}

// climbs reports whether path, which is decoded, has a segment that some server on
// the way could take for "..". Paths are decoded more than once where servers are
// chained, and some servers take a backslash for a slash.
func climbs(path string) bool {
	if strings.IndexByte(path, '%') >= 0 {
		path = decodedToTheEnd(path) // which leaves a ".." that is there already
	}
	return strings.Contains(path, "..") && climbsAsIs(path)
}

// decodedToTheEnd returns path decoded as often as that changes it. A percent sign
// that encodes nothing stays, as lenient servers let it. One pass will do, whatever
// somebody has thought up: what a byte completes is decoded before the next one.
func decodedToTheEnd(path string) string {
	decoded := make([]byte, 0, len(path))
	for i := range len(path) {
		decoded = append(decoded, path[i])
		for {
			n := len(decoded) - len("%2e")
			if n < 0 || decoded[n] != '%' {
				break
			}
			if _, err := hex.Decode(decoded[n:], decoded[n+1:]); err != nil {
				break
			}
			decoded = decoded[:n+1]
		}
	}
	return string(decoded)
}

// climbsAsIs reports whether path has a ".." segment, as it is or with path
// parameters (RFC 3986, section 3.3).
func climbsAsIs(path string) bool {
	isSlash := func(r rune) bool { return r == '/' || r == '\\' }
	for segment := range strings.FieldsFuncSeq(path, isSlash) {
		if name, _, _ := strings.Cut(segment, ";"); name == ".." {
			return true
		}
	}
	return false
}
