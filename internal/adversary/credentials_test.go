package adversary_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
)

// Errors about broken credentials do not quote them, wherever their file was cut, and
// whichever value is in the place of another one.
func TestBrokenCredentialsShowNothing(t *testing.T) {
	t.Parallel()
	server, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s, o := &secrets{}, newOutput()

	good := server.Credentials()
	key := good["privateKey"].(string)
	s.addKey(key)
	load := func(data []byte) {
		c, err := customer.Parse(data)
		o.addError("parsing", err)
		if err == nil {
			_, err = c.NewFlow(flows.Options{})
			o.addError("checking", err)
		}
	}
	whole, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 7 {
		load(whole[:i])
		load(append(whole[:i:i], whole[i+1:]...))
	}
	for name := range good {
		for _, wrong := range []any{
			key, []string{key}, map[string]string{key: key}, key[:100], key + key,
			"https://me:" + key[40:60] + "@x.example", "https://x.example/#" + key[40:60], nil,
		} {
			bad := maps.Clone(good)
			bad[name] = wrong
			data, err := json.Marshal(bad)
			if err != nil {
				t.Fatal(err)
			}
			load(data)
		}
	}

	secret := server.DestinationBinding()["clientsecret"]
	s.add("client secret", secret)
	for i := range 5 {
		for _, wrong := range []string{secret, "https://me:" + secret + "@x.example", "https://x.example/?" + secret, ""} {
			c := lobCredentials(server)
			*[]*string{&c.ClientID, &c.ClientSecret, &c.URL, &c.URI, &c.IdentityZone}[i] = wrong
			_, err := c.NewFlow(flows.Options{})
			o.addError("checking a binding", err)
		}
	}
	o.check(t, "broken credentials", s)
	if len(o.texts) < 50 {
		t.Errorf("the test has tested too little: %d texts", len(o.texts))
	}
}
