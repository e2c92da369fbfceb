package flows_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("unused") }
	dialOld := func(string, string) (net.Conn, error) { return nil, errors.New("unused") }
	var none *http.Transport
	for _, test := range []struct {
		name  string
		opts  flows.Options
		field string // that the error names; "" for none
		want  string // a part of the error
	}{
		{"the zero value", flows.Options{}, "", ""},
		{"all that a flow can use", flows.Options{
			ServiceTransport: &http.Transport{DialContext: dial, TLSClientConfig: new(tls.Config)}, MaxConcurrentRequests: 1,
			Tokens: tokensource.Options{Settings: tokensource.Settings{FetchTimeout: time.Second}},
		}, "", ""},
		{"a transport that is nil", flows.Options{ServiceTransport: none}, "", ""},
		{"less than no requests", flows.Options{MaxConcurrentRequests: -1}, "MaxConcurrentRequests", "-1, must be at least 0"},
		{"a setting out of range", flows.Options{Tokens: tokensource.Options{Settings: tokensource.Settings{FetchTimeout: -1}}}, "Settings.FetchTimeout", "must be more than 0"},
		{"DialTLSContext", flows.Options{ServiceTransport: &http.Transport{DialTLSContext: dial}}, "ServiceTransport", "use DialContext"},
		//lint:ignore SA1019 this is what is tested
		{"DialTLS", flows.Options{ServiceTransport: &http.Transport{DialTLS: dialOld}}, "ServiceTransport", "RootCAs and the client certificate have no effect"},
	} {
		err := test.opts.Check()
		if test.field == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		var e *tokensource.ConfigError
		if !errors.As(err, &e) || e.Field != test.field || !strings.Contains(e.Error(), test.want) {
			t.Errorf("%s: got error %v (%T), want a *ConfigError of field %s with %q", test.name, err, err, test.field, test.want)
		}
	}
}

// Whoever reads it looks for one place: the one that was meant.
func TestNotFoundErrorCanBeScanned(t *testing.T) {
	t.Parallel()
	err := &flows.NotFoundError{Places: []flows.Place{
		{Flow: "customer", Name: "/bindings", Problem: "no binding in it\n/bindings/a is of type postgresql"},
		{Flow: "lob", Name: "environment", Problem: "not set: A, B"},
	}}
	const want = "agw: no credentials found; looked in this order:\n" +
		"1. customer: /bindings\n" +
		"   no binding in it\n" +
		"   /bindings/a is of type postgresql\n" +
		"2. lob: environment\n" +
		"   not set: A, B"
	if got := err.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !errors.Is(err, flows.ErrNoCredentials) {
		t.Error("a NotFoundError is not an ErrNoCredentials")
	}
}
