package wire_test

import (
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/agwgo/agw/internal/wire"
)

const (
	userJWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6ImFndyJ9.c2lnbmF0dXJlLW9mLWFsaWNl"
	secret  = `s3cr+t/="<&\` + "\u00e9 and more of it"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"as it is", "as it is"},
		{"two\r\n\tlines\x00\x1b[31m", "two   lines\ufffd\ufffd[31m"},
		{"bidi \u202e override", "bidi \ufffd override"},
		{"bad \xff\xfe utf8", "bad \ufffd utf8"},
		{"key=" + secret + "!", "key=[redacted]!"},
		{"form client_secret=" + url.QueryEscape(secret), "form client_secret=[redacted]"},
		{"path /" + url.PathEscape(secret), "path /[redacted]"},
		{"html " + html.EscapeString(secret), "html [redacted]"},
		{"assertion=" + userJWT, "assertion=[redacted]"},
		{"cut off: " + userJWT[:60], "cut off: [redacted]"},
		{"payload " + strings.Split(userJWT, ".")[1], "payload [redacted]"},
		{"signature " + strings.Split(userJWT, ".")[2], "signature [redacted]"},
		{"another one eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ.c2ln", "another one [redacted]"},
		{"its beginning eyJhbGciOiJub25lIn0", "its beginning [redacted]"},
		{"pin 1234", "pin [redacted]"},
		{strings.Repeat("x", 190) + userJWT, strings.Repeat("x", 190) + "[redacted]"},
		{strings.Repeat("x", 1000), strings.Repeat("x", 197) + "…"},
		{"a" + strings.Repeat("é", 200), "a" + strings.Repeat("é", 98) + "…"},
		{strings.Repeat("é", 200), strings.Repeat("é", 98) + "…"},
	} {
		if got := wire.Clean(test.text, secret, userJWT, "1234", "", "e"); got != test.want {
			t.Errorf("%.80q:\n got %q\nwant %q", test.text, got, test.want)
		}
	}
	quoted, _ := json.Marshal(secret)
	if got := wire.Clean("json "+string(quoted), secret); got != `json "[redacted]"` {
		t.Errorf("json: %q", got)
	}
	if got := wire.Clean(strings.ToLower("%2F%3D%2B%2F%3D"), "/=+/="); got != "[redacted]" {
		t.Errorf("lower-case percent encoding: %q", got)
	}
}

// A body that repeats the form, in whatever form, shows nothing of it.
func TestEchoedFormIsNotShown(t *testing.T) {
	t.Parallel()
	form := url.Values{"client_secret": {secret}, "assertion": {userJWT}}
	asJSON, _ := json.Marshal(map[string]string{"error": "invalid_request " + userJWT, "error_description": secret + " " + userJWT})
	message, _ := json.Marshal(map[string]string{"ErrorMessage": form.Encode()})
	for _, body := range []string{form.Encode(), string(asJSON), string(message), `"` + form.Encode() + `"`, "<html>" + form.Encode()} {
		for _, status := range []int{200, 302, 400, 500} {
			if status == 200 && body[0] == '{' {
				continue // a success
			}
			e := failure(t, answering(status, body), wire.Request{URL: endpoint, Form: form, Secrets: []string{secret, userJWT}})
			checkShows(t, e.Error(), secret, userJWT)
			if e.Err != nil {
				checkShows(t, e.Err.Error(), secret, userJWT)
			}
		}
	}
}

// checkShows fails if text shows a run of 8 bytes of a secret.
func checkShows(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		for i := 0; i+8 <= len(s); i++ {
			if strings.Contains(text, s[i:i+8]) {
				t.Errorf("%q shows %q", text, s[i:i+8])
				return
			}
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("assertion="+userJWT, userJWT)
	f.Add("key "+secret+"\x00\xff", secret)
	f.Add(strings.Repeat("é", 300), "ééééé")
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := wire.Clean(text, secret)
		if len(got) > 200 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("%q", got)
		}
		if len(secret) >= 8 && !strings.Contains("[redacted]", secret) && strings.Contains(got, secret) {
			t.Fatalf("%q shows %q", got, secret)
		}
		if got != wire.Clean(got) && !strings.Contains(got, "eyJ") {
			t.Fatalf("%q is not clean", got)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	for _, body := range []string{
		`{"error":"invalid_grant","error_description":"no"}`, `{"ErrorMessage":"no"}`, `"no"`, "plain", "<html>", `{"error":{}}`,
		`[[[`, `{"error":"a","error":"b"}`, "assertion=" + userJWT, `{"error_description":"` + userJWT + `"}`, "\ufeff{}", "null", "1e999",
	} {
		f.Add(400, body)
		f.Add(200, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 599 {
			return
		}
		_, err := answering(status, body).Do(t.Context(), wire.Request{Op: "op", URL: endpoint, Secrets: []string{userJWT}})
		if err == nil {
			if status != 200 {
				t.Fatalf("status %d is no success", status)
			}
			return
		}
		e := failureOf(t, err)
		if len(e.Code) > 200 || len(e.Description) > 200 {
			t.Fatalf("%+v", *e)
		}
		checkShows(t, e.Error(), userJWT)
		checkRetrieveError(t, e)
	})
}
