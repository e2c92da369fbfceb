package customer_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
)

func TestCredentialsPrintWithoutSecrets(t *testing.T) {
	t.Parallel()
	c := parseWith(t, map[string]any{"tokenServiceUrl": "https://u:hidden@a.example/t?hidden", "gatewayUrl": "https://hidden@g.example"})
	malformed := *c
	malformed.TokenServiceURL = "https://hidden\x00"
	flow := newFlow(t, parseWith(t, map[string]any{"certificate": c.Certificate, "privateKey": c.PrivateKey}), flows.Options{})
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "pointer", c, "value", *c, "in a struct", struct{ C *customer.Credentials }{c}, "flow", flow)
	for name, text := range map[string]string{
		"a pointer":         fmt.Sprintf("%v %+v %#v %s %q %d %x", c, c, c, c, c, c, c),
		"a value":           fmt.Sprintf("%v %+v %#v", *c, *c, *c),
		"in other values":   fmt.Sprint([]any{c, *c, malformed, map[string]any{"c": c}}),
		"JSON of a pointer": string(toJSON(t, c)),
		"JSON of a slice":   string(toJSON(t, []customer.Credentials{*c})),
		"JSON of the flow":  string(must(json.Marshal(flow))(t)),
		"a log":             log.String(),
		"the flow":          fmt.Sprintf("%v %+v %#v %x", flow, flow, flow, flow),
		"its identity":      fmt.Sprintf("%#v", *flow.Identity()),
	} {
		for what, secret := range map[string]string{"the key": c.PrivateKey[60:90], "the certificate": c.Certificate[60:90], "a part of a URL": "hidden"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s: %s", name, what, text)
			}
		}
	}
	if text := fmt.Sprint(c); !strings.Contains(text, "the-client") || !strings.Contains(text, "https://a.example/t") || !strings.Contains(text, "dependencies:1") {
		t.Errorf("credentials print as %s, want the client, the URL and the number of dependencies in it", text)
	}
	if text := fmt.Sprint(customer.Credentials{}); !strings.Contains(text, "certificate:none") {
		t.Errorf("credentials without a certificate print as %s", text)
	}
}
