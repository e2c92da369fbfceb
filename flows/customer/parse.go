package customer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

var (
	errMissing = errors.New("missing")
	errEmpty   = errors.New("empty")
)

// Parse reads the JSON object of a credentials file. Keys are matched to the
// letter, unknown ones are ignored, null counts as missing, and of a key that
// appears twice the last one counts. It checks that everything is there and of the
// right type; [NewFlow] checks the values. An error is a [*ConfigError] and never
// quotes the object.
func Parse(data []byte) (*Credentials, error) { return parse(data, "") }

func parse(data []byte, source string) (*Credentials, error) {
	c := &Credentials{Source: source, fields: fileFields()}
	o, err := parseObject(data)
	if err != nil {
		return nil, c.errorIn("", err)
	}
	for _, f := range []struct {
		to   *string
		name string
	}{
		{&c.TokenServiceURL, c.fields.tokenServiceURL},
		{&c.ClientID, c.fields.clientID},
		{&c.Certificate, c.fields.certificate},
		{&c.PrivateKey, c.fields.privateKey},
		{&c.GatewayURL, c.fields.gatewayURL},
	} {
		if *f.to, err = o.text(f.name); err != nil {
			return nil, c.errorIn(f.name, err)
		}
	}
	raw, ok := o[c.fields.dependencies]
	if !ok {
		return nil, c.errorIn(c.fields.dependencies, errMissing)
	}
	return c, c.setDependencies(raw)
}

// setDependencies reads the JSON array of the dependencies.
func (c *Credentials) setDependencies(raw []byte) error {
	name := c.names().dependencies
	var elements []json.RawMessage
	if err := decode(raw, &elements, "array"); err != nil {
		return c.errorIn(name, err)
	}
	c.Dependencies = make([]Dependency, len(elements))
	for i, element := range elements {
		d, field, err := parseDependency(element)
		if err != nil {
			return c.errorIn(fmt.Sprintf("%s[%d]%s", name, i, field), err)
		}
		c.Dependencies[i] = d
	}
	return nil
}

// parseDependency reads one dependency; with an error, field is what to put
// behind the name of the element.
func parseDependency(raw []byte) (d Dependency, field string, err error) {
	o, err := parseObject(raw)
	if err != nil {
		return d, "", err
	}
	if d.ORDID, err = o.text("ordId"); err != nil {
		return d, ".ordId", err
	}
	if d.GlobalTenantID, err = o.text("globalTenantId"); err != nil {
		return d, ".globalTenantId", err
	}
	return d, "", nil
}

// object is a JSON object without the members that are null. (A struct would take
// keys of the wrong case.)
type object map[string]json.RawMessage

func parseObject(data []byte) (object, error) {
	var o object
	if err := decode(data, &o, "object"); err != nil {
		return nil, err
	}
	for name, raw := range o {
		if string(raw) == "null" {
			delete(o, name)
		}
	}
	return o, nil
}

// decode reads a JSON value of a kind. Its errors quote one character at most.
func decode[T object | []json.RawMessage](data []byte, to *T, kind string) error {
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
	if err != nil || len(*to) == 0 && string(bytes.TrimSpace(data)) == "null" {
		return errors.New("not a JSON " + kind)
	}
	return nil
}

// text returns a string that must be there and not blank.
func (o object) text(name string) (s string, err error) {
	raw, ok := o[name]
	switch {
	case !ok:
		return "", errMissing
	case json.Unmarshal(raw, &s) != nil:
		return "", errors.New("not a string")
	case strings.TrimSpace(s) == "":
		return "", errEmpty
	}
	return s, nil
}
