package header_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/header"
)

func TestTextAndToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, value     string
		isText, isToken bool
	}{
		{"nothing", "", true, false},
		{"a JWT", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", true, true},
		{"every character of RFC 6750", "azAZ09-._~+/==", true, true},
		{"the first and the last visible character", "!~", true, true},
		{"characters that RFC 6750 does not list", `"a":{b},c;d`, true, true},
		{"a space in between", "a b", true, false},
		{"a space in front", " a", true, false},
		{"a space behind", "a ", true, false},
		{"a single space", " ", true, false},
		{"a tab", "a\tb", false, false},
		{"a line feed", "a\nb", false, false},
		{"a carriage return and a line feed", "a\r\nX-Injected: b", false, false},
		{"a NUL", "a\x00", false, false},
		{"the last control character before the space", "a\x1f", false, false},
		{"a DEL", "a\x7f", false, false},
		{"a letter that is not ASCII", "aé", false, false},
		{"a byte that is not UTF-8", "a\xff", false, false},
		{"a no-break space", "a\u00a0b", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := header.IsText(test.value); got != test.isText {
				t.Errorf("IsText(%q) is %v, want %v", test.value, got, test.isText)
			}
			if got := header.IsToken(test.value); got != test.isToken {
				t.Errorf("IsToken(%q) is %v, want %v", test.value, got, test.isToken)
			}
		})
	}
}

// What is called text arrives in one piece, without the spaces around it at most.
func FuzzIsText(f *testing.F) {
	for _, value := range []string{"", "a b", "a\r\nb: c", "é", "\x7f", "!~", "  ", "a: b"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if header.IsToken(value) && !header.IsText(value) {
			t.Fatalf("%q is a token, but not text", value)
		}
		if !header.IsText(value) {
			return
		}
		received, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: a\r\nX-Value: " + value + "\r\n\r\n")))
		if err != nil {
			t.Fatalf("a request with the value %q cannot be read: %v", value, err)
		}
		if got, want := received.Header.Get("X-Value"), strings.Trim(value, " "); got != want || len(received.Header) != 1 {
			t.Fatalf("%q arrives as %q among %d headers", value, got, len(received.Header))
		}
		if header.IsToken(value) && received.Header.Get("X-Value") != value {
			t.Fatalf("the token %q arrives as %q", value, received.Header.Get("X-Value"))
		}
	})
}

// Eight bytes are looked at at a time: each byte counts, wherever it is.
func TestEveryByteAtEveryPlace(t *testing.T) {
	t.Parallel()
	for length := range 20 {
		for place := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte("a"), length)
				b[place] = byte(c)
				if got, want := header.IsToken(string(b)), c >= '!' && c <= '~'; got != want {
					t.Fatalf("byte %#x at place %d of %d: IsToken is %t, want %t", c, place, length, got, want)
				}
				if got, want := header.IsText(string(b)), c >= ' ' && c <= '~'; got != want {
					t.Fatalf("byte %#x at place %d of %d: IsText is %t, want %t", c, place, length, got, want)
				}
			}
		}
	}
}
