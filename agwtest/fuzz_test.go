package agwtest

import (
	"slices"
	"strings"
	"testing"
)

// FuzzFilter: a filter that is parsed and written again has the same meaning.
func FuzzFilter(f *testing.F) {
	f.Add("Label['sap-managed-runtime-type'] HAS ('subscriber.ias')")
	f.Add("label['it''s']has('a','b' , '''')")
	f.Add("Label['a'] HAS ('b') or Label['c'] HAS ('d')")
	f.Add("Label['")
	f.Fuzz(func(t *testing.T, text string) {
		label, values, err := parseFilter(text)
		if err != nil {
			return
		}
		quoted := []string{}
		for _, v := range values {
			quoted = append(quoted, "'"+strings.ReplaceAll(v, "'", "''")+"'")
		}
		again := "Label['" + strings.ReplaceAll(label, "'", "''") + "'] HAS (" + strings.Join(quoted, ",") + ")"
		l, v, err := parseFilter(again)
		if err != nil || l != label || !slices.Equal(v, values) {
			t.Fatalf("filter %q has label %q and values %q, but written again as %q it has %q and %q (error %v)",
				text, label, values, again, l, v, err)
		}
	})
}

// FuzzToken: only the signed token is accepted, nothing made of it.
func FuzzToken(f *testing.F) {
	srv, err := Start(Options{})
	if err != nil {
		f.Fatalf("start: %v", err)
	}
	f.Cleanup(srv.Close)
	good := srv.UserToken(User{})
	if _, err := srv.signer.verify(good, audienceUser); err != nil {
		f.Fatalf("the signed token is rejected: %v", err)
	}
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add(good + "\n")
	// The last character has four bits that lenient decoders ignore.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	f.Add(good[:len(good)-1] + alphabet[last^1:last^1+1])
	f.Add("e30.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if token == good {
			return
		}
		if _, err := srv.signer.verify(token, audienceUser); err == nil {
			t.Fatalf("token %q is accepted, but only %q was signed", token, good)
		}
	})
}
