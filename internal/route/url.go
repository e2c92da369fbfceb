package route

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrInvalidURL: [URL] was given a part that no URL can be made of.
var ErrInvalidURL = errors.New("agw: invalid URL")

// invalidScheme begins the URL that [URL] returns in place of an error. Its host is the
// part, a dot, and one of problems: agw-invalid-url://segment-2.is-empty. The scheme is
// one that no HTTP client sends anything to.
const invalidScheme = "agw-invalid-url"

// The problems of a part, with what to do about them.
var problems = map[string]string{
	"is-empty":             "is empty: pass the id that belongs there",
	"is-a-dot-segment":     `is "." or "..", which no escaping makes a name: pass an id`,
	"is-an-absolute-url":   "is an absolute URL: request that URL itself, without gw.URL",
	"has-an-empty-segment": "has two slashes in a row: is an id between them empty? Pass ids as segments",
	"has-a-dot-segment":    `has a "." or ".." segment: pass the path that it leads to`,
	"has-a-query":          "has a query or fragment, which no segment can follow: append it to what gw.URL returns",
}

// URL returns the URL of path below the gateway's own path, followed by segments, each of
// which is escaped as one. Its host is the placeholder. path is one that is escaped
// already, with or without a slash in front; it may be empty. Without segments it may end
// in a slash, a query or a fragment, which are kept.
//
// If a part is not what belongs there, URL returns a URL for which [Check] returns an
// error that names the part. That is so for a segment that is empty, "." or "..", for a
// path that has one of those, and for a part that is an absolute URL.
func URL(path string, segments ...string) string {
	trimmed := strings.TrimPrefix(path, "/")
	if len(segments) > 0 {
		trimmed = strings.TrimSuffix(trimmed, "/")
	}
	if problem := problemOfPath(path, trimmed, len(segments) > 0); problem != "" {
		return invalidScheme + "://path." + problem
	}
	var b strings.Builder
	b.WriteString("https://" + PlaceholderHost)
	if trimmed != "" || len(segments) == 0 {
		b.WriteString("/" + escapeInvalid(trimmed))
	}
	for i, segment := range segments {
		if problem := problemOfSegment(segment); problem != "" {
			return fmt.Sprintf("%s://segment-%d.%s", invalidScheme, i+1, problem)
		}
		b.WriteString("/" + url.PathEscape(segment))
	}
	return b.String()
}

// problemOfPath returns what is wrong with path, which is trimmed without the slashes
// that do not matter; "" if nothing is.
func problemOfPath(path, trimmed string, segmentsFollow bool) string {
	if isAbsoluteURL(path) {
		return "is-an-absolute-url"
	}
	if end := strings.IndexAny(trimmed, "?#"); end >= 0 {
		if segmentsFollow {
			return "has-a-query"
		}
		trimmed = trimmed[:end]
	}
	if trimmed == "" {
		return ""
	}
	if !segmentsFollow && trimmed != "/" {
		trimmed = strings.TrimSuffix(trimmed, "/")
	}
	for segment := range strings.SplitSeq(trimmed, "/") {
		switch segment {
		case "":
			return "has-an-empty-segment"
		case ".", "..":
			return "has-a-dot-segment"
		}
	}
	return ""
}

// escapeInvalid returns path, and what may follow it, with the characters escaped that no
// URL has (RFC 3986, appendix A), such as spaces and those beyond ASCII. A path that has
// one is not valid for package net/url, which then ignores how the rest is escaped: %2F in
// a segment would become a slash. Control characters stay, for http.NewRequest to refuse.
func escapeInvalid(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == ' ' || c > '~' && c != 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func problemOfSegment(segment string) string {
	switch {
	case segment == "":
		return "is-empty"
	case segment == "." || segment == "..":
		return "is-a-dot-segment"
	case isAbsoluteURL(segment):
		return "is-an-absolute-url"
	}
	return ""
}

// isAbsoluteURL reports whether part begins with a scheme (RFC 3986, section 3.1) and
// "://". An ORD id does not.
func isAbsoluteURL(part string) bool {
	scheme, _, found := strings.Cut(part, "://")
	if !found || scheme == "" {
		return false
	}
	for i, c := range []byte(scheme) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	return true
}

// invalidURLError returns the error that u, whose scheme is invalidScheme, stands for.
func invalidURLError(u *url.URL) error {
	part, problem, _ := strings.Cut(u.Host, ".")
	advice, known := problems[problem]
	if number, isSegment := strings.CutPrefix(part, "segment-"); isSegment && strings.Trim(number, "0123456789") == "" {
		part = "segment " + number
	} else if part == "path" {
		part = "the path"
	} else {
		known = false
	}
	if !known { // URL has not made it
		return ErrInvalidURL
	}
	return fmt.Errorf("%w: %s given to gw.URL %s", ErrInvalidURL, part, advice)
}
