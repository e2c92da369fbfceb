package lob_test

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	lists := map[string]func(*lob.Flow, context.Context) ([]lob.Endpoint, error){
		"agw.mcp.server": (*lob.Flow).MCPServers,
		"agw.a2a.server": (*lob.Flow).Agents,
	}
	const at = "https://gw.example.com/v1/mcp/"
	for label, list := range lists {
		f := newFake()
		f.fragments = func(int, sent) answer {
			return answer{200, `[
				{"FragmentName":"one","URL":"` + at + `sap.s4:apiAccess:salesOrder:v1/t1"},
				{"URL":"` + at + `nameless/t"},
				{"fragmentName":"two","url":"` + at + `sap.sf%3Aapi/t2//"},
				null,
				{"FragmentName":"no-url"},
				{"FragmentName":"short","URL":"https://gw.example.com/t"},
				{"FragmentName":"empty","URL":"https://gw.example.com/v1//t"},
				{"FragmentName":"scheme","URL":"sap.s4:apiAccess/x/y"},
				{"FragmentName":"password","URL":"https://u:` + gatewayJWT + `@gw.example.com/a/b"},
				{"FragmentName":"bad","URL":"https://gw.example.com/%zz/` + gatewayJWT + `"},
				{"FragmentName":"http","URL":"http://gw.example.com/a/b/c"}]`}
		}
		flow := f.start(t, lob.Options{})
		ctx := tokensource.WithUserToken(tokensource.WithTenant(t.Context(), "acme"), userJWT)
		got, err := list(flow, ctx)
		want := []lob.Endpoint{
			{Name: "one", ORDID: "sap.s4:apiAccess:salesOrder:v1", TenantID: "t1", URL: at + "sap.s4:apiAccess:salesOrder:v1/t1"},
			{Name: "two", ORDID: "sap.sf:api", TenantID: "t2", URL: at + "sap.sf%3Aapi/t2//"},
			{Name: "http", ORDID: "b", TenantID: "c", URL: "http://gw.example.com/a/b/c"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v", label, got)
		}
		expectError(t, err, label, `"acme"`, "fragment 2", "FragmentName is missing", "fragment 4", "not a JSON object",
			`"no-url": URL is missing`, `"short"`, `"empty": the ORD id`, `"scheme": URL is not an absolute`, `"password": URL has user info`, `"bad": URL cannot be parsed`)
		if n := strings.Count(err.Error(), "\n") + 1; n != 8 {
			t.Errorf("%d errors joined", n)
		}
		requests := f.last()
		if len(requests) != 2 || requests[1].URL != fragmentURL+filterFor(label) ||
			requests[1].Header.Get("Authorization") != "Bearer "+serviceJWT+"acme" || requests[1].Header.Get("X-User-Token") != "" {
			t.Errorf("%s: requests %v", label, requests)
		}
	}
}

func TestEndpointsOfNobody(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.fragments = func(int, sent) answer { return answer{200, `[]`} }
	flow := f.start(t, lob.Options{Tenant: "own"})
	got, err := flow.MCPServers(t.Context())
	if got == nil || len(got) != 0 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if auth := f.last()[1].Header.Get("Authorization"); auth != "Bearer "+serviceJWT+"own" {
		t.Errorf("asked with %s", auth)
	}
	f.fragments = func(int, sent) answer { return answer{404, ``} }
	if got, err := flow.Agents(t.Context()); got != nil || !errors.Is(err, lob.ErrNoFragment) {
		t.Errorf("got %v, %v", got, err)
	}
	flow = newFake().start(t, lob.Options{})
	if got, err := flow.Agents(t.Context()); got != nil || !errors.Is(err, lob.ErrNoTenant) {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzFragments(f *testing.F) {
	f.Add([]byte(`[{"FragmentName":"a","URL":"https://x.example/v1/mcp/ord/t"}]`))
	f.Add([]byte(`[{"fragmentName":"a","url":"sap.s4:x/y/z"},null,{}]`))
	f.Add([]byte(`{"FragmentName":"a"}`))
	f.Add([]byte("[{\"FragmentName\":\"a\\u0000\\r\\n\"}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		name, endpoints, err := lob.ParseFragments(body)
		if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimSpace(name) != name {
			t.Errorf("name %q", name)
		}
		for _, e := range endpoints {
			u, err := url.Parse(e.URL)
			if err != nil || u.Host == "" || u.User != nil || e.Name == "" || e.ORDID == "" {
				t.Errorf("endpoint %+v", e)
			}
		}
		if err == nil && name == "" && len(endpoints) > 0 {
			t.Error("endpoints without a name")
		}
	})
}

func FuzzDestination(f *testing.F) {
	f.Add([]byte(destination(`"` + gatewayURL + `"`)))
	f.Add([]byte(withTokens(`[{"error":"x"},null,` + header("bearer t") + `]`)))
	f.Add([]byte(withTokens(`{}`)))
	f.Add([]byte(`{"destinationConfiguration":{"URL":"https://x.example","url":7,"clientId":"c"},"authTokens":[{"http_header":{"value":"Bearer \u0000"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		resp, err := lob.ParseDestination(body)
		if (resp == nil) == (err == nil) {
			t.Fatalf("got %v, %v", resp, err)
		}
		if err == nil && (resp.GatewayURL == nil || resp.GatewayURL.Host == "" || !bearerToken(resp.AccessToken)) {
			t.Errorf("got %q for %v", resp.AccessToken, resp.GatewayURL)
		}
		if err != nil && len(typed(t, err).Description) > 200 {
			t.Errorf("%d bytes", len(err.Error()))
		}
		if id, err := lob.ParseClientID(body); (id == "") != (err != nil) {
			t.Errorf("client id %q, %v", id, err)
		}
		if token, ok := lob.ParseAuthToken(body); ok != bearerToken(token) {
			t.Errorf("token %q, %v", token, ok)
		}
	})
}

// bearerToken reports whether s can stand in an Authorization header.
func bearerToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
