package lob_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// mounted returns a flow whose binding is in files, and the directory of those.
func mounted(t *testing.T, f *fake) (flow *lob.Flow, dir string) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "destination", "default")
	writeFiles(t, dir, values("1"))
	creds, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": "eu10"})
	if err != nil {
		t.Fatal(err)
	}
	return f.startWith(t, creds, lob.Options{}), dir
}

func TestReload(t *testing.T) {
	t.Parallel()
	f := newFake()
	flow, dir := mounted(t, f)
	f.mustFetch(t, "acme", "")
	before := flow.Identity()
	if err := flow.Reload(t.Context(), false); err != nil || flow.Identity() != before {
		t.Fatalf("got %v without a change, %v", flow.Identity(), err)
	}
	f.trace()
	f.mustFetch(t, "acme", "")
	expectTrace(t, f, "destination")

	// A new secret alone is another identity, and nothing of the old one is used.
	writeFiles(t, dir, map[string]string{"clientsecret": "another secret\n"})
	if err := flow.Reload(t.Context(), false); err != nil || flow.Identity() == before {
		t.Fatalf("the same identity after a change, %v", err)
	}
	f.mustFetch(t, "acme", "")
	if form := f.last()[0].Body; form != "client_id=sb-1&client_secret=another+secret&grant_type=client_credentials" {
		t.Errorf("form %s", form)
	}
	expectTrace(t, f, "auth fragments destination")
}

func TestReloadKeepsTheOldBindingAfterAnError(t *testing.T) {
	t.Parallel()
	f := newFake()
	flow, dir := mounted(t, f)
	before := flow.Identity()
	for _, broken := range []map[string]string{
		{"clientsecret": " "}, {"url": "http://provider.example.com"}, {"uri": "nonsense"}, {"identityzone": "other"},
	} {
		writeFiles(t, dir, values("1"))
		writeFiles(t, dir, broken)
		for _, refused := range []bool{false, true} {
			if err := flow.Reload(t.Context(), refused); err == nil || flow.Identity() != before {
				t.Errorf("%v: got %v, %v", broken, flow.Identity(), err)
			} else {
				expectError(t, err, dir)
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var se *lob.SourceError
	if err := flow.Reload(t.Context(), false); !errors.As(err, &se) || se.Source != dir || len(se.Missing) != 5 {
		t.Errorf("got %v", err)
	}
	f.mustFetch(t, "acme", "")
}

// Whoever asks for something else than a token recovers from a rotation, too.
func TestRefusedCredentialsAreReadAgain(t *testing.T) {
	t.Parallel()
	f := newFake()
	good := f.auth
	flow, dir := mounted(t, f)
	f.auth = func(n int, r sent) answer {
		if n == 1 { // they have just changed, on both sides
			writeFiles(t, dir, values("2"))
			return answer{401, `{"error":"invalid_client"}`}
		}
		return good(n, r)
	}
	if id, err := flow.ClientID(t.Context()); id != "ias-client" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	expectTrace(t, f, "auth auth destination")
	if id := flow.Identity(); id.ClientID != "sb-2" {
		t.Errorf("got %+v", id)
	}

	// Not if nothing has changed.
	f = newFake()
	f.auth = func(int, sent) answer { return answer{401, `{"error":"invalid_client"}`} }
	flow, _ = mounted(t, f)
	_, err := flow.MCPServers(tokensource.WithTenant(t.Context(), "acme"))
	expectError(t, err, "invalid_client")
	expectTrace(t, f, "auth")
}

// The files of a mount are swapped all the time; what is read is of one set.
func TestFilesAreReadAsOneSet(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "destination", "default")
	mount := func(mark string) {
		files := make(map[string][]byte)
		for key := range values("") {
			files[key] = []byte(mark)
		}
		if err := agwtest.WriteMount(dir, files); err != nil {
			t.Error(err)
		}
	}
	mount("0")
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				mount(fmt.Sprint(i))
			}
		}
	})
	seen := make(map[string]bool)
	for range 2000 {
		creds, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": "eu10"})
		if err != nil {
			continue // they have changed during each reading
		}
		b := creds.Binding
		if b.ClientSecret != b.ClientID || b.URL != b.ClientID || b.URI != b.ClientID || b.IdentityZone != b.ClientID {
			t.Fatalf("a mixture of %q, %q, %q, %q and %q", b.ClientID, b.ClientSecret, b.URL, b.URI, b.IdentityZone)
		}
		seen[b.ClientID] = true
	}
	close(stop)
	group.Wait()
	if len(seen) < 2 {
		t.Errorf("%d sets seen", len(seen))
	}
}

func TestRotationOverTLS(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	w := start(t, root)
	ctx := w.asUser("acme", "")
	w.grant(t, ctx)

	// The secret changes on disk: nothing happens before a fetch is due.
	w.RotateClientSecret()
	if err := w.WriteDestinationBinding(root); err != nil {
		t.Fatal(err)
	}
	w.RefuseOldClients()
	w.ResetCounts()
	w.grant(t, ctx)
	w.expect(t, "warm", 0, 0, 0)
	w.grant(t, w.asUser("acme", "alice"))
	w.expect(t, "first fetch after a rotation", 1, 1, 1)

	// The old secret is refused before the new one is there.
	w.RotateClientSecret()
	w.RefuseOldClients()
	if _, err := w.src.Grant(w.asUser("globex", "")); err == nil {
		t.Fatal("the old secret is still good")
	}
	if err := w.WriteDestinationBinding(root); err != nil {
		t.Fatal(err)
	}
	w.ResetCounts()
	if _, err := w.flow.ClientID(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "client id after a rotation", 1, 0, 1)
	w.grant(t, w.asUser("initech", ""))
	w.expect(t, "another tenant", 1, 1, 1)
}
