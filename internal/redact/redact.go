// Package redact makes text that others wrote fit for errors and logs.
//
// A service can repeat what was sent to it, as a whole or in part: as it is, percent-
// encoded, in JSON, in HTML, in base64 or in hexadecimal. What [Redactor.Clean] returns
// has no 8 bytes in a row of a secret, no secret that is shorter, and nothing like a JWT.
package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"math/bits"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxText   = 200     // bytes that Clean returns at most
	maxLook   = 8 << 10 // bytes of a text that are looked at together
	gramSize  = 8       // bytes in a row by which a part of a secret is recognized: a gram
	minSecret = 3       // bytes; anything shorter occurs in any text by chance
	mark      = "[redacted]"
	ellipsis  = "…"
)

// A Redactor removes secrets from text. It must be made by [New], and is safe for
// concurrent use.
type Redactor struct {
	long  []string // the secrets in all forms of at least a gram
	short []string // and those that are shorter
}

// New returns a redactor of the given secrets. Those of less than 3 bytes are ignored.
// It keeps up to seven forms of each.
func New(secrets ...string) *Redactor {
	r := new(Redactor)
	for _, secret := range secrets {
		query, path := url.QueryEscape(secret), url.PathEscape(secret)
		quoted, _ := json.Marshal(secret) // a string never fails
		for _, form := range []string{
			secret, query, lowerHex(query), path, lowerHex(path), string(quoted[1 : len(quoted)-1]), html.EscapeString(secret),
		} {
			switch {
			case len(form) >= gramSize && !slices.Contains(r.long, form):
				r.long = append(r.long, form)
			case len(form) >= minSecret && len(form) < gramSize && !slices.Contains(r.short, form):
				r.short = append(r.short, form)
			}
		}
	}
	return r
}

// lowerHex returns percent-encoded text with lower-case digits.
func lowerHex(text string) string {
	var lower strings.Builder
	lower.Grow(len(text))
	for i := range len(text) {
		c := text[i]
		if i >= 1 && text[i-1] == '%' || i >= 2 && text[i-2] == '%' {
			c |= 'a' - 'A' // which 0 to 9 have set
		}
		lower.WriteByte(c)
	}
	return lower.String()
}

// Clean returns text fit to be shown: without secrets and anything like a JWT, in place
// of which it has [redacted], on one line, in valid UTF-8, and of at most 200 bytes. Only
// the first 8 KiB of text are looked at.
func (r *Redactor) Clean(text string) string {
	known := make(grams)
	text = r.conceal(text[:min(len(text), maxLook)], known)
	text = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsPrint(c):
			return c
		case unicode.IsSpace(c):
			return ' '
		default:
			return utf8.RuneError
		}
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
	text = strings.TrimSpace(r.replace(text, known)) // again: a tab that is a space now may have completed a secret
	if len(text) <= maxText {
		return text
	}
	end := maxText - len(ellipsis)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}

// Shows reports whether text, however long it is, shows a part of a secret or anything
// like a JWT.
func (r *Redactor) Shows(text string) bool {
	const overlap = 64 // more than a gram takes in any encoding
	for ; len(text) > maxLook; text = text[maxLook-overlap:] {
		if part := text[:maxLook]; r.conceal(part, make(grams)) != part {
			return true
		}
	}
	return r.conceal(text, make(grams)) != text
}

// jwtLike matches what begins like a JWT, whether or not it has all its parts: eyJ is {"
// in base64.
var jwtLike = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*)*`)

// An encoding writes bytes as runs of digits, in groups of the given size.
type encoding struct {
	run    *regexp.Regexp // of at least as many digits as a gram has
	group  int
	decode func(digits string) ([]byte, error) // an incomplete group at the end is an error that does not matter
}

var encodings = [...]encoding{
	{regexp.MustCompile(`[A-Fa-f0-9]{16,}`), 2, hex.DecodeString},
	{regexp.MustCompile(`[A-Za-z0-9+/_-]{11,}`), 4, func(digits string) ([]byte, error) { // in either alphabet
		return base64.RawURLEncoding.DecodeString(toURLAlphabet.Replace(digits))
	}},
}

var toURLAlphabet = strings.NewReplacer("+", "-", "/", "_")

// decoded returns what the runs of digits in text may stand for: for each run there are
// as many possibilities as there are digits with which a group may begin.
func (e *encoding) decoded(text string) (texts []string) {
	for _, digits := range e.run.FindAllString(text, -1) {
		for skip := range e.group {
			decoded, _ := e.decode(digits[skip:])
			texts = append(texts, string(decoded))
		}
	}
	return texts
}

// conceal replaces what text shows of secrets, in any form and encoding, and everything
// that is like a JWT.
func (r *Redactor) conceal(text string, known grams) string {
	text = jwtLike.ReplaceAllString(text, mark) // first, while it still begins with eyJ
	all := []string{text}
	for _, e := range encodings {
		all = append(all, e.decoded(text)...)
	}
	r.lookUp(known, all...) // together, so that the secrets are searched once
	for _, e := range encodings {
		decoded := e.decoded(text)
		text = e.run.ReplaceAllStringFunc(text, func(digits string) string {
			possible := decoded[:e.group]
			decoded = decoded[e.group:]
			for _, d := range possible {
				if jwtLike.MatchString(d) || slices.Contains(r.secretBytes(d, known), true) {
					return mark
				}
			}
			return digits
		})
	}
	return r.replace(text, known)
}

// replace replaces what text has in common with secrets.
func (r *Redactor) replace(text string, known grams) string {
	for range 3 {
		secret := r.secretBytes(text, known)
		expand(secret, text)
		if !slices.Contains(secret, true) {
			return text
		}
		var b strings.Builder
		for i := range len(text) {
			switch {
			case !secret[i]:
				b.WriteByte(text[i])
			case i == 0 || !secret[i-1]:
				b.WriteString(mark)
			}
		}
		text = b.String() // in which a mark and its neighbours may be a secret again
	}
	return mark
}

// secretBytes says of each byte of text whether it is part of a secret.
func (r *Redactor) secretBytes(text string, known grams) []bool {
	secret := make([]bool, len(text))
	set := func(start, end int) {
		for i := start; i < end; i++ {
			secret[i] = true
		}
	}
	for _, s := range r.short {
		for i := range len(text) - len(s) + 1 {
			if text[i:i+len(s)] == s {
				set(i, i+len(s))
			}
		}
	}
	r.lookUp(known, text)
	var gram uint64
	for i := range len(text) {
		gram = gram<<8 | uint64(text[i])
		if i >= gramSize-1 && known[gram] {
			set(i+1-gramSize, i+1)
		}
	}
	return secret
}

// expand makes what is replaced in text consist of whole characters. Marks that are there
// already are left alone, unless there is something to replace next to them; then they
// become part of it.
func expand(secret []bool, text string) {
	for i := 1; i < len(text); i++ {
		secret[i] = secret[i] || secret[i-1] && !utf8.RuneStart(text[i])
	}
	for i := len(text) - 1; i > 0; i-- {
		secret[i-1] = secret[i-1] || secret[i] && !utf8.RuneStart(text[i])
	}
	for end := 0; ; {
		i := strings.Index(text[end:], mark)
		if i < 0 {
			return
		}
		start := end + i
		end = start + len(mark)
		touched := start > 0 && secret[start-1] || end < len(text) && secret[end]
		for j := start; j < end; j++ {
			secret[j] = touched
		}
	}
}

// grams are those of the texts that were looked at: eight bytes, the first one highest,
// and whether they are part of a secret. They take memory in proportion to the texts,
// which are short, and not to the secrets, which may be long.
type grams map[uint64]bool

// lookUp adds the grams of the texts to known.
func (r *Redactor) lookUp(known grams, texts ...string) {
	var added []uint64
	for _, text := range texts {
		var gram uint64
		for i := range len(text) {
			gram = gram<<8 | uint64(text[i])
			if i < gramSize-1 {
				continue
			}
			if _, ok := known[gram]; !ok {
				known[gram] = false
				added = append(added, gram)
			}
		}
	}
	if len(added) == 0 {
		return
	}
	// A filter of which at most one bit in 64 is set saves looking up almost all grams of
	// the secrets.
	shift := 64 - bits.Len(uint(64*len(added)))
	filter := make([]uint64, 1<<(64-shift)/64)
	bit := func(gram uint64) (index int, bit uint64) {
		hash := gram * 0x9e3779b97f4a7c15 >> shift
		return int(hash / 64), 1 << (hash % 64)
	}
	for _, gram := range added {
		index, b := bit(gram)
		filter[index] |= b
	}
	for _, form := range r.long {
		var gram uint64
		for i := range len(form) {
			gram = gram<<8 | uint64(form[i])
			if index, b := bit(gram); filter[index]&b == 0 || i < gramSize-1 {
				continue
			}
			if secret, ok := known[gram]; ok && !secret {
				known[gram] = true
			}
		}
	}
}
