package adversary_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/flows/lob"
)

// What is wrong with credentials is said without quoting them: not where their file
// was cut, not where a value is in the place of another one.
func TestBrokenCredentialsShowNothing(t *testing.T) {
	t.Parallel()
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	w := &world{Server: srv, vault: &vault{}, output: newOutput()}
	good := srv.Credentials()
	key := good["privateKey"].(string)
	w.lockKey(key)
	whole, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 7 {
		w.customer(whole[:cut])
		w.customer(append(whole[:cut:cut], whole[cut+1:]...))
	}
	for name := range good {
		for _, wrong := range []any{key, []string{key}, map[string]string{key: key}, key[:100], key + key, "https://me:" + key[40:60] + "@x.example", "https://x.example/#" + key[40:60], nil} {
			bad := maps.Clone(good)
			bad[name] = wrong
			data, err := json.Marshal(bad)
			if err != nil {
				t.Fatal(err)
			}
			w.customer(data)
		}
	}
	binding := srv.DestinationBinding()
	w.lock("client secret", binding["clientsecret"])
	for i := range 5 {
		w.binding(binding, i)
	}
	w.check(t, "credentials", w.vault)
	if len(w.texts) < 50 {
		t.Errorf("only %d texts", len(w.texts))
	}
}

// customer keeps what is said about a credentials file.
func (w *world) customer(data []byte) {
	creds, err := customer.Parse(data)
	w.failure("parsing", err)
	if err != nil {
		return
	}
	_, err = customer.NewFlow(creds, nil)
	w.failure("checking", err)
}

// binding keeps what is said about a binding with the secret in the place of its
// i-th value.
func (w *world) binding(b map[string]string, i int) {
	values := []string{b["clientid"], b["clientsecret"], b["url"], b["uri"], b["identityzone"]}
	for _, wrong := range []string{b["clientsecret"], "https://me:" + b["clientsecret"] + "@x.example", "https://x.example/?" + b["clientsecret"], ""} {
		v := append([]string(nil), values...)
		v[i] = wrong
		_, err := lob.NewFlow(&lob.Credentials{Landscape: "l", Binding: lob.Binding{
			ClientID: v[0], ClientSecret: v[1], URL: v[2], URI: v[3], IdentityZone: v[4],
		}}, nil)
		w.failure("checking a binding", err)
	}
}
