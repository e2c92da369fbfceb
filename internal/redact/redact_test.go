package redact_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/agwgo/agw/internal/redact"
)

const (
	userJWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6ImFndyJ9.c2lnbmF0dXJlLW9mLWFsaWNl"
	secret  = `s3cr+t/="<&\` + "\u00e9 and more of it"
	mark    = "[redacted]"
)

func inJSON(s string) string {
	quoted, _ := json.Marshal(s)
	return string(quoted)
}

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func inHex(s string) string { return hex.EncodeToString([]byte(s)) }

func TestClean(t *testing.T) {
	t.Parallel()
	r := redact.New(secret, userJWT, "1234", "", "e", "is")
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"nothing to replace", "as it is", "as it is"},
		{"white space around it", " \t as it is\n ", "as it is"},
		{"more than one line, and control characters", "two\r\n\tlines\x00\x1b[31m", "two   lines\ufffd\ufffd[31m"},
		{"an override of the direction", "bidi \u202e override", "bidi \ufffd override"},
		{"bytes that are not UTF-8", "bad \xff\xfe utf8", "bad \ufffd utf8"},

		{"a secret", "key=" + secret + "!", "key=[redacted]!"},
		{"a part of a secret", "key=" + secret[5:20] + "!", "key=[redacted]!"},
		{"eight bytes of a secret", "key=" + secret[3:11] + "!", "key=[redacted]!"},
		{"seven bytes of a secret", "key=" + secret[1:8] + "!", "key=3cr+t/=!"},
		{"a secret twice", secret + " " + secret, "[redacted] [redacted]"},
		{"a secret twice without anything in between", secret + secret, "[redacted]"},
		{"a secret in a form", "form client_secret=" + url.QueryEscape(secret), "form client_secret=[redacted]"},
		{"a secret in a path", "path /" + url.PathEscape(secret), "path /[redacted]"},
		{"a secret in HTML", "html " + html.EscapeString(secret), "html [redacted]"},
		{"a secret in JSON", "json " + inJSON(secret), `json "[redacted]"`},
		{"a short secret", "pin 1234", "pin [redacted]"},
		{"secrets that are too short", "there is one", "there is one"},

		{"a JWT that is a secret", "assertion=" + userJWT, "assertion=[redacted]"},
		{"a JWT that was cut off", "cut off: " + userJWT[:60], "cut off: [redacted]"},
		{"the payload of a JWT", "payload " + strings.Split(userJWT, ".")[1], "payload [redacted]"},
		{"the signature of a JWT", "signature " + strings.Split(userJWT, ".")[2], "signature [redacted]"},
		{"another JWT", "another one eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ.c2ln", "another one [redacted]"},
		{"the beginning of another JWT", "its beginning eyJhbGciOiJub25lIn0", "its beginning [redacted]"},

		{"a JWT at the end of a long text", strings.Repeat("x", 190) + userJWT, strings.Repeat("x", 190) + mark},
		{"a long text", strings.Repeat("x", 1000), strings.Repeat("x", 197) + "…"},
		{"a text of 200 bytes", strings.Repeat("x", 200), strings.Repeat("x", 200)},
		{"a long text that can be cut between characters", "a" + strings.Repeat("é", 200), "a" + strings.Repeat("é", 98) + "…"},
		{"a long text that cannot", strings.Repeat("é", 200), strings.Repeat("é", 98) + "…"},
		{"a very long text", strings.Repeat(" ", 8<<10) + "x", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := r.Clean(test.text); got != test.want {
				t.Errorf("Clean(%.80q):\n got %q\nwant %q", test.text, got, test.want)
			}
		})
	}
}

// Secrets that overlap, or look like a part of what takes their place.
func TestCleanOfDifficultSecrets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"percent encoding with small letters", []string{"/=+/="}, "%2f%3d%2b%2f%3d", mark},
		{"a short secret within a long one", []string{"1234", "abcd1234efgh"}, "key abcd1234efgh", "key [redacted]"},
		{"a short secret that begins like another", []string{"123", "1234"}, "pin 1234", "pin [redacted]"},
		{"short secrets that overlap", []string{"abcd", "cdef"}, "pin abcdef", "pin [redacted]"},
		{"a short secret that overlaps itself", []string{"aba"}, "pin ababa", "pin [redacted]"},
		{"a tab that becomes a space", []string{"abcd efgh"}, "key abcd\tefgh", "key [redacted]"},
		{"a byte that becomes U+FFFD", []string{"abc\ufffddef"}, "key abc\xffdef", "key [redacted]"},
		{"a secret that ends within a character", []string{"abcdefg\xc3"}, "key abcdefgé!", "key [redacted]!"},
		{"a secret that begins within a character", []string{"\xa9abcdefg"}, "key éabcdefg!", "key [redacted]!"},
		{"a part of the mark", []string{"red", "[redacte", "1234"}, "a red 1234", "a [redacted] [redacted]"},
		{"the mark", []string{mark}, "it was [redacted]", "it was [redacted]"},
		{"a mark that completes a secret", []string{"]abcdefg"}, "a ]abcdefgabcdefg", "a [redacted]"},
		{"marks that complete a secret again and again", []string{"]abcdefg"}, "a ]" + strings.Repeat("abcdefg", 10), mark},
		{"a mark next to a secret", []string{"abcdefgh"}, "[redacted]abcdefgh[redacted] [redacted]", "[redacted] [redacted]"},
		{"a NUL in the secret", []string{"\x00\x00\x00\x00\x00\x00\x00\x00"}, "key " + strings.Repeat("\x00", 9), "key [redacted]"},
		{"no secret with NULs", []string{"abcdefgh"}, "key \x00\x00\x00", "key \ufffd\ufffd\ufffd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := redact.New(test.secrets...).Clean(test.text); got != test.want {
				t.Errorf("Clean(%q) with the secrets %q:\n got %q\nwant %q", test.text, test.secrets, got, test.want)
			}
		})
	}
}

// A service that repeats a request, in whatever form, shows nothing of it.
func TestNothingOfAnEchoedForm(t *testing.T) {
	t.Parallel()
	r := redact.New(secret, userJWT)
	form := url.Values{"client_secret": {secret}, "assertion": {userJWT}}.Encode()
	for name, text := range map[string]string{
		"a form":                  form,
		"a form in a JSON string": inJSON(form),
		"a form in HTML":          "<html>" + html.EscapeString(form),
		"values in JSON":          inJSON("invalid_request " + userJWT + " " + secret),
		"a form in base64":        inBase64(form),
		"a form in hexadecimal":   inHex(form),
		"percent-encoded values":  url.PathEscape(secret) + "/" + url.PathEscape(userJWT),
		"the second half":         form[len(form)/2:],
		"a form on several lines": strings.ReplaceAll(form, "&", "&\n"),
	} {
		got := r.Clean(text)
		if !r.Shows(text) || !strings.Contains(got, mark) {
			t.Errorf("%s is not taken for one that shows a secret: %q", name, got)
		}
		for _, s := range []string{secret, userJWT} {
			if part := partOf(got, s); part != "" {
				t.Errorf("%s: %q shows %q of a secret", name, got, part)
			}
		}
	}
}

// partOf returns eight bytes in a row of secret that text has elsewhere than in a mark, or
// "".
func partOf(text, secret string) string {
	for i := range len(text) - 7 {
		part := text[i : i+8]
		within := strings.Contains(mark, part) && strings.Contains(text[max(0, i-2):min(len(text), i+10)], mark)
		if strings.Contains(secret, part) && !within {
			return part
		}
	}
	return ""
}

func TestEncodedSecretsAreFound(t *testing.T) {
	t.Parallel()
	r := redact.New(secret, "1234567")
	for name, encode := range map[string]func(string) string{
		"base64":               inBase64,
		"base64url":            func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
		"base64 behind a path": func(s string) string { return "base64/" + inBase64(s) },
		"hexadecimal":          inHex,
		"hexadecimal in capitals, behind other digits": func(s string) string { return "0x0" + strings.ToUpper(inHex(s)) },
		"a form in base64":              func(s string) string { return inBase64(url.QueryEscape(s)) },
		"a short secret in base64":      func(s string) string { return inBase64(strings.Replace(s, secret, "pin 1234567", 1)) },
		"a short secret in hexadecimal": func(s string) string { return inHex(strings.Replace(s, secret, "pin 1234567", 1)) },
		"another JWT in base64":         func(s string) string { return inBase64(strings.Replace(s, secret, "eyJhbGciOiJub25lIn0", 1)) },
		"a part of it in base64":        func(s string) string { return inBase64(s[:len(s)-4]) },
	} {
		for _, before := range []string{"", "a", "ab", "abc"} {
			text := "it said " + encode(before+secret)
			got := r.Clean(text)
			if !r.Shows(text) || !strings.Contains(got, mark) || !strings.HasPrefix(got, "it said ") {
				t.Errorf("%s, %q before it: got %q, want %q in place of the secret", name, before, got, mark)
			}
		}
	}
	for _, text := range []string{
		"", "nothing of it, nor of anything", "fedcba9876543210fedcba9876543210", inBase64("nothing of it, nor of anything"),
	} {
		if got := r.Clean(text); r.Shows(text) || got != text {
			t.Errorf("%q is taken for a secret: got %q", text, got)
		}
	}
}

func TestShowsLooksAtAllOfALongText(t *testing.T) {
	t.Parallel()
	r := redact.New(secret)
	const part = 8 << 10
	for name, shown := range map[string]string{
		"a part of a secret": secret[:8],
		"base64":             inBase64(secret),
		"hexadecimal":        inHex(secret),
		"a JWT":              userJWT,
	} {
		// Wherever the text may be cut, what is shown must not be overlooked.
		for before := part - 100; before < part+10; before += 5 {
			if text := strings.Repeat(" ", before) + shown + strings.Repeat(" ", 100); !r.Shows(text) {
				t.Errorf("%s behind %d spaces is overlooked", name, before)
			}
		}
	}
	if r.Shows(strings.Repeat("nothing of it, nor of anything ", 1000)) {
		t.Error("a long text without a secret is taken for one that shows it")
	}
}

// A long secret must not cost many times its size.
func TestMemoryIsBounded(t *testing.T) { // not parallel, since it counts what is allocated
	long := strings.Repeat("p+ss/w%rd", 1<<20/9) // 1 MiB, none of whose forms are alike
	text := strings.Repeat("no secret, 0123456789abcdef01234567 ", 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := redact.New(long).Clean(text)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 48<<20 {
		t.Errorf("%d MiB are allocated for a secret of 1 MiB, want at most 48", allocated>>20)
	}
	if !strings.HasPrefix(got, text[:100]) {
		t.Errorf("the text became %q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("assertion="+userJWT, userJWT)
	f.Add("key "+secret+"\x00\xff", secret)
	f.Add(strings.Repeat("é", 300), "ééééé")
	f.Add("a ]abcdefgabcdefg", "]abcdefg")
	f.Add(inBase64("key "+secret), secret)
	f.Add("key abcdefg\xc3\xa9", "abcdefg\xc3")
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := redact.New(secret).Clean(text)
		if len(got) > 200 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("%q is not one line of valid UTF-8 of at most 200 bytes", got)
		}
		if part := partOf(strings.TrimSuffix(got, "…"), secret); part != "" {
			t.Fatalf("%q shows %q of the secret %q", got, part, secret)
		}
		if again := redact.New().Clean(got); again != got && !strings.Contains(got, "eyJ") {
			t.Fatalf("%q is not clean: it becomes %q", got, again)
		}
		if len(secret) >= 8 && strings.Contains(text, secret) && !strings.Contains(text, mark) && !redact.New(secret).Shows(text) {
			t.Fatalf("%q is said not to show %q", text, secret)
		}
	})
}

// A text of an error is cleaned of a secret that is as long as a secret can be. The time
// includes that of New.
func BenchmarkClean(b *testing.B) {
	random := make([]byte, 768<<10)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(random)
	for _, secret := range []struct{ name, value string }{
		{"JWT", userJWT},
		{"1 MiB of base64url", base64.RawURLEncoding.EncodeToString(random)},
		{"1 MiB of base64", base64.StdEncoding.EncodeToString(random)},
		{"1 MiB of binary", string(random) + string(random[:256<<10])},
	} {
		for _, size := range []int{200, 8 << 10} {
			text := strings.Repeat("The client is not known, request 0123456789abcdef0123456789. ", 1+size/60)[:size]
			b.Run(fmt.Sprintf("%s/%d bytes of text", secret.name, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					redact.New(secret.value).Clean(text)
				}
			})
		}
	}
}
