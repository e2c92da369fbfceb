package adversary_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// How many bytes of a secret, in a row, must not be seen anywhere: as text, and in
// hexadecimal, which takes two characters for each.
const (
	gram    = 12
	hexGram = 24
)

// A vault knows secrets and recognizes any part of them, in whichever form a server
// may have put it.
type vault struct {
	mu      sync.Mutex
	secrets map[string]bool
	names   map[string]string // by gram
}

// lock adds a secret.
func (v *vault) lock(name, secret string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.names == nil {
		v.secrets, v.names = make(map[string]bool), make(map[string]string)
	}
	if v.secrets[secret] {
		return
	}
	v.secrets[secret] = true
	for form, text := range spellings(secret) {
		label, size := name+", "+form, gram
		if strings.EqualFold(form, "hex") {
			size = hexGram
		}
		for i := 0; i+size <= len(text); i++ {
			v.names[text[i:i+size]] = label
		}
	}
}

// spellings returns secret in the forms in which it can occur in text.
func spellings(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	all := map[string]string{
		"as it is": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
		"JSON": strings.Trim(string(quoted), `"`), "HTML": html.EscapeString(secret),
		"hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for shift, cut := range []int{0, 2, 3} { // characters that depend on what precedes the secret
		shifted := []byte(strings.Repeat("x", shift) + secret)
		all["base64 "+string(rune('0'+shift))] = trimTail(base64.RawStdEncoding.EncodeToString(shifted)[cut:])
		all["base64url "+string(rune('0'+shift))] = trimTail(base64.RawURLEncoding.EncodeToString(shifted)[cut:])
	}
	return all
}

// trimTail drops what depends on what follows.
func trimTail(s string) string { return s[:max(0, len(s)-2)] }

// find returns the name of a secret of which text shows a part, and that part.
func (v *vault) find(text string) (name, part string, found bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, size := range []int{gram, hexGram} {
		for i := 0; i+size <= len(text); i++ {
			if name, found = v.names[text[i:i+size]]; found {
				return name, text[i : i+size], true
			}
		}
	}
	return "", "", false
}

// size returns how many grams are known.
func (v *vault) size() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.names)
}

func TestVaultRecognizesSecrets(t *testing.T) {
	t.Parallel()
	const secret = "s3cr+t/=\"<&\\ and more of it"
	v := &vault{}
	v.lock("it", secret)
	for form, text := range spellings(secret) {
		if _, _, found := v.find("before " + text + " after"); !found {
			t.Errorf("%s: not recognized in %q", form, text)
		}
	}
	for _, prefix := range []string{"", "a", "ab", "abc"} {
		text := base64.StdEncoding.EncodeToString([]byte(prefix + secret + "tail"))
		if _, _, found := v.find(text); !found {
			t.Errorf("not recognized in %q", text)
		}
	}
	if name, part, found := v.find("nothing to be seen in here, nor there"); found {
		t.Errorf("%s in %q", name, part)
	}
}
