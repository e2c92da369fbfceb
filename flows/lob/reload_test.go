package lob_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func mustReload(t *testing.T, flow reloadableFlow) *tokensource.Identity {
	t.Helper()
	if err := flow.Reload(t.Context()); err != nil {
		t.Errorf("Reload: %v", err)
	}
	return flow.Identity()
}

func inTenant(t *testing.T, tenant string) context.Context {
	return tokensource.WithTenant(t.Context(), tenant)
}

func mustAccessToken(t *testing.T, src *tokensource.Source, ctx context.Context) *tokensource.Token {
	t.Helper()
	token, err := src.AccessToken(ctx)
	if err != nil {
		t.Fatalf("AccessToken: %v", err)
	}
	return token
}

func TestReloadWithoutAChange(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow, dir := s.newMountedFlow(t)
	before := flow.Identity()
	if mustReload(t, flow) != before {
		t.Error("nothing has changed, but there is another identity")
	}
	writeFiles(t, dir, map[string]string{"clientsecret": "\n" + secret + " "})
	if mustReload(t, flow) != before {
		t.Error("nothing but white space has changed, but there is another identity")
	}
}

// A renewed secret of the same client is in force with the next request for a service token,
// and leaves valid what was obtained before.
func TestRenewedSecretKeepsTokens(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow, dir := s.newMountedFlow(t)
	src := newSource(t, flow, tokensource.Options{})
	system, alice := inTenant(t, "acme"), tokensource.WithUserToken(inTenant(t, "acme"), userJWT)
	ofSystem, ofAlice := mustAccessToken(t, src, system), mustAccessToken(t, src, alice)
	if _, err := flow.ClientID(t.Context()); err != nil {
		t.Fatalf("ClientID: %v", err)
	}
	s.sequence()

	before := flow.Identity()
	writeFiles(t, dir, map[string]string{"clientsecret": "another secret\n"})
	after := mustReload(t, flow)
	if after == before || *after != *before {
		t.Errorf("got identity %p %+v, want another pointer than %p and the same fields", after, *after, before)
	}
	if mustAccessToken(t, src, system) != ofSystem || mustAccessToken(t, src, alice) != ofAlice {
		t.Error("the cached tokens of the system and of a user are not served any more")
	}
	assertSequence(t, "cached tokens after the secret was renewed", s, "")
	mustAccessToken(t, src, tokensource.WithUserToken(inTenant(t, "acme"), "JWT.of-the-user.bob"))
	assertSequence(t, "another user: service token and fragment are known", s, "destination")
	if _, err := flow.ClientID(t.Context()); err != nil {
		t.Errorf("ClientID: %v", err)
	}
	assertSequence(t, "the client id is known", s, "")

	mustAccessToken(t, src, inTenant(t, "globex"))
	if form := s.received()[0].Body; form != "client_id=sb-1&client_secret=another+secret&grant_type=client_credentials" {
		t.Errorf("the next service token was asked for with %s, want the new secret", form)
	}
	assertSequence(t, "another tenant", s, "auth fragments destination")
}

// Of another client, or at other URLs, nothing that was obtained before is used.
func TestAnotherClientUsesNothingOfTheOldOne(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change map[string]string
		urls   []string // of the requests afterwards
	}{
		{"client id", map[string]string{"clientid": "sb-2"},
			[]string{"https://acme.authentication.example.com/oauth/token", destURL, destURL}},
		{"url", map[string]string{"url": "https://provider.authentication.example.org/x"},
			[]string{"https://acme.authentication.example.org/x/oauth/token", destURL, destURL}},
		{"identityzone", map[string]string{"identityzone": "authentication"},
			[]string{"https://provider.acme.example.com/oauth/token", destURL, destURL}},
		{"uri", map[string]string{"uri": "https://destination.example.org"},
			[]string{"https://acme.authentication.example.com/oauth/token", "https://destination.example.org", "https://destination.example.org"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices()
			flow, dir := s.newMountedFlow(t)
			src := newSource(t, flow, tokensource.Options{})
			ctx := inTenant(t, "acme")
			old := mustAccessToken(t, src, ctx)
			if _, err := flow.ClientID(t.Context()); err != nil {
				t.Fatalf("ClientID: %v", err)
			}
			s.sequence()

			writeFiles(t, dir, tt.change)
			before := *flow.Identity()
			if after := *mustReload(t, flow); after == before {
				t.Fatalf("got the identity %+v as before, want another one", after)
			}
			if mustAccessToken(t, src, ctx) == old {
				t.Error("the old client's token is served")
			}
			requests := s.received()
			assertSequence(t, "first call of the new client", s, "auth fragments destination")
			for i, r := range requests {
				if !strings.HasPrefix(r.URL, tt.urls[i]+"/") && r.URL != tt.urls[i] {
					t.Errorf("request %d went to %s, want %s", i+1, r.URL, tt.urls[i])
				}
			}
			if _, err := flow.ClientID(t.Context()); err != nil {
				t.Errorf("ClientID: %v", err)
			}
			assertSequence(t, "client id of the new client", s, "auth destination")
		})
	}
}

func TestReloadKeepsTheOldBindingAfterAnError(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow, dir := s.newMountedFlow(t)
	before := flow.Identity()
	for key, value := range map[string]string{
		"clientsecret": " ", "url": "http://provider.example.com", "uri": "nonsense", "clientid": "\n",
	} {
		writeFiles(t, dir, values("sb-1"))
		writeFiles(t, dir, map[string]string{key: value})
		err := flow.Reload(t.Context())
		if got := configErrors(err); flow.Identity() != before || !slices.Equal(got, []string{dir + ": " + key}) {
			t.Errorf("%s is %q: got errors about %v and identity %p, want an error about the key, and %p", key, value, got, flow.Identity(), before)
		}
		assertError(t, err)
	}
	writeFiles(t, dir, values("sb-1"))
	if err := os.Remove(filepath.Join(dir, "uri")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "uri"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := flow.Reload(t.Context())
	assertError(t, err, filepath.Join(dir, "uri"), "not a regular file")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got := configErrors(flow.Reload(t.Context())); len(got) != 5 {
		t.Errorf("there are no files any more: got errors about %v, want one for each of the five keys", got)
	}
	if flow.Identity() != before {
		t.Error("there are no files any more, and the old client is not in force")
	}
	mustFetch(t, flow, "acme", "")
}

// The secret is refused, and has been renewed: also whoever asks for something else than a
// token gets it at once.
func TestRefusedSecretIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change map[string]string
		ask    func(reloadableFlow) error
		want   string
	}{
		{"renewed secret, client id", map[string]string{"clientsecret": "another"},
			func(f reloadableFlow) error { _, err := f.ClientID(context.Background()); return err }, "auth auth destination"},
		{"another client, client id", map[string]string{"clientid": "sb-2"},
			func(f reloadableFlow) error { _, err := f.ClientID(context.Background()); return err }, "auth auth destination"},
		{"renewed secret, list", map[string]string{"clientsecret": "another"}, listAgents, "auth auth fragments"},
		{"another client, list", map[string]string{"clientid": "sb-2"}, listAgents, "auth auth fragments"},
		{"renewed secret, token", map[string]string{"clientsecret": "another"}, func(f reloadableFlow) error {
			_, err := f.Fetch(context.Background(), subject("acme", ""))
			return err
		}, "auth auth fragments destination"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices()
			s.fragments = func(int, request) httpResponse {
				return httpResponse{200, `[{"FragmentName":"frag","URL":"https://gateway.example.com/ord/tenant"}]`}
			}
			flow, dir := s.newMountedFlow(t)
			good := s.auth
			s.auth = func(n int, r request) httpResponse {
				if n == 1 { // it has just changed, on both sides
					writeFiles(t, dir, tt.change)
					return httpResponse{401, `{"error":"invalid_client"}`}
				}
				return good(n, r)
			}
			if err := tt.ask(flow); err != nil {
				t.Errorf("got %v, want success with the new credentials", err)
			}
			assertSequence(t, tt.name, s, tt.want)
		})
	}
	t.Run("nothing has changed", func(t *testing.T) {
		t.Parallel()
		s := newServices()
		s.auth = func(int, request) httpResponse { return httpResponse{401, `{"error":"invalid_client"}`} }
		flow, _ := s.newMountedFlow(t)
		assertError(t, listAgents(flow), "invalid_client")
		assertSequence(t, "nothing has changed", s, "auth")
	})
}

// Lists and the client id are asked for with the credentials as they are now, even if what
// was obtained with the old ones is remembered. If they cannot be read, the old ones count.
func TestListsAndClientIDReload(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(reloadableFlow) error{
		"MCPServers": func(f reloadableFlow) error { _, err := f.MCPServers(inTenant(t, "acme")); return err },
		"Agents":     listAgents,
		"ClientID":   func(f reloadableFlow) error { _, err := f.ClientID(context.Background()); return err },
	} {
		s := newServices()
		s.fragments = func(int, request) httpResponse { return httpResponse{200, `[]`} }
		flow, dir := s.newMountedFlow(t)
		if err := ask(flow); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.sequence()
		writeFiles(t, dir, map[string]string{"uri": "https://destination.example.org"})
		if err := ask(flow); err != nil {
			t.Errorf("%s after a change: %v", name, err)
		}
		if requests := s.received(); len(requests) != 2 || !strings.HasPrefix(requests[1].URL, "https://destination.example.org/") {
			t.Errorf("%s after a change: requests %v, want a new service token and the new Destination Service", name, requests)
		}
		writeFiles(t, dir, map[string]string{"uri": "nonsense"})
		if err := ask(flow); err != nil {
			t.Errorf("%s after a change that cannot be used: %v", name, err)
		}
	}
}

func listAgents(f reloadableFlow) error {
	_, err := f.Agents(tokensource.WithTenant(context.Background(), "acme"))
	return err
}

// Another client comes into force while a service token is fetched. Its token, which the
// fetch ends up with, must not reach the Destination Service of the old one.
func TestServiceTokenOfAnotherClientIsNotSentToTheOldService(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow, dir := s.newMountedFlow(t)
	src := newSource(t, flow, tokensource.Options{})
	good := s.auth
	s.auth = func(n int, r request) httpResponse {
		if n == 1 {
			writeFiles(t, dir, map[string]string{"clientid": "sb-2", "uri": "https://destination.example.org"})
			return httpResponse{401, `{"error":"invalid_client"}`}
		}
		return good(n, r)
	}
	mustAccessToken(t, src, inTenant(t, "acme"))
	for _, r := range s.received() {
		if strings.HasPrefix(r.URL, destURL) {
			t.Errorf("a request with %q went to the old Destination Service: %s", r.Header.Get("Authorization"), r.URL)
		}
	}
	assertSequence(t, "the client is replaced during the first request", s, "auth auth fragments destination")
}

// The client is replaced between the search for the fragment and the request for the
// destination: the name of the old client's fragment is not sent to the new one's service.
func TestClientIsReplacedDuringAFetch(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow, dir := s.newMountedFlow(t)
	src := newSource(t, flow, tokensource.Options{})
	s.fragments = func(_ int, r request) httpResponse {
		if strings.HasPrefix(r.URL, "https://destination.example.org") {
			return httpResponse{200, `[{"FragmentName":"new"}]`}
		}
		writeFiles(t, dir, map[string]string{"uri": "https://destination.example.org"})
		mustReload(t, flow)
		return httpResponse{200, `[{"FragmentName":"old"}]`}
	}
	mustAccessToken(t, src, inTenant(t, "acme"))
	requests := s.received()
	last := requests[len(requests)-1]
	if !strings.HasPrefix(last.URL, "https://destination.example.org/") || last.Header.Get("X-Fragment-Name") != "new@instance" {
		t.Errorf("the last request asked %s for %s, want the new service and the new fragment", last.URL, last.Header.Get("X-Fragment-Name"))
	}
	assertSequence(t, "the client is replaced during the search", s, "auth fragments auth fragments destination")
}

// The files of a mount are replaced all the time. What is read is of one moment.
func TestFilesAreReadAsOneSet(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "destination", "default")
	mount := func(value string) {
		files := make(map[string][]byte)
		for key := range values("") {
			files[key] = []byte(value)
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
	for i := 0; i < 2000 || len(seen) < 2 && i < 200_000; i++ {
		c, err := lob.LoadFrom(map[string]string{"SERVICE_BINDING_ROOT": root, "APPFND_CONHOS_LANDSCAPE": "eu10"})
		if err != nil {
			continue // they changed during each reading
		}
		if c.ClientSecret != c.ClientID || c.URL != c.ClientID || c.URI != c.ClientID || c.IdentityZone != c.ClientID {
			t.Errorf("a mixture of %q, %q, %q, %q and %q", c.ClientID, c.ClientSecret, c.URL, c.URI, c.IdentityZone)
			break
		}
		seen[c.ClientID] = true
	}
	close(stop)
	group.Wait()
	if len(seen) < 2 {
		t.Errorf("%d sets were seen, want at least 2", len(seen))
	}
}

// A binding of several files can be rewritten one file after the other. A client id next to
// the secret of another one is not put in force.
func TestReloadTakesNoFilesThatAreBeingWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flow, dir := newServices().newMountedFlow(t)
		old := flow.Identity()
		writeFiles(t, dir, map[string]string{"clientid": "half"})
		time.AfterFunc(30*time.Millisecond, func() {
			writeFiles(t, dir, map[string]string{"clientid": "whole", "clientsecret": "whole-secret"})
		})
		if got := mustReload(t, flow); got == old || got.ClientID != "whole" {
			t.Errorf("files that were half written for 30 ms: client %q is in force after Reload, want that of the whole files", got.ClientID)
		}
	})
}
