package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		raw      string
		insecure bool
		want     string // part of the error; "" for none
	}{
		{"https://a.example/oauth2/token", false, ""},
		{" https://a.example:8443/token?x=1\n", false, ""},
		{"HTTPS://a.example", false, ""},
		{"http://localhost:1234/", false, ""},
		{"http://127.0.0.1:1234/", false, ""},
		{"http://[::1]/", false, ""},
		{"http://a.example/", true, ""},
		{"http://a.example/", false, "plain http to another machine (a.example)"},
		{"http://127.0.0.1.evil.example/", false, "plain http"},
		{"", false, "empty"},
		{"  ", false, "empty"},
		{"hidden", false, "not an absolute https URL"},
		{"/hidden", false, "not an absolute https URL"},
		{"a.example/hidden", false, "not an absolute https URL"},
		{"a.example:443/hidden", false, "not a"},
		{"ftp://a.example/", true, "not an absolute https URL"},
		{"https:///hidden", false, "no host"},
		{"https://:443/", false, "no host"},
		{"https:hidden", false, "no host"},
		{"https://u:hidden@a.example/", false, "user info"},
		{"https://a.example/#hidden", false, "fragment"},
		{"https://a.example/%zzhidden", false, "not a URL"},
		{"https://a.example:hidden/", false, "not a URL"},
		{"https://a.example/\x00hidden", false, "not a URL"},
	} {
		u, err := wire.ParseEndpoint("field", test.raw, test.insecure)
		if test.want == "" {
			if err != nil || u == nil {
				t.Errorf("%q: %v", test.raw, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "field: ") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v, want %q", test.raw, err, test.want)
		}
		if errors.Is(err, tokensource.ErrInsecureURL) != strings.Contains(test.want, "plain http") {
			t.Errorf("%q: %v is an ErrInsecureURL, or is not", test.raw, err)
		}
	}
	if _, err := wire.ParseEndpoint("", "", false); err == nil || err.Error() != "empty" {
		t.Error(err)
	}
}
