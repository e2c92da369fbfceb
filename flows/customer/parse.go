package customer

import (
	"fmt"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/jsonobject"
)

// Parse reads the JSON object of a credentials file. Keys are matched to the letter,
// unknown ones are ignored, null counts as missing, and of a key that appears twice the
// last one counts. It checks that everything is there and of the right type;
// [Credentials.NewFlow] checks the values. An error is a [*tokensource.ConfigError] and
// does not quote the object.
func Parse(data []byte) (*Credentials, error) { return parse(data, "") }

func parse(data []byte, source string) (*Credentials, error) {
	c := &Credentials{Source: source, names: namesInFile}
	o, err := jsonobject.Parse(data)
	if err != nil {
		return nil, c.errorIn("", err)
	}
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"TokenServiceURL", &c.TokenServiceURL},
		{"ClientID", &c.ClientID},
		{"Certificate", &c.Certificate},
		{"PrivateKey", &c.PrivateKey},
		{"GatewayURL", &c.GatewayURL},
	} {
		if *f.to, err = o.String(c.nameOf(f.name)); err != nil {
			return nil, c.errorIn(f.name, err)
		}
	}
	raw, ok := o[c.nameOf("Dependencies")]
	if !ok {
		return nil, c.errorIn("Dependencies", jsonobject.ErrMissing)
	}
	if err := c.parseDependencies(raw); err != nil {
		return nil, err
	}
	return c, nil
}

// parseDependencies reads the JSON array of the dependencies.
func (c *Credentials) parseDependencies(data []byte) error {
	elements, err := jsonobject.ParseArray(data)
	if err != nil {
		return c.errorIn("Dependencies", err)
	}
	c.Dependencies = make([]flows.Dependency, len(elements))
	for i, element := range elements {
		o, err := jsonobject.Parse(element)
		if err != nil {
			return c.errorInDependency(i, "", err)
		}
		d := &c.Dependencies[i]
		if d.ORDID, err = o.String(c.nameOf("ORDID")); err != nil {
			return c.errorInDependency(i, "ORDID", fmt.Errorf("%w; it must be %s", err, wantORDID))
		}
		if d.GlobalTenantID, err = o.String(c.nameOf("GlobalTenantID")); err != nil {
			return c.errorInDependency(i, "GlobalTenantID", fmt.Errorf("%w; it must be %s", err, wantTenantID))
		}
	}
	return nil
}
