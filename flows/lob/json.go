package lob

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// An object is a JSON object. Its members are matched to the letter, which the
// fields of a Go struct are not.
type object map[string]json.RawMessage

// parseObject returns a JSON object; ok is false if data is none.
func parseObject(data []byte) (o object, ok bool) {
	if !utf8.Valid(data) || json.Unmarshal(data, &o) != nil {
		return nil, false
	}
	return o, o != nil
}

// parseList returns a JSON array; ok is false if data is none.
func parseList(data []byte) (list []json.RawMessage, ok bool) {
	if !utf8.Valid(data) || json.Unmarshal(data, &list) != nil {
		return nil, false
	}
	return list, list != nil
}

// text returns the first of the named members that is a string and not blank,
// without white space around it; "" if there is none.
func (o object) text(names ...string) string {
	for _, name := range names {
		var s string
		if json.Unmarshal(o[name], &s) != nil {
			continue
		}
		if s = strings.TrimSpace(s); s != "" {
			return s
		}
	}
	return ""
}

// sendable reports whether s can be a part of a header's value: it consists of
// printable ASCII characters (RFC 9110, section 5.5).
func sendable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// visible reports whether s is sendable and has no space in it, as a bearer token
// (RFC 6750, section 2.1).
func visible(s string) bool { return sendable(s) && !strings.Contains(s, " ") }
