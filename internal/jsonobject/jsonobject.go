// Package jsonobject reads JSON objects whose members are matched to the letter, which
// the fields of a Go struct are not.
//
// No error quotes more than one character of what is read, for that can be secret.
package jsonobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

var (
	// ErrMissing: the object has no such member, or it is null.
	ErrMissing = errors.New("missing")
	// ErrEmpty: the member is a string without anything but white space.
	ErrEmpty = errors.New("empty")
)

// An Object is a JSON object without the members that are null. The values are valid
// JSON without white space around it.
type Object map[string]json.RawMessage

// Parse reads an object, which must be UTF-8 without a byte order mark. Of a member that
// appears more than once, the last one counts. The object does not refer to data.
func Parse(data []byte) (Object, error) {
	var o Object
	if err := unmarshal(data, &o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("not a JSON object")
	}
	for name, raw := range o {
		if string(raw) == "null" {
			delete(o, name)
		}
	}
	return o, nil
}

// ParseArray reads an array, likewise. Its elements can be null.
func ParseArray(data []byte) ([]json.RawMessage, error) {
	var elements []json.RawMessage
	if err := unmarshal(data, &elements); err != nil {
		return nil, err
	}
	if elements == nil {
		return nil, errors.New("not a JSON array")
	}
	return elements, nil
}

// unmarshal reads valid JSON into to, which stays nil if it is of another type.
func unmarshal(data []byte, to any) error {
	switch {
	case bytes.HasPrefix(data, []byte("\ufeff")):
		return errors.New("not valid JSON: it begins with a byte order mark")
	case !utf8.Valid(data):
		return errors.New("not valid JSON: it is not UTF-8")
	}
	err := json.Unmarshal(data, to)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return fmt.Errorf("not valid JSON at byte %d: %w", syntax.Offset, syntax)
	}
	return nil // any other error is about the type, and quotes the value
}

// String returns the named member, with any white space around it. It must be there
// ([ErrMissing]) and be a string that is not blank ([ErrEmpty]).
func (o Object) String(name string) (s string, err error) {
	raw, ok := o[name]
	switch {
	case !ok:
		return "", ErrMissing
	case json.Unmarshal(raw, &s) != nil:
		return "", errors.New("not a string")
	case strings.TrimSpace(s) == "":
		return "", ErrEmpty
	}
	return s, nil
}

// Text returns the first of the named members that is a string and not blank, without
// white space around it; "" if there is none.
func (o Object) Text(names ...string) string {
	for _, name := range names {
		if s, err := o.String(name); err == nil {
			return strings.TrimSpace(s)
		}
	}
	return ""
}
