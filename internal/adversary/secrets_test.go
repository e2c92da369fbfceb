package adversary_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// secret is in every field that is meant for secrets.
const secret = "the-password-is-swordfish-and-nothing-else"

// A part of a secret is so many bytes in a row. In hexadecimal, each takes two characters.
const (
	partSize    = 12
	hexPartSize = 2 * partSize
)

// secrets are what must not be seen. Any part of one is recognized, in whichever form a
// server may have repeated it.
type secrets struct {
	mu    sync.Mutex
	known map[string]bool
	names map[string]string // of the secret and the form, by part
}

// add adds a secret.
func (s *secrets) add(name, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[secret] {
		return
	}
	if s.known == nil {
		s.known, s.names = map[string]bool{}, map[string]string{}
	}
	s.known[secret] = true
	for form, text := range formsOf(secret) {
		size := partSize
		if strings.EqualFold(form, "hex") {
			size = hexPartSize
		}
		for i := 0; i+size <= len(text); i++ {
			s.names[text[i:i+size]] = name + ", " + form
		}
	}
}

// addToken adds a JWT and each of its segments.
func (s *secrets) addToken(name, token string) {
	s.add(name, token)
	for i, segment := range strings.Split(token, ".") {
		s.add(fmt.Sprintf("%s, segment %d", name, i), segment)
	}
}

// addKey adds the lines of a PEM key, its body as a whole and its bytes.
func (s *secrets) addKey(key string) {
	var body string
	for line := range strings.Lines(key) {
		if !strings.HasPrefix(line, "-----") {
			s.add("private key, a line", strings.TrimSpace(line))
			body += strings.TrimSpace(line)
		}
	}
	s.add("private key, body", body)
	block, _ := pem.Decode([]byte(key))
	s.add("private key, bytes", string(block.Bytes))
}

// formsOf returns a secret in the forms in which it can occur in text.
func formsOf(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	all := map[string]string{
		"as it is": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
		"JSON": strings.Trim(string(quoted), `"`), "HTML": html.EscapeString(secret),
		"hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	// The first characters of base64 depend on what precedes the secret, the last two on
	// what follows it.
	for shift, first := range []int{0, 2, 3} {
		shifted := []byte(strings.Repeat("x", shift) + secret)
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(shifted)[first:]
			all[fmt.Sprint(name, " ", shift)] = text[:max(0, len(text)-2)]
		}
	}
	return all
}

// find returns the name of a secret of which text shows a part, and that part.
func (s *secrets) find(text string) (name, part string, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, size := range []int{partSize, hexPartSize} {
		for i := 0; i+size <= len(text); i++ {
			if name, found = s.names[text[i:i+size]]; found {
				return name, text[i : i+size], true
			}
		}
	}
	return "", "", false
}

// parts returns how many parts are known.
func (s *secrets) parts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names)
}

func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	const secret = "s3cr+t/=\"<&\\ and more of it"
	s := &secrets{}
	s.add("it", secret)
	texts := map[string]string{}
	for form, text := range formsOf(secret) {
		texts[form] = "before " + text + " after"
	}
	for _, prefix := range []string{"", "a", "ab", "abc"} {
		texts["base64 after "+prefix] = base64.StdEncoding.EncodeToString([]byte(prefix + secret + "tail"))
	}
	for name, text := range texts {
		if _, _, found := s.find(text); !found {
			t.Errorf("%s: the secret is not found in %q", name, text)
		}
	}
	if name, part, found := s.find("nothing to be seen in here, nor there"); found {
		t.Errorf("%q of the secret (%s) is found in a text without it", part, name)
	}
}
