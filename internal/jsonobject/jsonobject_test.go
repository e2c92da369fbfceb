package jsonobject_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/agwgo/agw/internal/jsonobject"
)

func assertError(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case err == nil || !strings.Contains(err.Error(), want):
		t.Errorf("%s: got error %v, want one with %q", what, err, want)
	case strings.Contains(err.Error(), "hid") || len(err.Error()) > 100:
		t.Errorf("%s: error %q quotes what was read", what, err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       map[string]string
	}{
		{"no members", ` {} `, map[string]string{}},
		{"members of all types", `{"a":"b","n":1e3,"t":true,"o":{"null":null},"l":[null]}`,
			map[string]string{"a": `"b"`, "n": "1e3", "t": "true", "o": `{"null":null}`, "l": "[null]"}},
		{"white space", "\r\n{ \"a\" :\t1 }\n", map[string]string{"a": "1"}},
		{"names that differ in case", `{"name":1,"Name":2,"NAME":3}`, map[string]string{"name": "1", "Name": "2", "NAME": "3"}},
		{"a member that is null", `{"a":null,"b": null }`, map[string]string{}},
		{"a member twice", `{"a":1,"a":2}`, map[string]string{"a": "2"}},
		{"a member twice, null at last", `{"a":1,"a":null}`, map[string]string{}},
		{"a member twice, null at first", `{"a":null,"a":1}`, map[string]string{"a": "1"}},
		{"an escaped name", `{"\u0061":1,"":2}`, map[string]string{"a": "1", "": "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			data := []byte(test.text)
			o, err := jsonobject.Parse(data)
			if err != nil {
				t.Fatalf("%s: %v", test.text, err)
			}
			clear(data) // the object must not refer to it
			got := make(map[string]string)
			for name, raw := range o {
				got[name] = string(raw)
			}
			if !maps.Equal(got, test.want) {
				t.Errorf("%s has the members %v, want %v", test.text, got, test.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, object, array string }{
		{"nothing", "", "not valid JSON at byte 0", "not valid JSON at byte 0"},
		{"white space", " \n", "not valid JSON at byte 2", "not valid JSON at byte 2"},
		{"plain text", "hidden", "not valid JSON at byte 1: invalid character 'h'", "not valid JSON at byte 1"},
		{"an object that was cut off", `{"clientid":"hidden`, "not valid JSON at byte 19", "not valid JSON at byte 19"},
		{"an array that was cut off", `["hidden"`, "not valid JSON at byte 9", "not valid JSON at byte 9"},
		{"an object with something behind it", `{} hidden`, "not valid JSON at byte 4", "not valid JSON at byte 4"},
		{"two objects", `{}{}`, "not valid JSON at byte 3", "not valid JSON at byte 3"},
		{"a byte order mark", "\ufeff{}", "not valid JSON: it begins with a byte order mark", "not valid JSON: it begins with a byte order mark"},
		{"bytes that are not UTF-8", `{"hidden":"` + "\xff\xfe" + `"}`, "not valid JSON: it is not UTF-8", "not valid JSON: it is not UTF-8"},
		{"levels without end", strings.Repeat("[", 100_000), "not valid JSON", "not valid JSON"},
		{"an object", `{"hidden":1}`, "", "not a JSON array"},
		{"an array", `[{"clientid":"hidden"}]`, "not a JSON object", ""},
		{"an empty array", `[]`, "not a JSON object", ""},
		{"a string", `"hidden"`, "not a JSON object", "not a JSON array"},
		{"a number", `12345678901234567890`, "not a JSON object", "not a JSON array"},
		{"a boolean", `true`, "not a JSON object", "not a JSON array"},
		{"null", ` null `, "not a JSON object", "not a JSON array"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.object != "" {
				o, err := jsonobject.Parse([]byte(test.text))
				assertError(t, "Parse", err, test.object)
				if o != nil {
					t.Errorf("Parse returns %v along with an error", o)
				}
			}
			if test.array != "" {
				elements, err := jsonobject.ParseArray([]byte(test.text))
				assertError(t, "ParseArray", err, test.array)
				if elements != nil {
					t.Errorf("ParseArray returns %q along with an error", elements)
				}
			}
		})
	}
	_, err := jsonobject.Parse([]byte("{hidden"))
	if syntax := (*json.SyntaxError)(nil); !errors.As(err, &syntax) || syntax.Offset != 2 {
		t.Errorf("the *json.SyntaxError is not within reach of errors.As: %v", err)
	}
}

func TestParseArray(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"[]":                              {},
		` [ null , {"a":null}, [1] , 2 ]`: {"null", `{"a":null}`, "[1]", "2"},
	} {
		elements, err := jsonobject.ParseArray([]byte(text))
		got := make([]string, len(elements))
		for i, raw := range elements {
			got[i] = string(raw)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s has the elements %q (error %v), want %q", text, got, err, want)
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	o, err := jsonobject.Parse([]byte(`{"text":" a\tb\n","empty":"","blank":" \n\u00a0","null":null,"number":7,"list":["hidden"],"flag":true}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"absent": "missing", "null": "missing", "Text": "missing",
		"empty": "empty", "blank": "empty",
		"number": "not a string", "list": "not a string", "flag": "not a string",
	} {
		s, err := o.String(name)
		if assertError(t, name, err, want); s != "" {
			t.Errorf("%s: String returns %q along with an error", name, s)
		}
		if errors.Is(err, jsonobject.ErrMissing) != (want == "missing") || errors.Is(err, jsonobject.ErrEmpty) != (want == "empty") {
			t.Errorf("%s: error %v is an ErrMissing or an ErrEmpty though it should not be, or is not", name, err)
		}
		if s := o.Text(name); s != "" {
			t.Errorf("%s: Text returns %q, want nothing", name, s)
		}
	}
	if s, err := o.String("text"); err != nil || s != " a\tb\n" {
		t.Errorf("String returns %q with error %v, want the string as it is", s, err)
	}
	for _, names := range [][]string{{"text"}, {"absent", "null", "empty", "blank", "number", "text"}, {"text", "empty"}} {
		if s := o.Text(names...); s != "a\tb" {
			t.Errorf("Text(%q) is %q, want the string without the white space around it", names, s)
		}
	}
	if s := o.Text(); s != "" {
		t.Errorf("Text without a name is %q", s)
	}
	if s, err := jsonobject.Object(nil).String("text"); s != "" || !errors.Is(err, jsonobject.ErrMissing) {
		t.Errorf("String of a nil object returns %q with error %v, want an ErrMissing", s, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"a":null,"b":"c","b":1}`, `[]`, `null`, "\ufeff{}", "{\"\xff\":1}", `{"a":"\ud800"}`, `{"access_token":"a","expires_in":"1"}`, ` {"a" : [ 1 ] } `,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		accepted := json.Unmarshal(data, &want) == nil && want != nil && utf8.Valid(data)
		maps.DeleteFunc(want, func(_ string, raw json.RawMessage) bool { return string(raw) == "null" })
		o, err := jsonobject.Parse(data)
		if (err == nil) != accepted {
			t.Fatalf("%q: error %v, but encoding/json accepts it: %v", data, err, accepted)
		}
		if err != nil {
			if len(err.Error()) > 100 {
				t.Fatalf("error %q is too long", err)
			}
			return
		}
		if !maps.EqualFunc(o, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Fatalf("%q: got %q, encoding/json reads %q", data, o, want)
		}
		for name, raw := range o {
			s, err := o.String(name)
			if text := o.Text(name); err == nil && (!strings.HasPrefix(string(raw), `"`) || text == "" || text != strings.TrimSpace(s)) {
				t.Fatalf("%q: the string of %s is %q, its text %q", data, raw, s, text)
			}
		}
	})
}
