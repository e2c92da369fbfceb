package customer_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

func TestParse(t *testing.T) {
	t.Parallel()
	o := credentialsObject(t)
	o["unknown"], o["ClientID"] = []int{1}, 7 // keys are matched to the letter
	c := must(customer.Parse(toJSON(t, o)))(t)
	want := flows.Dependency{ORDID: ordID, GlobalTenantID: "tenant-1"}
	if c.TokenServiceURL != tokenURL || c.ClientID != "the-client" || c.GatewayURL != gatewayURL+"/" ||
		c.Certificate != o["certificate"] || c.PrivateKey != o["privateKey"] || len(c.Dependencies) != 1 || c.Dependencies[0] != want {
		t.Errorf("got %v with dependencies %v, want what the object says", c, c.Dependencies)
	}

	o["integrationDependencies"] = []any{}
	if c := must(customer.Parse(toJSON(t, o)))(t); c.Dependencies == nil || len(c.Dependencies) != 0 {
		t.Errorf("an empty array: got dependencies %#v, want an empty slice, which is not nil", c.Dependencies)
	}

	twice := bytes.Replace(toJSON(t, o), []byte(`"clientid"`), []byte(`"clientid":7,"clientid"`), 1)
	if c := must(customer.Parse(twice))(t); c.ClientID != "the-client" {
		t.Errorf("a key that is there twice: got %q, want the last one", c.ClientID)
	}
}

func TestParseNamesTheKey(t *testing.T) {
	t.Parallel()
	type test struct {
		key   string
		value any    // nil: null, the key left out, or in another case
		field string // that the error names
		want  string
	}
	const dependencies = "integrationDependencies"
	tests := []test{
		{dependencies, nil, dependencies, "missing"},
		{dependencies, map[string]any{"hidden": 1}, dependencies, "not a JSON array"},
		{dependencies, "hidden", dependencies, "not a JSON array"},
		{dependencies, []any{"hidden"}, dependencies + "[0]", "not a JSON object"},
		{dependencies, []any{nil}, dependencies + "[0]", "not a JSON object"},
		{dependencies, []any{map[string]any{"ordId": "a", "globalTenantId": "b"}, map[string]any{"ordId": "hidden"}}, dependencies + "[1].globalTenantId", "missing"},
		{dependencies, []any{map[string]any{"ordID": "hidden", "globalTenantId": "b"}}, dependencies + "[0].ordId", "missing"},
		{dependencies, []any{map[string]any{"ordId": 7, "globalTenantId": "b"}}, dependencies + "[0].ordId", "not a string"},
		{dependencies, []any{map[string]any{"ordId": "", "globalTenantId": "b"}}, dependencies + "[0].ordId", "empty"},
	}
	for _, key := range []string{"tokenServiceUrl", "clientid", "certificate", "privateKey", "gatewayUrl"} {
		tests = append(tests,
			test{key, nil, key, "missing"}, test{key, "", key, "empty"}, test{key, " \n", key, "empty"},
			test{key, 7, key, "not a string"}, test{key, []any{"hidden"}, key, "not a string"}, test{key, true, key, "not a string"})
	}
	whole := credentialsObject(t)
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %v", test.key, test.value), func(t *testing.T) {
			t.Parallel()
			o := maps.Clone(whole)
			parseError := func() error { _, err := customer.Parse(toJSON(t, o)); return err }
			o[test.key] = test.value
			assertConfigError(t, "the value", parseError(), "", test.field, test.want)
			if test.value == nil {
				delete(o, test.key)
				assertConfigError(t, "without the key", parseError(), "", test.field, test.want)
				o[strings.ToUpper(test.key)] = whole[test.key]
				assertConfigError(t, "with the key in another case", parseError(), "", test.field, test.want)
			}
		})
	}
}

func TestParseTakesOneJSONObject(t *testing.T) {
	t.Parallel()
	whole := string(toJSON(t, credentialsObject(t)))
	for text, want := range map[string]string{
		"":                           "not valid JSON",
		"hidden":                     "not valid JSON at byte 1",
		`{"clientid":"hidden`:        "not valid JSON at byte",
		whole[:len(whole)/2]:         "not valid JSON at byte",
		whole + "hidden":             "not valid JSON at byte",
		whole + whole:                "not valid JSON at byte",
		"\ufeff" + whole:             "byte order mark",
		`{"clientid":"` + "\xff\xfe": "not UTF-8",
		`"hidden"`:                   "not a JSON object",
		`[{"clientid":"hidden"}]`:    "not a JSON object",
		`12345678901234567890`:       "not a JSON object",
		`null`:                       "not a JSON object",
		` null `:                     "not a JSON object",
		strings.Repeat("[", 100_000): "not valid JSON",
		`{}`:                         "tokenServiceUrl: missing",
	} {
		_, err := customer.Parse([]byte(text))
		var e *tokensource.ConfigError
		if !errors.As(err, &e) || !strings.Contains(e.Error(), want) || strings.Contains(e.Error(), "hidden") || len(e.Error()) > 200 {
			t.Errorf("%.40q: got error %v, want a short *ConfigError with %q that quotes nothing", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"tokenServiceUrl":"https://a/t","clientid":"c","certificate":"x","privateKey":"y","gatewayUrl":"https://g","integrationDependencies":[]}`))
	f.Add(toJSON(f, credentialsObject(f)))
	f.Add([]byte(`{"clientid":1}`))
	f.Add([]byte("\ufeff{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e *tokensource.ConfigError
		c, err := customer.Parse(data)
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatalf("got error %v (%T), want a *ConfigError", err, err)
			}
			return
		}
		if c.TokenServiceURL == "" || c.ClientID == "" || c.Certificate == "" || c.PrivateKey == "" || c.GatewayURL == "" || c.Dependencies == nil {
			t.Fatalf("Parse accepts incomplete credentials: %v", c)
		}
		if key := c.PrivateKey; len(key) > 60 && strings.Contains(fmt.Sprintf("%v %+v %#v %s", c, c, *c, c), key) {
			t.Fatal("the private key is printed")
		}
		if _, err := c.NewFlow(flows.Options{}); err != nil && !errors.As(err, &e) {
			t.Fatalf("NewFlow: got error %v (%T), want a *ConfigError", err, err)
		}
	})
}
