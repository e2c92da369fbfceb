package agwtest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/agwgo/agw/agwtest"
)

// FuzzFilter: what is parsed means the same when it is written out again.
func FuzzFilter(f *testing.F) {
	f.Add("Label['sap-managed-runtime-type'] HAS ('subscriber.ias')")
	f.Add("label['it''s']has('a','b' , '''')")
	f.Add("Label['a'] HAS ('b') or Label['c'] HAS ('d')")
	f.Add("Label['")
	f.Fuzz(func(t *testing.T, text string) {
		label, values, err := agwtest.ParseFilter(text)
		if err != nil {
			return
		}
		quoted := []string{}
		for _, v := range values {
			quoted = append(quoted, "'"+strings.ReplaceAll(v, "'", "''")+"'")
		}
		again := "Label['" + strings.ReplaceAll(label, "'", "''") + "'] HAS (" + strings.Join(quoted, ",") + ")"
		l, v, err := agwtest.ParseFilter(again)
		if err != nil || l != label || !slices.Equal(v, values) {
			t.Fatalf("%q became %q: %q %q %v", text, again, l, v, err)
		}
	})
}

// FuzzToken: no token but the signed one is accepted.
func FuzzToken(f *testing.F) {
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(srv.Close)
	good := srv.UserToken(agwtest.User{})
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add(good + "\n")
	f.Add("e30.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if token != good && srv.VerifyToken(token) == nil {
			t.Fatalf("%q is accepted", token)
		}
	})
}
