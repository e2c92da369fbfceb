package cache_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/quick"

	"github.com/agwgo/agw/cache"
)

// documentedKey computes the key of parts as NewKey's documentation says: the SHA-256
// digest of the parts, each preceded by its length in eight bytes.
func documentedKey(parts ...string) (key [32]byte) {
	h := sha256.New()
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		h.Write([]byte(part))
	}
	h.Sum(key[:0])
	return key
}

func TestDifferentPartsHaveDifferentKeys(t *testing.T) {
	t.Parallel()
	lists := [][]string{
		nil, {""}, {"", ""}, {"", "", ""},
		{"abc"}, {"ab", "c"}, {"a", "bc"}, {"a", "b", "c"}, {"", "abc"}, {"abc", ""},
		{"c", "ab"}, {"ABC"}, {"abc "}, {"abc\x00"}, {"a,b", "c"}, {"a", "b,c"},
		// What looks like a length.
		{"\x00\x00\x00\x00\x00\x00\x00\x00"}, {"\x00\x00\x00\x00\x00\x00\x00\x01a"}, {"a"},
		{"a\x00\x00\x00\x00\x00\x00\x00\x01b"}, {"a", "b"},
		{"a\x00\x00\x00\x00\x00\x00\x00\x02b", "c"}, {"a", "b\x00\x00\x00\x00\x00\x00\x00\x02c"},
	}
	seen := make(map[cache.Key][]string)
	for _, parts := range lists {
		key := cache.NewKey(parts...)
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q have the same key", parts, other)
		}
		seen[key] = parts
	}
}

// A part may contain any byte, so no separator could tell where a part ends. Its length
// does.
func TestKeysUseLengthsAndNotSeparators(t *testing.T) {
	t.Parallel()
	for b := range 256 {
		separator := string([]byte{byte(b)})
		lists := map[string][]string{
			"in the first part":   {"a" + separator + "b", "c"},
			"in the second part":  {"a", "b" + separator + "c"},
			"between three parts": {"a", "b", "c"},
			"in a single part":    {"a" + separator + "b" + separator + "c"},
		}
		seen := make(map[cache.Key]string)
		for where, parts := range lists {
			if joined := strings.Join(parts, separator); joined != "a"+separator+"b"+separator+"c" {
				t.Fatalf("%q, joined with %q, is %q: the case tests nothing", parts, separator, joined)
			}
			key := cache.NewKey(parts...)
			if other, ok := seen[key]; ok {
				t.Errorf("parts with the byte %q have the same key whether it is %s or %s", separator, where, other)
			}
			seen[key] = where
		}
	}
	for _, text := range []string{"", "abc", "\x00\x00\x00", "\xff\xff", strings.Repeat("x", 300)} {
		seen := make(map[cache.Key]int)
		for cut := range len(text) + 1 {
			key := cache.NewKey(text[:cut], text[cut:])
			if other, ok := seen[key]; ok {
				t.Errorf("%.20q cut at %d and at %d has the same key", text, cut, other)
			}
			seen[key] = cut
		}
	}
}

// Two lists have the same key exactly if they are equal.
func TestEqualListsAndOnlyTheyHaveTheSameKey(t *testing.T) {
	t.Parallel()
	sameKeyIfEqual := func(a, b []string) bool {
		return (cache.NewKey(a...) == cache.NewKey(b...)) == slices.Equal(a, b)
	}
	if err := quick.Check(sameKeyIfEqual, nil); err != nil {
		t.Error(err)
	}
	for _, parts := range [][]string{nil, {""}, {"customer", "client", "user"}} {
		if cache.NewKey(parts...) != cache.NewKey(slices.Clone(parts)...) {
			t.Errorf("%q has two keys", parts)
		}
		if cache.NewKey(parts...) == (cache.Key{}) {
			t.Errorf("the key of %q is the zero Key", parts)
		}
	}
}

// With 64 bits of the digest, somebody could find two tokens that have the same key.
func TestKeyIsTheWholeDigest(t *testing.T) {
	t.Parallel()
	if n := len(cache.Key{}); n != sha256.Size {
		t.Fatalf("a Key has %d bytes, want all %d of SHA-256", n, sha256.Size)
	}
	for _, parts := range [][]string{
		nil, {""}, {"a"}, {"ab", "c"}, {"a", "bc"}, {"", "", ""}, {"\x00\xff", "ä"},
		{strings.Repeat("x", 255), strings.Repeat("y", 256)}, {strings.Repeat("z", 70_000), "a"},
	} {
		key, want := cache.NewKey(parts...), documentedKey(parts...)
		if !bytes.Equal(key[:8], want[:8]) {
			t.Errorf("the key of %.20q begins with %x, want %x", parts, key[:8], want[:8])
		}
		if !bytes.Equal(key[8:], want[8:]) {
			t.Errorf("bytes 8 to 31 of the key of %.20q are %x, want %x", parts, key[8:], want[8:])
		}
	}
}

// An LRU compares all bytes of a key.
func TestKeysThatDifferInOneByteAreDifferentEntries(t *testing.T) {
	t.Parallel()
	original := cache.NewKey("a")
	for i := range original {
		l := cache.NewLRU[string](2)
		l.Put(original, "original", later, now)
		other := original
		other[i] ^= 1
		if e := l.Get(other, now); e != nil {
			t.Errorf("a key that differs in byte %d found the entry of the original: %q", i, e.Value)
		}
		l.Put(other, "other", later, now)
		assertValue(t, l, original, "original")
		assertValue(t, l, other, "other")
	}
}

func TestKeyPrintsItsFirst16Digits(t *testing.T) {
	t.Parallel()
	key := cache.NewKey("a secret")
	want := fmt.Sprintf("%x", key[:8])
	for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
		got := fmt.Sprintf(verb, key)
		if got != want {
			t.Errorf("%s prints %q, want %q", verb, got, want)
		}
		if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(got) {
			t.Errorf("%s prints %q, want 16 hex digits", verb, got)
		}
	}
}

// NewKey reuses buffers. Two callers must never have the same one at the same time.
func TestConcurrentCallersGetTheirOwnKeys(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for n := range 500 {
				// Of different lengths, so that what is left of another key would show.
				parts := []string{
					strings.Repeat(string(rune('a'+caller)), (caller*677+n*131)%5000),
					fmt.Sprint(caller, n),
					strings.Repeat("x", n%7*4000),
				}
				if got := cache.NewKey(parts...); got != documentedKey(parts...) {
					t.Errorf("key %d of caller %d is not that of its parts", n, caller)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzKey(f *testing.F) {
	f.Add("ab", "c", "a", "bc")
	f.Add("", "", "", "")
	f.Add("\x00", "", "", "\x00")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		if same := cache.NewKey(a, b) == cache.NewKey(c, d); same != (a == c && b == d) {
			t.Errorf("(%q, %q) and (%q, %q): having the same key is %v", a, b, c, d, same)
		}
		if cache.NewKey(a, b) == cache.NewKey(a+b) || cache.NewKey(a, b, c) == cache.NewKey(a, b+c) {
			t.Errorf("%q, %q, %q: lists of different lengths have the same key", a, b, c)
		}
		if got, want := cache.NewKey(a, b, c, d), documentedKey(a, b, c, d); got != want {
			t.Errorf("the key of %q is %x, want %x", []string{a, b, c, d}, got[:], want)
		}
	})
}
