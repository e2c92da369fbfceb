package customer_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows/customer"
)

func TestParse(t *testing.T) {
	t.Parallel()
	o := object(t)
	o["unknown"], o["ClientID"] = []int{1}, 7 // keys are matched to the letter
	c := must(customer.Parse(marshal(t, o)))(t)
	want := customer.Dependency{ORDID: ordID, GlobalTenantID: "tenant-1"}
	if c.TokenServiceURL != tokenURL || c.ClientID != "the-client" || c.GatewayURL != gatewayURL+"/" ||
		c.Certificate != o["certificate"] || c.PrivateKey != o["privateKey"] || len(c.Dependencies) != 1 || c.Dependencies[0] != want {
		t.Errorf("%+v", c)
	}
	o["integrationDependencies"] = []any{}
	if c := must(customer.Parse(marshal(t, o)))(t); c.Dependencies == nil || len(c.Dependencies) != 0 {
		t.Errorf("no dependencies: %#v", c.Dependencies)
	}
	twice := bytes.Replace(marshal(t, o), []byte(`"clientid"`), []byte(`"clientid":7,"clientid"`), 1)
	if c := must(customer.Parse(twice))(t); c.ClientID != "the-client" {
		t.Errorf("of two, %q counts", c.ClientID)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	type test struct {
		field string // the key to alter and, unless named is set, the one at fault
		value any
		named string
		want  string
	}
	tests := []test{
		{"integrationDependencies", map[string]any{"hidden": 1}, "", "not a JSON array"},
		{"integrationDependencies", "hidden", "", "not a JSON array"},
		{"integrationDependencies", []any{"hidden"}, "integrationDependencies[0]", "not a JSON object"},
		{"integrationDependencies", []any{nil}, "integrationDependencies[0]", "not a JSON object"},
		{"integrationDependencies", []any{map[string]any{"ordId": "a", "globalTenantId": "b"}, map[string]any{"ordId": "hidden"}}, "integrationDependencies[1].globalTenantId", "missing"},
		{"integrationDependencies", []any{map[string]any{"ordID": "hidden", "globalTenantId": "b"}}, "integrationDependencies[0].ordId", "missing"},
		{"integrationDependencies", []any{map[string]any{"ordId": 7, "globalTenantId": "b"}}, "integrationDependencies[0].ordId", "not a string"},
		{"integrationDependencies", []any{map[string]any{"ordId": "", "globalTenantId": "b"}}, "integrationDependencies[0].ordId", "empty"},
		{"integrationDependencies", nil, "", "missing"},
	}
	for _, field := range []string{"tokenServiceUrl", "clientid", "certificate", "privateKey", "gatewayUrl"} {
		tests = append(tests,
			test{field, nil, "", "missing"}, test{field, "", "", "empty"}, test{field, " \n", "", "empty"},
			test{field, 7, "", "not a string"}, test{field, []any{"hidden"}, "", "not a string"}, test{field, true, "", "not a string"})
	}
	whole := object(t)
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %v", test.field, test.value), func(t *testing.T) {
			t.Parallel()
			o := maps.Clone(whole)
			o[test.field] = test.value
			_, err := customer.Parse(marshal(t, o))
			checkConfigError(t, err, "", orDefault(test.named, test.field), test.want)
			if test.value == nil {
				delete(o, test.field)
				_, err := customer.Parse(marshal(t, o))
				checkConfigError(t, err, "", test.field, "missing")
				o[strings.ToUpper(test.field)] = whole[test.field]
				_, err = customer.Parse(marshal(t, o))
				checkConfigError(t, err, "", test.field, "missing")
			}
		})
	}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func TestParseWantsOneJSONObject(t *testing.T) {
	t.Parallel()
	whole := string(marshal(t, object(t)))
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
		e := (*customer.ConfigError)(nil)
		if !errors.As(err, &e) || !strings.Contains(e.Error(), want) || strings.Contains(e.Error(), "hidden") || len(e.Error()) > 200 {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"tokenServiceUrl":"https://a/t","clientid":"c","certificate":"x","privateKey":"y","gatewayUrl":"https://g","integrationDependencies":[]}`))
	f.Add(marshal(f, object(f)))
	f.Add([]byte(`{"clientid":1}`))
	f.Add([]byte("\ufeff{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := customer.Parse(data)
		if err != nil {
			if e := (*customer.ConfigError)(nil); !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			return
		}
		if c.TokenServiceURL == "" || c.ClientID == "" || c.Certificate == "" || c.PrivateKey == "" || c.GatewayURL == "" || c.Dependencies == nil {
			t.Fatalf("incomplete: %+v", c)
		}
		if key := c.PrivateKey; len(key) > 60 && strings.Contains(fmt.Sprintf("%v %+v %#v %s", c, c, *c, c), key) {
			t.Fatal("the private key is printed")
		}
		if _, err := customer.NewFlow(c, nil); err != nil {
			if e := (*customer.ConfigError)(nil); !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
		}
	})
}
