package lob_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	const base, card = "https://gw.example.com/v1/mcp/", "/.well-known/agent-card.json"
	for _, tt := range []struct {
		name, label string
		list        func(flows.Flow, context.Context) ([]flows.Endpoint, error)
		cards       []string
	}{
		{"MCP servers", "agw.mcp.server", flows.Flow.MCPServers, []string{"", "", ""}},
		{"agents", "agw.a2a.server", flows.Flow.Agents, []string{
			base + "sap.s4:apiAccess:salesOrder:v1/t1" + card, base + "sap.sf%3Aapi/t2" + card, "http://gw.example.com/a/b/c" + card,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices()
			s.fragments = func(int, request) httpResponse {
				return httpResponse{200, `[
					{"FragmentName":"one","URL":"` + base + `sap.s4:apiAccess:salesOrder:v1/t1"},
					{"URL":"` + base + `nameless/t"},
					{"fragmentName":"two","url":"` + base + `sap.sf%3Aapi/t2//"},
					null,
					{"FragmentName":"no-url"},
					{"FragmentName":"short","URL":"https://gw.example.com/t"},
					{"FragmentName":"empty","URL":"https://gw.example.com/v1//t"},
					{"FragmentName":"scheme","URL":"sap.s4:apiAccess/x/y"},
					{"FragmentName":"password","URL":"https://u:` + gatewayJWT + `@gw.example.com/a/b"},
					{"FragmentName":"bad","URL":"https://gw.example.com/%zz/` + gatewayJWT + `"},
					{"FragmentName":"` + serviceJWT + `acme","URL":"https://gw.example.com"},
					{"FragmentName":"http","URL":"http://gw.example.com/a/b/c"}]`}
			}
			ctx := tokensource.WithUserToken(tokensource.WithTenant(t.Context(), "acme"), userJWT)
			got, err := tt.list(s.newFlow(t, flows.Options{}), ctx)
			want := []flows.Endpoint{
				{Name: "one", ORDID: "sap.s4:apiAccess:salesOrder:v1", TenantID: "t1", URL: base + "sap.s4:apiAccess:salesOrder:v1/t1", CardURL: tt.cards[0]},
				{Name: "two", ORDID: "sap.sf:api", TenantID: "t2", URL: base + "sap.sf%3Aapi/t2//", CardURL: tt.cards[1]},
				{Name: "http", ORDID: "b", TenantID: "c", URL: "http://gw.example.com/a/b/c", CardURL: tt.cards[2]},
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			assertError(t, err, tt.label, `"acme"`, "fragment 2", "FragmentName is missing", "fragment 4", "not a JSON object",
				`"no-url": URL is missing`, `"short": the path of URL does not end`, `"empty": the ORD id`, `"scheme": URL is not an absolute`,
				`"password": URL has user info`, `"bad": URL cannot be parsed`, "[redacted]")
			if n := strings.Count(err.Error(), "\n") + 1; n != 9 {
				t.Errorf("%d errors are joined, want 9, one for each fragment that cannot be used", n)
			}
			requests := s.received()
			if len(requests) != 2 || requests[1].URL != destURL+fragmentsPath+filterFor(tt.label) {
				t.Fatalf("requests %v, want one for the service token and one for the fragments", requests)
			}
			if h := requests[1].Header; h.Get("Authorization") != "Bearer "+serviceJWT+"acme" || h.Get("X-User-Token") != "" {
				t.Errorf("header %v, want the service token of acme and no user token", h)
			}
		})
	}
}

func TestListsWithoutEndpoints(t *testing.T) {
	t.Parallel()
	s := newServices()
	s.fragments = func(int, request) httpResponse { return httpResponse{200, `[]`} }
	flow := s.newFlow(t, flows.Options{Tenant: "own"})
	if got, err := flow.MCPServers(t.Context()); got == nil || len(got) != 0 || err != nil {
		t.Errorf("an empty list: got %v and %v, want an empty slice", got, err)
	}
	if auth := s.received()[1].Header.Get("Authorization"); auth != "Bearer "+serviceJWT+"own" {
		t.Errorf("a context without a tenant: asked with %q, want the service token of the flow's own tenant", auth)
	}
	s.fragments = func(int, request) httpResponse { return httpResponse{404, ``} }
	if got, err := flow.Agents(t.Context()); got != nil || !errors.Is(err, lob.ErrNoFragment) {
		t.Errorf("404: got %v and %v, want ErrNoFragment only", got, err)
	}
	s.fragments = func(int, request) httpResponse { return httpResponse{200, `{}`} }
	if got, err := flow.Agents(t.Context()); got != nil || err == nil {
		t.Errorf("not a list: got %v and %v, want an error only", got, err)
	}
	flow = newServices().newFlow(t, flows.Options{})
	if got, err := flow.Agents(t.Context()); got != nil || !errors.Is(err, lob.ErrNoTenant) {
		t.Errorf("no tenant: got %v and %v, want ErrNoTenant only", got, err)
	}
}
