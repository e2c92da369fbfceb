// Package header is the one rule of what may be part of the value of an HTTP header.
//
// It is stricter than RFC 9110, section 5.5: what this module sends is ASCII, and has
// no tabs.
package header

// IsText reports whether s consists of printable ASCII characters, of which the space
// is one. The empty string does.
func IsText(s string) bool { return isBetween(s, ' ', '~') }

// IsToken reports whether s can be sent as a bearer token: it is not empty and consists
// of visible ASCII characters. Characters that RFC 6750, section 2.1, does not list are
// accepted: some services issue tokens with them, and a header can carry them.
func IsToken(s string) bool { return s != "" && isBetween(s, '!', '~') }

func isBetween(s string, first, last byte) bool {
	for i := range len(s) {
		if s[i] < first || s[i] > last {
			return false
		}
	}
	return true
}
