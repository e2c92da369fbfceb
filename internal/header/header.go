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

// isBetween reports whether all bytes of s are ASCII from first to last. It looks at eight
// at a time: users' tokens are long, and each inbound request brings one.
func isBetween(s string, first, last byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// The high bit of a byte shows that the byte is not ASCII, is below first, or is
		// above last. A borrow or carry reaches the next byte only from one of those.
		if (x|(x-ones*uint64(first))|(x+ones*uint64(0x7f-last)))&high != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < first || s[i] > last {
			return false
		}
	}
	return true
}
