// Package route knows the URLs of the gateway: where the MCP servers and A2A agents
// behind it are, and where a request of a caller, who need not know the gateway, goes.
//
// A request never leads away from the gateway: what [Join] returns has the gateway's
// scheme, host and port, and, unless the caller spelled them out, a path below the
// gateway's own.
package route

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/origin"
)

// PlaceholderHost stands for the gateway of whoever a request acts for, in URLs of
// scheme https that have no port or 443.
const PlaceholderHost = "agent-gateway.invalid"

const (
	mcpPath  = "/v1/mcp" // a gateway's URL may or may not end with it already
	a2aPath  = "/v1/a2a"
	cardPath = "/.well-known/agent-card.json"
)

var (
	// ErrForeignHost: the URL leads to another scheme, host or port than the gateway's.
	ErrForeignHost = errors.New("agw: foreign host (use gw.URL for the gateway, and another client for other hosts)")
	// ErrOpaqueURL: the URL has a scheme and no slash after it. That is how a relative
	// reference parses that begins with an ORD id, such as sap.s4:apiAccess:order:v1.
	ErrOpaqueURL = errors.New("agw: opaque URL: what is before its first colon counts as a scheme (before an ORD id, put a leading slash, or use gw.URL)")
	// ErrPathEscapes: the path has a ".." segment, however encoded, and could lead out
	// of the gateway's own path.
	ErrPathEscapes = errors.New(`agw: the path has a ".." segment, perhaps encoded (use the path that it leads to)`)
	// ErrNoGateway: a token came without the gateway that it is for.
	ErrNoGateway = errors.New("agw: the token came without the URL of its gateway (its flow has to name one)")
)

// A ForeignHostError is an [ErrForeignHost] that says which host. Of the URLs it keeps
// the origins alone, since the rest may be confidential.
type ForeignHostError struct {
	Target, Gateway string // such as https://host:443
	Redirected      bool   // a redirect leads to Target, the caller did not ask for it

	// NoToken is why there was no token that could have said otherwise; nil if the
	// gateway is certain.
	NoToken error
}

// NewForeignHostError returns the error of a request for target that is not of the
// gateway's origin.
func NewForeignHostError(target, gateway *url.URL) *ForeignHostError {
	return &ForeignHostError{Target: origin.String(target), Gateway: origin.String(gateway)}
}

func (e *ForeignHostError) Error() string {
	what := "the request is for"
	if e.Redirected {
		what = "a redirect leads to"
	}
	if e.NoToken != nil {
		return fmt.Sprintf("%v: %s %q, the last known gateway is %q (%v)", ErrForeignHost, what, e.Target, e.Gateway, e.NoToken)
	}
	return fmt.Sprintf("%v: %s %q, the gateway is %q", ErrForeignHost, what, e.Target, e.Gateway)
}

// Unwrap returns [ErrForeignHost] and NoToken.
func (e *ForeignHostError) Unwrap() []error {
	if e.NoToken == nil {
		return []error{ErrForeignHost}
	}
	return []error{ErrForeignHost, e.NoToken}
}

// MCP returns the URL of an MCP server: {gateway}/v1/mcp/{ORD id}/{global tenant id}. A
// /v1/mcp that the gateway's path already has is not repeated. The ids are escaped, but
// must not be empty, "." or "..": no escaping makes these a segment of a path.
func MCP(gateway *url.URL, ordID, tenantID string) string {
	if hasMCPPath(gateway.EscapedPath()) {
		return below(gateway, "", ordID, tenantID)
	}
	return below(gateway, mcpPath, ordID, tenantID)
}

// Agent returns the URL of an A2A agent: {gateway}/v1/a2a/{ORD id}/{global tenant id}.
// The ids are as those of [MCP].
func Agent(gateway *url.URL, ordID, tenantID string) string {
	return below(gateway, a2aPath, ordID, tenantID)
}

func below(gateway *url.URL, path, ordID, tenantID string) string {
	return strings.TrimRight(gateway.String(), "/") + path + "/" + url.PathEscape(ordID) + "/" + url.PathEscape(tenantID)
}

// hasMCPPath reports whether /v1/mcp is part of a gateway's path.
func hasMCPPath(path string) bool { return strings.Contains(path+"/", mcpPath+"/") }

// Card returns the URL of an agent's card, which is below the path of the agent's URL.
// The URL's query, if any, stays one.
func Card(agentURL string) string {
	end := strings.IndexAny(agentURL, "?#")
	if end < 0 {
		end = len(agentURL)
	}
	return strings.TrimRight(agentURL[:end], "/") + cardPath + agentURL[end:]
}

// IsRelative reports whether a request for u is relative to the gateway: u has neither
// scheme nor host, or is the placeholder's.
func IsRelative(u *url.URL) bool {
	if u.Host == "" {
		return u.Scheme == ""
	}
	return u.Host == PlaceholderHost && u.Scheme == "https" || // as most are written
		strings.EqualFold(u.Hostname(), PlaceholderHost) && strings.EqualFold(u.Scheme, "https") && origin.Port(u) == "443"
}

// Check returns the error of a ref that leads nowhere, whatever the gateway: an
// [ErrOpaqueURL] if it has no path at all, an [ErrInvalidURL] if [URL] could not make a URL
// of what it was given.
func Check(ref *url.URL) error {
	switch {
	case ref.Opaque != "":
		return ErrOpaqueURL
	case ref.Scheme == invalidScheme:
		return invalidURLError(ref)
	}
	return nil
}

// Join returns where a request for ref goes at the given gateway. Scheme and host are
// the gateway's; query and fragment are ref's; user info is dropped.
//
// The path of a ref that [IsRelative] is joined to that of the gateway, the escaping of
// both kept. If /v1/mcp is part of the gateway's path and also the beginning of ref's,
// it is not repeated. [ErrPathEscapes] means that ref has a ".." segment, be it percent-
// encoded (once or more often), delimited by backslashes, or followed by path
// parameters.
//
// Any other ref must be of the gateway's origin, or else the error is a
// [*ForeignHostError]; its path is taken as it is. Join fails with the errors of [Check],
// too, and with [ErrNoGateway] for a gateway without a host. Neither URL is modified.
func Join(gateway, ref *url.URL) (*url.URL, error) {
	u := new(url.URL)
	if err := JoinInto(u, gateway, ref); err != nil {
		return nil, err
	}
	return u, nil
}

// JoinInto is [Join] into u, whose content is of no use after an error. It allocates
// nothing but, if the gateway has a path or something is escaped, the path.
func JoinInto(u, gateway, ref *url.URL) error {
	*u = *ref
	u.User, u.OmitHost = nil, false
	u.Scheme, u.Host = gateway.Scheme, gateway.Host // even if ref's are equivalent, for others may compare them
	if err := Check(ref); err != nil {
		return err
	}
	switch {
	case gateway.Host == "":
		return ErrNoGateway
	case !IsRelative(ref):
		if !origin.Same(gateway, ref) {
			return NewForeignHostError(ref, gateway)
		}
		return nil
	case hasDotDot(ref.Path):
		return ErrPathEscapes
	}
	base := strings.TrimRight(gateway.Path, "/")
	switch {
	case gateway.RawPath != "" || ref.RawPath != "":
		escaped := strings.TrimRight(gateway.EscapedPath(), "/")
		escaped += withoutRepetition(escaped, withSlash(ref.EscapedPath()))
		u.Path, _ = url.PathUnescape(escaped) // EscapedPath is always valid
		u.RawPath = escaped
	case base == "":
		u.Path = withSlash(ref.Path)
	default:
		u.Path = base + withoutRepetition(base, withSlash(ref.Path))
	}
	return nil
}

// withSlash returns path with a slash in front, unless it is empty.
func withSlash(path string) string {
	if path == "" || path[0] == '/' {
		return path
	}
	return "/" + path
}

// withoutRepetition returns path without the /v1/mcp that it begins with, if base has
// one.
func withoutRepetition(base, path string) string {
	rest, ok := strings.CutPrefix(path, mcpPath)
	if ok && (rest == "" || rest[0] == '/') && hasMCPPath(base) {
		return rest
	}
	return path
}

// hasDotDot reports whether path, which is decoded, has a segment that some server on
// the way could take for "..": with path parameters (RFC 3986, section 3.3) it is one,
// too, and some servers take a backslash for a slash. Where servers are chained, paths
// are decoded more than once.
func hasDotDot(path string) bool {
	if strings.IndexByte(path, '%') >= 0 {
		path = fullyDecoded(path) // a ".." that is there already stays
	}
	if !strings.Contains(path, "..") {
		return false
	}
	isSlash := func(r rune) bool { return r == '/' || r == '\\' }
	for segment := range strings.FieldsFuncSeq(path, isSlash) {
		if name, _, _ := strings.Cut(segment, ";"); name == ".." {
			return true
		}
	}
	return false
}

// fullyDecoded returns path decoded as often as that changes it. A percent sign that
// encodes nothing stays, as lenient servers let it. One pass is enough, whatever the
// path: what a byte completes is decoded before the next byte is looked at.
func fullyDecoded(path string) string {
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
