package wire

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxText   = 200     // bytes of foreign text in an error
	maxLook   = 8 << 10 // bytes of foreign text that are looked at to find them
	gramSize  = 8       // bytes that foreign text and a secret must have in common to be taken for it
	redacted  = "[redacted]"
	ellipsis  = "…"
	minSecret = 3 // bytes; anything shorter occurs in any text by chance
)

// jwtLike matches what begins like a JWT, whether or not it has all its parts:
// eyJ is the base64 of {".
var jwtLike = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*)*`)

// What may be at least gramSize bytes in base64 (either alphabet) or hexadecimal.
var (
	base64Like = regexp.MustCompile(`[A-Za-z0-9+/_-]{11,}`)
	hexLike    = regexp.MustCompile(`[A-Fa-f0-9]{16,}`)
	toStandard = strings.NewReplacer("-", "+", "_", "/")
)

// A redactor removes secrets from foreign text. It knows them by their grams, the
// runs of gramSize bytes that they consist of, and so recognizes parts of them too.
type redactor struct {
	grams map[string]struct{}
	short map[string]struct{} // secrets of fewer bytes than a gram
}

// newRedactor returns a redactor of secrets, in each form in which a server may
// echo them; base64 and hexadecimal are decoded where they occur.
func newRedactor(secrets []string) *redactor {
	r := &redactor{grams: make(map[string]struct{}), short: make(map[string]struct{})}
	for _, s := range secrets {
		for _, form := range forms(s) {
			r.add(form)
		}
	}
	return r
}

// forms returns secret as it looks in plain text, in a form, in a URL, in JSON and
// in HTML.
func forms(secret string) []string {
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	quoted, _ := json.Marshal(secret) // never fails for a string
	return []string{
		secret, query, lowerHex(query), path, lowerHex(path),
		strings.Trim(string(quoted), `"`), html.EscapeString(secret),
	}
}

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

// lowerHex returns percent-encoded text with its digits in lower case.
func lowerHex(s string) string { return percent.ReplaceAllStringFunc(s, strings.ToLower) }

func (r *redactor) add(form string) {
	if len(form) < gramSize {
		if len(form) >= minSecret {
			r.short[form] = struct{}{}
		}
		return
	}
	for i := 0; i+gramSize <= len(form); i++ {
		r.grams[form[i:i+gramSize]] = struct{}{}
	}
}

// clean returns foreign text fit to be shown: on one line, valid UTF-8, without
// secrets, at most maxText bytes.
func (r *redactor) clean(text string) string {
	if len(text) > maxLook {
		text = text[:maxLook]
	}
	text = r.conceal(text)
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		if unicode.IsSpace(c) {
			return ' '
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
	// Again, for a tab that is a space now may have made a secret; without the rest of
	// a character that it shared with one.
	text = strings.ToValidUTF8(r.redact(text), "")
	return cut(strings.TrimSpace(text))
}

// conceal replaces what text has of secrets, in every form that is known, and
// everything that is like a JWT.
func (r *redactor) conceal(text string) string {
	text = jwtLike.ReplaceAllString(text, redacted) // first, while it still begins with eyJ
	text = hexLike.ReplaceAllStringFunc(text, r.unmaskHex)
	text = base64Like.ReplaceAllStringFunc(text, r.unmaskBase64)
	return r.redact(text)
}

// redact replaces whatever text has in common with a secret.
func (r *redactor) redact(text string) string {
	for s := range r.short {
		text = strings.ReplaceAll(text, s, redacted)
	}
	var b strings.Builder
	secretUntil := 0 // end of the secret run that the loop is in
	for i := 0; i < len(text); i++ {
		if i+gramSize <= len(text) {
			if _, ok := r.grams[text[i:i+gramSize]]; ok {
				if i >= secretUntil {
					b.WriteString(redacted)
				}
				secretUntil = i + gramSize
			}
		}
		if i >= secretUntil {
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

// unmaskHex returns text, or what takes its place if it is a secret in hexadecimal.
func (r *redactor) unmaskHex(text string) string {
	for skip := range 2 {
		if b, _ := hex.DecodeString(whole(text, skip, 2)); r.knows(string(b)) {
			return redacted
		}
	}
	return text
}

// unmaskBase64 returns text, or what takes its place if it is a secret in base64,
// wherever in it that begins.
func (r *redactor) unmaskBase64(text string) string {
	standard := toStandard.Replace(text)
	for skip := range 4 {
		if b, _ := base64.StdEncoding.DecodeString(whole(standard, skip, 4)); r.knows(string(b)) {
			return redacted
		}
	}
	return text
}

// whole returns the groups of size bytes that text has from skip on.
func whole(text string, skip, size int) string {
	text = text[skip:]
	return text[:len(text)/size*size]
}

// knows reports whether text has something in common with a secret.
func (r *redactor) knows(text string) bool {
	return jwtLike.MatchString(text) || r.redact(text) != text
}

// cut shortens text to maxText bytes, at the beginning of a rune.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	n := maxText - len(ellipsis)
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + ellipsis
}
