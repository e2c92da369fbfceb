package customer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// A binding is one that can be changed.
type binding struct {
	t      *testing.T
	root   string
	path   string // of the credentials file
	object map[string]any
}

func newBinding(t *testing.T) *binding {
	t.Helper()
	b := &binding{t: t, root: t.TempDir(), object: credentialsObject(t)}
	b.change(nil)
	return b
}

// change mounts the original credentials with some keys changed.
func (b *binding) change(changes map[string]any) {
	b.t.Helper()
	o := maps.Clone(b.object)
	maps.Copy(o, changes)
	b.path = writeBinding(b.t, b.root, "a", bindingType, toJSON(b.t, o))
}

func reloadError(t *testing.T, flow flows.Flow) error {
	t.Helper()
	return flow.(tokensource.Reloader).Reload(t.Context())
}

// reload reloads the credentials and returns the identity that is in force then.
func reload(t *testing.T, flow flows.Flow) *tokensource.Identity {
	t.Helper()
	if err := reloadError(t, flow); err != nil {
		t.Error(err)
	}
	return flow.Identity()
}

func TestReloadTakesOverWhatHasChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBinding(t)
		flow := loadFlow(t, b.root, flows.Options{})
		id := flow.Identity()
		if reload(t, flow) != id {
			t.Error("there is another identity, though nothing has changed")
		}
		b.change(nil)
		if reload(t, flow) != id {
			t.Error("there is another identity, though the file has the same content")
		}
		writeBinding(t, b.root, "a", bindingType, append(toJSON(t, b.object), ' '))
		if reload(t, flow) != id {
			t.Error("there is another identity, though the content means the same")
		}

		b.change(map[string]any{"integrationDependencies": []any{}})
		if reload(t, flow) != id {
			t.Error("there is another identity, though only the dependencies have changed")
		}
		if servers, err := flow.MCPServers(t.Context()); err != nil || len(servers) != 0 {
			t.Errorf("got MCP servers %v and error %v, want none after the dependencies are gone", servers, err)
		}

		cert, key := newKeyPair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		seen := []*tokensource.Identity{id}
		for _, changes := range []map[string]any{
			{"certificate": cert, "privateKey": key},
			{"clientid": "another"},
			{"gatewayUrl": "https://another.example"},
			{"tokenServiceUrl": "https://another.example/token"},
			{}, // as at first
		} {
			b.change(changes)
			now := reload(t, flow)
			if slices.Contains(seen, now) {
				t.Errorf("the identity was there before, though %v has changed", slices.Collect(maps.Keys(changes)))
			}
			if reload(t, flow) != now {
				t.Errorf("there is another identity without another change than %v", slices.Collect(maps.Keys(changes)))
			}
			for key, got := range map[string]string{"clientid": now.ClientID, "gatewayUrl": now.GatewayURL.String(), "tokenServiceUrl": now.TokenEndpoint} {
				if want, ok := changes[key]; ok && got != want {
					t.Errorf("the identity has %s %q, want %q", key, got, want)
				}
			}
			seen = append(seen, now)
		}
	})
}

// Times and sizes of files do not matter: some file systems round times, and tools set
// them.
func TestReloadComparesContents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		path := filepath.Join(root, "a", "credentials")
		writeFile(t, filepath.Join(root, "a", "type"), bindingType)
		o := credentialsObject(t)
		writeFile(t, path, string(toJSON(t, o)))
		flow := loadFlow(t, root, flows.Options{})
		info := must(os.Stat(path))(t)
		for _, test := range []struct {
			name, client string
			write        func(content string)
		}{
			{"of the same size, written in place", "tne-client", func(content string) { writeFile(t, path, content) }},
			{"of the same size, in another file", "tee-client", func(content string) {
				writeFile(t, path+".new", content)
				if err := os.Rename(path+".new", path); err != nil {
					t.Fatal(err)
				}
			}},
			{"of another size", "a-longer-client", func(content string) { writeFile(t, path, content) }},
		} {
			o["clientid"] = test.client
			test.write(string(toJSON(t, o)))
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			if got := reload(t, flow).ClientID; got != test.client {
				t.Errorf("another content, %s and at the same time: got client %q, want %q", test.name, got, test.client)
			}
		}
	})
}

// A file that is written in place, or removed before it is written anew, is in between what
// nobody should use.
func TestReloadTakesNoFileThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(path, clientID string) error{
		"credentials that are mixed": func(path, old string) error { return os.WriteFile(path, []byte(old), 0o600) },
		"a part of the file":         func(path, old string) error { return os.Truncate(path, 40) },
		"no file":                    func(path, _ string) error { return os.Remove(path) },
	} {
		synctest.Test(t, func(t *testing.T) {
			root := t.TempDir()
			o := credentialsObject(t)
			path := filepath.Join(root, "a", "credentials")
			writeFile(t, filepath.Join(root, "a", "type"), bindingType)
			writeFile(t, path, string(toJSON(t, o)))
			flow := loadFlow(t, root, flows.Options{})

			o["clientid"] = "mixed"
			mixed := string(toJSON(t, o))
			cert, key := newKeyPair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
			o["clientid"], o["certificate"], o["privateKey"] = "new", cert, key
			complete := string(toJSON(t, o))
			if err := between(path, mixed); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(30*time.Millisecond, func() {
				if err := os.WriteFile(path, []byte(complete), 0o600); err != nil {
					t.Error(err)
				}
			})
			if got := reload(t, flow).ClientID; got != "new" {
				t.Errorf("%s, for 30 ms: client %q is in force after Reload, want that of the complete file", name, got)
			}
		})
	}
}

func TestReloadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBinding(t)
		flow := loadFlow(t, b.root, flows.Options{})
		id := flow.Identity()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := flow.(tokensource.Reloader).Reload(ctx); err != nil || time.Since(start) != 0 {
			t.Errorf("nothing has changed: got error %v after %v, want none at once", err, time.Since(start))
		}
		b.change(map[string]any{"clientid": "new"})
		err := flow.(tokensource.Reloader).Reload(ctx)
		if assertConfigError(t, "a context that ends", err, b.path, "", "deadline exceeded"); !errors.Is(err, context.DeadlineExceeded) || flow.Identity() != id {
			t.Errorf("a context that ends while the file is watched: got error %v, want a DeadlineExceeded, and the old credentials to stay in force", err)
		}
		if time.Since(start) != 50*time.Millisecond {
			t.Errorf("Reload took %v, want it to end with its context, after 50ms", time.Since(start))
		}
	})
}

func TestChangesByHandStayUntilTheFileChanges(t *testing.T) {
	t.Parallel()
	b := newBinding(t)
	creds := must(customer.LoadFile(b.root))(t)
	creds.ClientID, creds.Source = "by-hand", "the vault's file"
	flow := newFlow(t, creds, flows.Options{})
	if id := reload(t, flow); id.ClientID != "by-hand" {
		t.Errorf("got client %q, want that which was set by hand", id.ClientID)
	}
	b.change(map[string]any{"clientid": "new"})
	if id := reload(t, flow); id.ClientID != "new" {
		t.Errorf("got client %q, want that of the file, since that has changed", id.ClientID)
	}
}

func TestReloadKeepsCredentialsThatWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBinding(t)
		flow := loadFlow(t, b.root, flows.Options{})
		id := flow.Identity()
		past := time.Now().Add(-time.Hour)
		expired, expiredKey := newKeyPair(t, past.Add(-time.Hour), past)
		for _, test := range []struct {
			changes     map[string]any
			field, want string
		}{
			{map[string]any{"clientid": nil}, "clientid", "missing"},
			{map[string]any{"privateKey": "hidden"}, "privateKey", "no PEM block"},
			{map[string]any{"certificate": expired, "privateKey": expiredKey}, "certificate", "expired"},
			{map[string]any{"tokenServiceUrl": "hidden"}, "tokenServiceUrl", "not an absolute"},
			{map[string]any{"gatewayUrl": "http://g.example"}, "gatewayUrl", "plain http"},
			{map[string]any{"integrationDependencies": []any{map[string]any{"ordId": ".", "globalTenantId": "b"}}}, "integrationDependencies[0].ordId", "not a segment"},
		} {
			b.change(test.changes)
			for range 2 { // the error comes again as long as the file is as it is
				assertConfigError(t, "reloading a bad "+test.field, reloadError(t, flow), b.path, test.field, test.want)
			}
			if flow.Identity() != id {
				t.Errorf("after a bad %s: the old credentials are no longer in force", test.field)
			}
		}

		directory := filepath.Dir(b.path)
		if err := os.Rename(directory, directory+".gone"); err != nil {
			t.Fatal(err)
		}
		assertConfigError(t, "reloading a file that is gone", reloadError(t, flow), b.path, "", "file does not exist")
		if err := os.Rename(directory+".gone", directory); err != nil {
			t.Fatal(err)
		}
		b.change(map[string]any{"clientid": "new"})
		if got := reload(t, flow).ClientID; got != "new" {
			t.Errorf("after the file has been repaired: got client %q, want the new one", got)
		}
	})
}

// A closeCounter counts how often its idle connections were closed.
type closeCounter struct {
	http.RoundTripper
	mu     sync.Mutex
	closed int
}

func (c *closeCounter) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
}

func TestOneChangeMakesOneClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBinding(t)
		base := &closeCounter{RoundTripper: httpmock.NewMockTransport()}
		flow := loadFlow(t, b.root, flows.Options{ServiceTransport: base})
		const rounds = 30
		for round := range rounds {
			b.change(map[string]any{"clientid": fmt.Sprintf("client-%d", round)})
			var group sync.WaitGroup
			seen := make([]*tokensource.Identity, 20)
			for i := range seen {
				group.Go(func() { seen[i] = reload(t, flow) })
			}
			group.Wait()
			for _, id := range seen {
				if id != flow.Identity() {
					t.Fatalf("change %d made more than one identity", round)
				}
			}
		}
		if base.closed != rounds {
			t.Errorf("idle connections were closed %d times, want %d: once for each client that was replaced", base.closed, rounds)
		}
	})
}

func TestConnectionsOutliveADependency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBinding(t)
		base := &closeCounter{RoundTripper: httpmock.NewMockTransport()}
		flow := loadFlow(t, b.root, flows.Options{ServiceTransport: base})
		b.change(map[string]any{"integrationDependencies": []any{}})
		reload(t, flow)
		if base.closed != 0 {
			t.Errorf("idle connections were closed %d times, though only the dependencies have changed", base.closed)
		}
	})
}

// Two calls of Reload find different changes. The later change is in force in the end.
func TestReloadsThatOvertakeEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBinding(t)
		flow := loadFlow(t, b.root, flows.Options{})
		b.change(map[string]any{"clientid": "second"})
		time.AfterFunc(120*time.Millisecond, func() { b.change(map[string]any{"clientid": "third"}) })
		var group sync.WaitGroup
		for _, begin := range []time.Duration{0, 50 * time.Millisecond} {
			group.Go(func() {
				time.Sleep(begin)
				if err := reloadError(t, flow); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := flow.Identity().ClientID; got != "third" {
			t.Errorf("client %q is in force after both calls, want the third", got)
		}
	})
}

// tokenOfClient responds with a token that names the client of the request.
func tokenOfClient(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"access_token": "for-" + r.Form.Get("client_id"), "expires_in": 3600})
	return httpmock.NewStringResponse(200, string(body)), err
}

func TestTokensOfAnotherClientAreNotServed(t *testing.T) {
	t.Parallel()
	b := newBinding(t)
	mock := httpmock.NewMockTransport()
	mock.RegisterResponder("POST", tokenURL, tokenOfClient)
	src := newSource(t, loadFlow(t, b.root, flows.Options{ServiceTransport: mock}))
	if token := must(src.Token())(t); token.AccessToken != "for-the-client" {
		t.Errorf("got %q, want the token of the first client", token.AccessToken)
	}
	b.change(map[string]any{"clientid": "new"})
	for _, user := range []string{"alice", "bob"} { // the fetch for the first one discovers the change
		if token := must(src.TokenContext(tokensource.WithUserToken(t.Context(), user)))(t); token.AccessToken != "for-new" {
			t.Errorf("%s after the change: got %q, want a token of the new client", user, token.AccessToken)
		}
	}
	if token := must(src.Token())(t); token.AccessToken != "for-new" {
		t.Errorf("the system after the change: got %q, want a token of the new client", token.AccessToken)
	}
	if gateway, known := src.Gateway(t.Context()); !known || gateway.String() != gatewayURL {
		t.Errorf("got gateway %v, want that of the credentials", gateway)
	}
}

// newRotation returns a double, a source of its mounted credentials, and functions that
// make a new client certificate and mount it.
func newRotation(t *testing.T) (srv *agwtest.Server, src *tokensource.Source, renew, mount func()) {
	t.Helper()
	srv = startDouble(t, agwtest.Options{})
	root := t.TempDir()
	renew = func() {
		t.Helper()
		if err := srv.RotateCredentials(); err != nil {
			t.Error(err)
		}
	}
	mount = func() {
		t.Helper()
		if err := srv.WriteBinding(root); err != nil {
			t.Error(err)
		}
	}
	mount()
	flow := loadFlow(t, root, flows.Options{RootCAs: srv.RootCAs()})
	t.Cleanup(flow.CloseIdleConnections)
	return srv, newSource(t, flow), renew, mount
}

func TestTokensOutliveTheirCertificate(t *testing.T) {
	t.Parallel()
	srv, src, renew, mount := newRotation(t)
	bob := tokensource.WithUserToken(t.Context(), srv.UserToken(agwtest.User{Name: "bob"}))
	before := must(src.AccessToken(t.Context()))(t)
	renew()
	mount()
	srv.RefuseOldCredentials() // from now on only the new certificate will do
	must(src.AccessToken(bob))(t)
	if after := must(src.AccessToken(t.Context()))(t); after != before {
		t.Error("the system token was fetched again, though the client is the same")
	}
	requests := srv.Requests()
	if len(requests) != 2 || requests[1].Status != 200 || requests[1].User != "bob" {
		t.Fatalf("the service got %+v, want a request for the system and one for bob", requests)
	}
	if requests[0].CertificateSerial == requests[1].CertificateSerial || requests[1].CertificateSerial == "" {
		t.Errorf("the requests came with the certificates %q and %q, want the new one to be presented", requests[0].CertificateSerial, requests[1].CertificateSerial)
	}
	if m := srv.Tokens.Meter(); m.Handshakes != 2 || m.Resumed != 0 {
		t.Errorf("%d handshakes, %d of them resumed, want a full one for each certificate", m.Handshakes, m.Resumed)
	}
}

func TestRotationWhileCallersRun(t *testing.T) {
	t.Parallel()
	srv, src, renew, mount := newRotation(t)
	before := must(src.AccessToken(t.Context()))(t)
	var group sync.WaitGroup
	for caller := range 20 {
		group.Go(func() {
			for i := range 20 {
				user := srv.UserToken(agwtest.User{Name: fmt.Sprintf("user-%d-%d", caller, i)})
				if _, err := src.TokenContext(tokensource.WithUserToken(t.Context(), user)); err != nil {
					t.Errorf("call %d of caller %d: %v", i, caller, err)
				}
			}
		})
	}
	group.Go(func() {
		for range 5 {
			renew()
			mount()
		}
	})
	group.Wait()
	if after := must(src.AccessToken(t.Context()))(t); after != before {
		t.Error("the system token was fetched again, though the client is the same")
	}
	// A request that is under way when the certificate changes is sent again.
	if n := srv.Counts().Token; n < 1+20*20 || n > 1+20*20+5*20 {
		t.Errorf("%d token requests, want one for the system and each of 400 users, and one more for each caller and change at most", n)
	}
}

// nginx in front of the service refuses a certificate with a page of its own. The renewed
// certificate, mounted a moment later, is used for the same call.
func TestCertificateRefusedInHTMLIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, title := range []string{"The SSL certificate error", "No required SSL certificate was sent"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBinding(t)
			cert, key := newKeyPair(t, time.Now().Add(-time.Hour), time.Now().Add(2*time.Hour))
			requests := 0
			service := responder(func(*http.Request) *http.Response {
				if requests++; requests == 1 {
					b.change(map[string]any{"certificate": cert, "privateKey": key})
					return newResponse(400, "", "<html>\r\n<head><title>400 "+title+"</title></head>\r\n<body>nginx</body></html>")
				}
				return newResponse(200, "", `{"access_token":"abc","expires_in":3600}`)
			})
			src := newSource(t, loadFlow(t, b.root, flows.Options{ServiceTransport: service}))
			if _, err := src.Token(); err != nil || requests != 2 {
				t.Errorf("%s: got error %v after %d requests, want a token after the second one, with the renewed certificate", title, err, requests)
			}
		})
	}
}

func TestServiceRefusesTheCertificateBeforeTheFileChanges(t *testing.T) {
	t.Parallel()
	srv, src, renew, mount := newRotation(t)
	must(src.Token())(t)
	renew()
	srv.RefuseOldCredentials()
	bob := tokensource.WithUserToken(t.Context(), srv.UserToken(agwtest.User{Name: "bob"}))
	_, err := src.AccessToken(bob)
	assertDenied(t, "before the file has changed", err, "invalid_client")
	if _, err := src.AccessToken(t.Context()); err != nil {
		t.Errorf("the system token, which was there before: %v", err)
	}
	mount()
	if _, err := src.AccessToken(bob); err != nil {
		t.Errorf("after the file has changed: got error %v, want a token at once, without backing off", err)
	}
}
