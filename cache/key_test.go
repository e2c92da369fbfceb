package cache_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"testing/quick"

	"github.com/agwgo/agw/cache"
)

func TestKeysDiffer(t *testing.T) {
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
		k := cache.NewKey(parts...)
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q have the same key", parts, other)
		}
		seen[k] = parts
	}
}

// Two lists have the same key exactly if they are equal; and moving the border
// between two parts makes another list.
func TestKeyProperty(t *testing.T) {
	t.Parallel()
	same := func(a, b []string) bool {
		return (cache.NewKey(a...) == cache.NewKey(b...)) == slices.Equal(a, b)
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
	border := func(text string, i, j uint8) bool {
		a, b := min(int(i), len(text)), min(int(j), len(text))
		return (cache.NewKey(text[:a], text[a:]) == cache.NewKey(text[:b], text[b:])) == (a == b)
	}
	if err := quick.Check(border, nil); err != nil {
		t.Error(err)
	}
}

func TestKeyIsStable(t *testing.T) {
	t.Parallel()
	parts := []string{"customer", "client", "user"}
	k := cache.NewKey(parts...)
	if k != cache.NewKey(slices.Clone(parts)...) {
		t.Error("the same parts have two keys")
	}
	if k == (cache.Key{}) || cache.NewKey() == (cache.Key{}) {
		t.Error("a key is the zero key")
	}
}

func TestKeyString(t *testing.T) {
	t.Parallel()
	k := cache.NewKey("a secret")
	want := fmt.Sprintf("%x", k[:8])
	for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
		got := fmt.Sprintf(verb, k)
		if got != want {
			t.Errorf("%s prints %q, want %q", verb, got, want)
		}
		if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(got) {
			t.Errorf("%s prints %q, want 16 hex digits", verb, got)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add("ab", "c", "a", "bc")
	f.Add("", "", "", "")
	f.Add("\x00", "", "", "\x00")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		if same := cache.NewKey(a, b) == cache.NewKey(c, d); same != (a == c && b == d) {
			t.Errorf("(%q, %q) and (%q, %q): same key is %v", a, b, c, d, same)
		}
		if cache.NewKey(a, b) == cache.NewKey(a+b) || cache.NewKey(a, b, c) == cache.NewKey(a, b+c) {
			t.Errorf("%q, %q, %q: lists of different lengths have the same key", a, b, c)
		}
	})
}
