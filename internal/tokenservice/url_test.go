package tokenservice_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		raw            string
		allowPlainHTTP bool
		want           string
		wantError      string // a part of it; "" for none
	}{
		{"https://a.example/oauth2/token", false, "https://a.example/oauth2/token", ""},
		{" https://a.example:8443/token?x=1\n", false, "https://a.example:8443/token?x=1", ""},
		{"HTTPS://a.example", false, "https://a.example", ""},
		{"http://localhost:1234/", false, "http://localhost:1234/", ""},
		{"http://127.0.0.1:1234/", false, "http://127.0.0.1:1234/", ""},
		{"http://[::1]/", false, "http://[::1]/", ""},
		{"http://a.example/", true, "http://a.example/", ""},
		{"http://a.example/", false, "", "plain http to another machine (a.example)"},
		{"http://127.0.0.1.evil.example/", false, "", "plain http"},
		{"", false, "", "empty"},
		{"  ", false, "", "empty"},
		{"hidden", false, "", "not an absolute https URL"},
		{"/hidden", false, "", "not an absolute https URL"},
		{"a.example/hidden", false, "", "not an absolute https URL"},
		{"a.example:443/hidden", false, "", "not a"},
		{"ftp://a.example/", true, "", "not an absolute https URL"},
		{"https:///hidden", false, "", "no host"},
		{"https://:443/", false, "", "no host"},
		{"https:hidden", false, "", "no host"},
		{"https://u:hidden@a.example/", false, "", "user info"},
		{"https://a.example/#hidden", false, "", "fragment"},
		{"https://a.example/%zzhidden", false, "", "not a URL"},
		{"https://a.example:hidden/", false, "", "not a URL"},
		{"https://a.example/\x00hidden", false, "", "not a URL"},
	} {
		u, err := tokenservice.ParseURL(test.raw, test.allowPlainHTTP)
		if test.wantError == "" {
			if err != nil || u.String() != test.want {
				t.Errorf("ParseURL(%q, %v): got %v and error %v, want %s", test.raw, test.allowPlainHTTP, u, err, test.want)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.wantError) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("ParseURL(%q, %v): got error %v, want %q, and nothing quoted", test.raw, test.allowPlainHTTP, err, test.wantError)
		}
		if want := strings.Contains(test.wantError, "plain http"); errors.Is(err, tokensource.ErrInsecureURL) != want {
			t.Errorf("ParseURL(%q, %v): error %v is an ErrInsecureURL: %v, want %v", test.raw, test.allowPlainHTTP, err, !want, want)
		}
	}
}

func TestDisplayURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://u:hidden@a.example:8443/a%2Fb/c?hidden#hidden": "https://a.example:8443/a%2Fb/c",
		"https://a.example": "https://a.example",
		"/path?hidden":      "/path",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := tokenservice.DisplayURL(u); got != want {
			t.Errorf("DisplayURL(%s): got %s, want %s", raw, got, want)
		}
	}
}
