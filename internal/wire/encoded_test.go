package wire_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/wire"
)

// Secrets are found in base64 and in hexadecimal, wherever in it they begin.
func TestCleanDecodes(t *testing.T) {
	t.Parallel()
	spell := map[string]func(string) string{
		"base64":    func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64url": func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
		"path":      func(s string) string { return "base64/" + base64.StdEncoding.EncodeToString([]byte(s)) },
		"hex":       func(s string) string { return hex.EncodeToString([]byte(s)) },
		"HEX":       func(s string) string { return "0x0" + strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"twice":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(s))) },
	}
	for name, spelled := range spell {
		for _, before := range []string{"", "a", "ab", "abc"} {
			text := "told " + spelled(before+secret)
			got := wire.Clean(text, secret)
			if !wire.Shows(text, secret) || !strings.Contains(got, "[redacted]") || !strings.HasPrefix(got, "told ") {
				t.Errorf("%s after %q: %q", name, before, got)
			}
		}
	}
	for _, text := range []string{"", "nothing of it, nor anything", "0123456789abcdef0123456789abcdef", "bm90aGluZyBvZiBpdCwgbm9yIGFueXRoaW5n"} {
		if wire.Shows(text, secret) || wire.Clean(text, secret) != text {
			t.Errorf("%q is taken for a secret", text)
		}
	}
}
