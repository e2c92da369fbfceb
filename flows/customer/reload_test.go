package customer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/agwgo/agw/flows/customer"
	"github.com/agwgo/agw/tokensource"
)

// mounted returns a flow of a mounted binding and a function that swaps it.
func mounted(t *testing.T, o map[string]any) (flow *customer.Flow, path string, swap func(alter map[string]any)) {
	t.Helper()
	root := t.TempDir()
	path = mount(t, root, "a", kind, marshal(t, o))
	flow = must(customer.NewFlow(must(customer.LoadFile(root))(t), &customer.Options{Base: httpmock.NewMockTransport()}))(t)
	return flow, path, func(alter map[string]any) {
		t.Helper()
		altered := maps.Clone(o)
		maps.Copy(altered, alter)
		mount(t, root, "a", kind, marshal(t, altered))
	}
}

func reload(t *testing.T, flow *customer.Flow, refused bool) *tokensource.Identity {
	t.Helper()
	if err := flow.Reload(t.Context(), refused); err != nil {
		t.Error(err)
	}
	return flow.Identity()
}

func TestReloadTakesOverWhatHasChanged(t *testing.T) {
	t.Parallel()
	flow, _, swap := mounted(t, object(t))
	id := flow.Identity()
	for _, refused := range []bool{false, true} {
		if reload(t, flow, refused) != id {
			t.Error("another identity, though nothing has changed")
		}
	}
	swap(nil) // another file with the same content
	if reload(t, flow, false) != id {
		t.Error("another identity, though the content is the same")
	}
	swap(map[string]any{"integrationDependencies": []any{}})
	if reload(t, flow, false) != id {
		t.Error("another identity, though only the dependencies have changed")
	}
	if e, err := flow.MCPServers(t.Context()); err != nil || len(e) != 0 {
		t.Errorf("old dependencies: %v, %v", e, err)
	}
	cert, key := pair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	for _, alter := range []map[string]any{
		{"certificate": cert, "privateKey": key},
		{"clientid": "another"},
		{"gatewayUrl": "https://another.example"},
		{"tokenServiceUrl": "https://another.example/token"},
	} {
		swap(alter)
		now := reload(t, flow, false)
		if now == id {
			t.Errorf("the same identity, though %v has changed", maps.Keys(alter))
		}
		if reload(t, flow, false) != now {
			t.Error("another identity without another change")
		}
		id = now
	}
	if id.TokenEndpoint != "https://another.example/token" {
		t.Errorf("%+v", *id)
	}
}

func TestReloadSeesAFileWrittenInPlace(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "a", "credentials")
	write(t, filepath.Join(root, "a", "type"), kind)
	o := object(t)
	write(t, path, string(marshal(t, o)))
	flow := must(customer.NewFlow(must(customer.LoadFile(root))(t), nil))(t)
	id := flow.Identity()

	info := must(os.Stat(path))(t)
	o["clientid"] = "a-longer-client"
	write(t, path, string(marshal(t, o)))
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	longer := reload(t, flow, false)
	if longer == id || longer.ClientID != "a-longer-client" {
		t.Error("another size was not seen")
	}
	info = must(os.Stat(path))(t)
	o["clientid"] = "a-client-as-long"[:len("a-longer-client")]
	write(t, path, string(marshal(t, o)))
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if reload(t, flow, false) != longer {
		t.Error("the file was read though it looks the same")
	}
	if reload(t, flow, true) == longer { // the service knows better
		t.Error("the file was not read though the service refused")
	}
	o["clientid"] = "another-client-"
	write(t, path, string(marshal(t, o)))
	if err := os.Chtimes(path, info.ModTime(), info.ModTime().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if reload(t, flow, false).ClientID != "another-client-" {
		t.Error("another time was not seen")
	}
}

func TestReloadSeesAnotherFileThatLooksTheSame(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "a", "credentials")
	write(t, filepath.Join(root, "a", "type"), kind)
	o := object(t)
	write(t, path, string(marshal(t, o)))
	flow := must(customer.NewFlow(must(customer.LoadFile(root))(t), nil))(t)
	info := must(os.Stat(path))(t)
	o["clientid"] = "tne-client"
	write(t, path+".new", string(marshal(t, o)))
	if err := os.Chtimes(path+".new", info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if reload(t, flow, false).ClientID != "tne-client" {
		t.Error("another file was not seen")
	}
}

func TestReloadKeepsWhatWorks(t *testing.T) {
	t.Parallel()
	flow, path, swap := mounted(t, object(t))
	id := flow.Identity()
	old := time.Now().Add(-time.Hour)
	expired, expiredKey := pair(t, old.Add(-time.Hour), old)
	for _, test := range []struct {
		alter       map[string]any
		field, want string
	}{
		{map[string]any{"clientid": nil}, "clientid", "missing"},
		{map[string]any{"privateKey": "hidden"}, "privateKey", "no PEM block"},
		{map[string]any{"certificate": expired, "privateKey": expiredKey}, "certificate", "expired"},
		{map[string]any{"tokenServiceUrl": "hidden"}, "tokenServiceUrl", "not an absolute"},
		{map[string]any{"integrationDependencies": []any{map[string]any{"ordId": ".", "globalTenantId": "b"}}}, "integrationDependencies[0].ordId", "not a segment"},
	} {
		swap(test.alter)
		for range 2 { // and again, as long as it is so
			checkConfigError(t, flow.Reload(t.Context(), false), path, test.field, test.want)
		}
		if flow.Identity() != id {
			t.Errorf("%s: the old credentials are gone", test.field)
		}
	}
	data := filepath.Dir(path)
	if err := os.Rename(data, data+".gone"); err != nil {
		t.Fatal(err)
	}
	for _, refused := range []bool{false, true} {
		checkConfigError(t, flow.Reload(t.Context(), refused), path, "", "no such file")
	}
	if err := os.Rename(data+".gone", data); err != nil {
		t.Fatal(err)
	}
	swap(map[string]any{"clientid": "new"})
	if reload(t, flow, false).ClientID != "new" {
		t.Error("no recovery")
	}
}

// closing counts how often its idle connections were closed.
type closing struct {
	http.RoundTripper
	mu sync.Mutex
	n  int
}

func (c *closing) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func TestReloadIsSerialized(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	o := object(t)
	mount(t, root, "a", kind, marshal(t, o))
	base := &closing{RoundTripper: httpmock.NewMockTransport()}
	flow := must(customer.NewFlow(must(customer.LoadFile(root))(t), &customer.Options{Base: base}))(t)
	for round := range 100 {
		o["clientid"] = fmt.Sprintf("new-%d", round)
		mount(t, root, "a", kind, marshal(t, o))
		var group sync.WaitGroup
		seen := make([]*tokensource.Identity, 50)
		for i := range seen {
			group.Go(func() { seen[i] = reload(t, flow, i%2 == 0) })
		}
		group.Wait()
		for _, id := range seen {
			if id != flow.Identity() {
				t.Fatal("one change made more than one identity")
			}
		}
	}
	if base.n != 100 {
		t.Errorf("idle connections closed %d times, want 100", base.n)
	}
}

func TestReloadIsCheap(t *testing.T) { // not parallel, since it counts allocations
	flow, _, _ := mounted(t, object(t))
	if n := testing.AllocsPerRun(100, func() { _ = flow.Reload(t.Context(), false) }); n > 10 {
		t.Errorf("%v allocations when nothing has changed", n)
	}
}

// tokensBy answers with a token that names the client who asked.
func tokensBy(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"access_token": "for-" + r.Form.Get("client_id"), "expires_in": 3600})
	return httpmock.NewStringResponse(200, string(body)), err
}

func TestSourceDropsTokensOfOldCredentials(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	o := object(t)
	mount(t, root, "a", kind, marshal(t, o))
	mock := httpmock.NewMockTransport()
	mock.RegisterResponder("POST", tokenURL, tokensBy)
	flow := must(customer.NewFlow(must(customer.LoadFile(root))(t), &customer.Options{Base: mock}))(t)
	src := must(tokensource.New(flow, tokensource.Options{}))(t)
	if token := must(src.Token())(t); token.AccessToken != "for-the-client" {
		t.Error(token.AccessToken)
	}
	o["clientid"] = "new"
	mount(t, root, "a", kind, marshal(t, o))
	for i := range 3 { // a fetch is due for another user, and brings the change to light
		user := fmt.Sprintf("user-%d", i)
		if token := must(src.TokenContext(tokensource.WithUserToken(t.Context(), user)))(t); token.AccessToken != "for-new" {
			t.Error(token.AccessToken)
		}
	}
	if token := must(src.Token())(t); !strings.HasSuffix(token.AccessToken, "new") {
		t.Errorf("%s of the old credentials was served", token.AccessToken)
	}
}
