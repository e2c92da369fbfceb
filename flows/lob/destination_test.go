package lob_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// sentHeader returns the fields of a header that are sent.
func sentHeader(h http.Header) map[string]string {
	m := make(map[string]string)
	for name, values := range h {
		if len(values) > 0 {
			m[name] = strings.Join(values, ",")
		}
	}
	return m
}

func filterFor(label string) string {
	return "?$filter=Label%5B%27sap-managed-runtime-type%27%5D%20HAS%20%28%27" + label + "%27%29"
}

func TestRequestsOfASystemToken(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{})
	resp := mustFetch(t, flow, "Acme-1", "")

	if resp.AccessToken != gatewayJWT || string(resp.ExpiresIn) != `"600"` || resp.GatewayURL.String() != gatewayURL {
		t.Errorf("got token %q, expires_in %s and gateway %v, want those of the destination", resp.AccessToken, resp.ExpiresIn, resp.GatewayURL)
	}
	bearer := "Bearer " + serviceJWT + "Acme-1"
	want := []struct {
		method, url string
		header      map[string]string
	}{
		{"POST", "https://Acme-1.authentication.example.com/oauth/token",
			map[string]string{"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}},
		{"GET", destURL + fragmentsPath + filterFor(systemLabel),
			map[string]string{"Accept": "application/json", "Authorization": bearer}},
		{"GET", destinationURL,
			map[string]string{"Accept": "application/json", "Authorization": bearer, "X-Fragment-Name": "frag@instance"}},
	}
	got := s.received()
	if len(got) != len(want) {
		t.Fatalf("%d requests, want %d", len(got), len(want))
	}
	for i, r := range got {
		if r.Method != want[i].method || r.URL != want[i].url {
			t.Errorf("request %d: %s %s, want %s %s", i+1, r.Method, r.URL, want[i].method, want[i].url)
		}
		if !reflect.DeepEqual(sentHeader(r.Header), want[i].header) {
			t.Errorf("request %d: header %v, want %v", i+1, sentHeader(r.Header), want[i].header)
		}
	}
	form, err := url.ParseQuery(got[0].Body)
	wantForm := url.Values{"grant_type": {"client_credentials"}, "client_id": {"sb-client"}, "client_secret": {secret}}
	if err != nil || !reflect.DeepEqual(form, wantForm) {
		t.Errorf("the form for the service token is %v (%v), want %v", form, err, wantForm)
	}
	if got[1].Body != "" || got[2].Body != "" {
		t.Errorf("the GET requests have the bodies %q and %q, want none", got[1].Body, got[2].Body)
	}
}

func TestRequestsOfAUserToken(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{})
	mustFetch(t, flow, "acme", "")
	s.sequence()
	mustFetch(t, flow, "acme", userJWT)

	got := s.received()
	if len(got) != 2 || got[0].URL != destURL+fragmentsPath+filterFor(userLabel) || got[1].URL != destinationURL {
		t.Fatalf("requests %v, want one for the user's fragment and one for the destination", got)
	}
	want := map[string]string{
		"Accept": "application/json", "Authorization": "Bearer " + serviceJWT + "acme",
		"X-Fragment-Name": "frag@instance", "X-User-Token": userJWT,
	}
	if !reflect.DeepEqual(sentHeader(got[1].Header), want) {
		t.Errorf("header of the request for the destination: %v, want %v", sentHeader(got[1].Header), want)
	}
	if token := got[0].Header.Get("X-User-Token"); token != "" {
		t.Errorf("the search for the fragment carries the user's token %q, which only the destination needs", token)
	}
}

func TestClientIDIsAskedForAsTheProvider(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{Tenant: "own"})
	// Neither the tenant nor the user of the caller matters.
	ctx := tokensource.WithUserToken(tokensource.WithTenant(t.Context(), "acme"), userJWT)
	id, err := flow.ClientID(ctx)
	if err != nil || id != "ias-client" {
		t.Fatalf("ClientID: got %q and %v, want ias-client", id, err)
	}
	got := s.received()
	if len(got) != 2 || got[0].URL != authURL+"/oauth/token" || got[1].URL != destinationURL+"?$skipTokenRetrieval=true" {
		t.Fatalf("requests %v, want one for the provider's service token and one for the destination", got)
	}
	want := map[string]string{"Accept": "application/json", "Authorization": "Bearer " + serviceJWT + "provider"}
	if !reflect.DeepEqual(sentHeader(got[1].Header), want) {
		t.Errorf("header of the request for the destination: %v, want %v", sentHeader(got[1].Header), want)
	}
}

func TestDestinationWithoutClientID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, text string }{
		{"other case", `{"destinationConfiguration":{"clientid":"x"}}`, "property clientId is missing"},
		{"a number", `{"destinationConfiguration":{"clientId":7}}`, "property clientId is missing"},
		{"not an object", `[]`, "not a JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices()
			s.destination = func(int, request) httpResponse { return httpResponse{200, tt.body} }
			id, err := s.newFlow(t, flows.Options{}).ClientID(t.Context())
			assertError(t, err, "get destination", tt.text)
			if id != "" {
				t.Errorf("got the client id %q next to the error", id)
			}
		})
	}
}

func TestAcceptedSpellings(t *testing.T) {
	t.Parallel()
	s := newServices()
	s.fragments = func(int, request) httpResponse {
		return httpResponse{200, `[{"fragmentname":"no"},{"fragmentName":"yes"}]`}
	}
	s.destination = func(int, request) httpResponse {
		return httpResponse{200, `{"destinationConfiguration":{"Url":"https://no.example","url":"` + gatewayURL + `///"},"authTokens":[` + authToken("bEaReR  "+gatewayJWT+" ") + `]}`}
	}
	resp := mustFetch(t, s.newFlow(t, flows.Options{}), "acme", "")
	if resp.AccessToken != gatewayJWT || resp.GatewayURL.String() != gatewayURL {
		t.Errorf("got token %q and gateway %v, want %q and %s", resp.AccessToken, resp.GatewayURL, gatewayJWT, gatewayURL)
	}
	if name := s.received()[2].Header.Get("X-Fragment-Name"); name != "yes@instance" {
		t.Errorf("X-Fragment-Name is %q, want yes@instance: the member fragmentname is another one", name)
	}
}

func TestBadDestinations(t *testing.T) {
	t.Parallel()
	errorEntry := func(text string) string { return `{"type":"","value":"","error":"` + text + `"}` }
	tests := []struct {
		name      string
		body      string
		texts     []string
		noToken   bool // ErrNoDestinationToken
		temporary bool
	}{
		{"no URL", destination(`""`), []string{"property URL is missing"}, false, false},
		{"URL is null", destination(`null`), []string{"property URL is missing"}, false, false},
		{"URL is not a URL", destination(`"gateway.example.com"`), []string{"property URL", "not an absolute"}, false, false},
		{"URL with a password", destination(`"https://u:` + gatewayJWT + `@x.example"`), []string{"property URL"}, false, false},
		{"no configuration", `{"authTokens":[]}`, []string{"destinationConfiguration is missing"}, false, true},
		{"not an object", `[1]`, []string{"not a JSON object"}, false, true},
		{"no tokens", `{"destinationConfiguration":{"URL":"` + gatewayURL + `"}}`, []string{"authTokens is missing"}, true, false},
		{"empty tokens", destinationWithTokens(`[]`), []string{"authTokens is missing, empty"}, true, false},
		{"tokens are not a list", destinationWithTokens(`{"a":1}`), []string{"not a list"}, true, false},
		{"token is not an object", destinationWithTokens(`[null]`), []string{"authTokens[0]", "not a JSON object"}, true, false},
		{"error", destinationWithTokens(`[` + errorEntry("the user is locked") + `]`), []string{"authTokens[0]", "the user is locked"}, true, true},
		{"error with secrets", destinationWithTokens(`[` + errorEntry("refused "+userJWT+" and "+serviceJWT+"acme and "+secret) + `]`), []string{"refused"}, true, true},
		{"long error", destinationWithTokens(`[` + errorEntry(strings.Repeat("long ", 100)) + `]`), []string{"long long"}, true, true},
		{"scheme Basic", destinationWithTokens(`[` + authToken("Basic "+gatewayJWT) + `]`), []string{"not Bearer"}, true, false},
		{"no scheme", destinationWithTokens(`[` + authToken(gatewayJWT) + `]`), []string{"not Bearer"}, true, false},
		{"scheme only", destinationWithTokens(`[` + authToken("Bearer ") + `]`), []string{"http_header has no"}, true, false},
		{"two words", destinationWithTokens(`[` + authToken("Bearer a b") + `]`), []string{"no well-formed bearer token"}, true, false},
		{"line break", destinationWithTokens(`[` + authToken("Bearer a\r\nX: y") + `]`), []string{"no well-formed bearer token"}, true, false},
		{"no header", destinationWithTokens(`[{"type":"bearer","value":"` + gatewayJWT + `"}]`), []string{"http_header has no value"}, true, false},
		{"header is not an object", destinationWithTokens(`[{"http_header":"Bearer ` + gatewayJWT + `"}]`), []string{"http_header has no value"}, true, false},
		{"header in other case", destinationWithTokens(`[{"HTTP_Header":{"value":"Bearer ` + gatewayJWT + `"}}]`), []string{"http_header has no value"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices()
			s.destination = func(int, request) httpResponse { return httpResponse{200, tt.body} }
			err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", userJWT)
			assertError(t, err, append(tt.texts, "get destination", destinationURL, "status 200")...)
			e := requestError(t, err)
			if got := errors.Is(err, lob.ErrNoDestinationToken); got != tt.noToken {
				t.Errorf("%v: is an ErrNoDestinationToken: %v, want %v", err, got, tt.noToken)
			}
			if e.Temporary() != tt.temporary {
				t.Errorf("%v: temporary: %v, want %v", err, e.Temporary(), tt.temporary)
			}
			if len(e.Description) > 200 {
				t.Errorf("the description has %d bytes, want at most 200", len(e.Description))
			}
			assertSequence(t, "a destination that cannot be used", s, "auth fragments destination")
		})
	}
}

func TestFirstUsableTokenCounts(t *testing.T) {
	t.Parallel()
	good, bad := authToken("BEARER "+gatewayJWT), `{"error":"broken"}`
	for name, tokens := range map[string]string{
		"first": `[` + good + `,` + bad + `]`, "second": `[` + bad + `,` + good + `]`, "third": `[` + authToken("Basic x") + `,null,` + good + `]`,
	} {
		s := newServices()
		s.destination = func(int, request) httpResponse { return httpResponse{200, destinationWithTokens(tokens)} }
		if resp := mustFetch(t, s.newFlow(t, flows.Options{}), "acme", ""); resp.AccessToken != gatewayJWT {
			t.Errorf("the %s token is the only good one: got %q, want %q", name, resp.AccessToken, gatewayJWT)
		}
	}
}

func TestTokenThatHasExpiredOnArrival(t *testing.T) {
	t.Parallel()
	s := newServices()
	s.destination = func(int, request) httpResponse {
		return httpResponse{200, destinationWithTokens(`[` + strings.Replace(authToken("Bearer "+gatewayJWT), `"600"`, `"-1"`, 1) + `]`)}
	}
	src := newSource(t, s.newFlow(t, flows.Options{}), tokensource.Options{})
	if _, err := src.AccessToken(tokensource.WithTenant(t.Context(), "acme")); !errors.Is(err, tokensource.ErrExpired) {
		t.Errorf("expires_in is -1: got %v, want ErrExpired", err)
	}
}

func TestBadUserTokenIsNotSent(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{})
	for _, user := range []string{userJWT + "\r\nX-Tenant: evil", userJWT + " x", "é" + userJWT} {
		err := fetchError(t, flow, "acme", user)
		assertError(t, err, "not a user token")
		if requestError(t, err).Kind != tokensource.Permanent {
			t.Errorf("%v: is not permanent", err)
		}
	}
	assertSequence(t, "bad user tokens", s, "")
}

func TestUnknownFragmentIsLookedUpOnceAgain(t *testing.T) {
	t.Parallel()
	missing := httpResponse{404, `{"ErrorMessage":"the fragment was not found"}`}
	s := newServices()
	name := "old"
	s.fragments = func(int, request) httpResponse { return httpResponse{200, `[{"FragmentName":"` + name + `"}]`} }
	s.destination = func(_ int, r request) httpResponse {
		if r.Header.Get("X-Fragment-Name") != name+"@instance" {
			return missing
		}
		return httpResponse{200, destination(`"` + gatewayURL + `"`)}
	}
	flow := s.newFlow(t, flows.Options{})
	mustFetch(t, flow, "acme", "")
	assertSequence(t, "first fetch", s, "auth fragments destination")
	name = "new"
	mustFetch(t, flow, "acme", "")
	assertSequence(t, "the fragment has another name", s, "destination fragments destination")
	mustFetch(t, flow, "acme", "")
	assertSequence(t, "the other name is known", s, "destination")

	s.destination = func(int, request) httpResponse { return missing }
	err := fetchError(t, flow, "acme", "")
	assertError(t, err, "get destination", "status 404", "the fragment was not found")
	assertSequence(t, "the fragment is missing for good", s, "destination fragments destination")
	err = fetchError(t, flow, "globex", "")
	assertError(t, err, "status 404")
	assertSequence(t, "the name has just been looked up", s, "auth fragments destination")

	s.fragments = func(int, request) httpResponse { return httpResponse{200, `[]`} }
	if err := fetchError(t, flow, "acme", ""); !errors.Is(err, lob.ErrNoFragment) {
		t.Errorf("the name is gone for good: got %v, want ErrNoFragment", err)
	}
	assertSequence(t, "the name is gone for good", s, "destination fragments")
}

func TestCallerWhoLeavesGetsTheErrorOfItsContext(t *testing.T) {
	t.Parallel()
	flow := newServices().newFlow(t, flows.Options{Tenant: "acme"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, ofClientID := flow.ClientID(ctx)
	_, ofFetch := flow.Fetch(ctx, subject("acme", ""))
	for name, err := range map[string]error{"ClientID": ofClientID, "Fetch": ofFetch} {
		if !errors.Is(err, context.Canceled) || !requestError(t, err).Temporary() {
			t.Errorf("%s: got %v, want a temporary error that wraps context.Canceled", name, err)
		}
	}
	if _, err := flow.Agents(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Agents: got %v, want context.Canceled", err)
	}
}

func TestNothingIsSentForACallerWhoHasLeft(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{Tenant: "acme"})
	mustFetch(t, flow, "acme", "")
	s.sequence()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := flow.Agents(ctx) // the service token is known
	if e := requestError(t, err); !errors.Is(e, context.Canceled) || e.URL != "" {
		t.Errorf("got %v with URL %q, want context.Canceled and none, since nothing was sent", e, e.URL)
	}
	assertSequence(t, "a caller who has left", s, "")
}

func FuzzDestination(f *testing.F) {
	f.Add([]byte(destination(`"` + gatewayURL + `"`)))
	f.Add([]byte(destinationWithTokens(`[{"error":"x"},null,` + authToken("bearer t") + `]`)))
	f.Add([]byte(destinationWithTokens(`{}`)))
	f.Add([]byte(`{"destinationConfiguration":{"URL":"https://x.example","url":7,"clientId":"c"},"authTokens":[{"http_header":{"value":"Bearer \u0000"}}]}`))
	f.Add([]byte(authToken("Bearer " + gatewayJWT)))
	f.Fuzz(func(t *testing.T, body []byte) {
		resp, err := lob.ParseDestination(body)
		if (resp == nil) == (err == nil) {
			t.Fatalf("got response %v and error %v, want one of them", resp, err)
		}
		if err == nil && (resp.GatewayURL == nil || resp.GatewayURL.Host == "" || !isBearerToken(resp.AccessToken)) {
			t.Errorf("got token %q for gateway %v, want a bearer token and a host", resp.AccessToken, resp.GatewayURL)
		}
		if err != nil && len(requestError(t, err).Description) > 200 {
			t.Errorf("the description has %d bytes, want at most 200", len(requestError(t, err).Description))
		}
		if id, err := lob.ParseClientID(body); (id == "") != (err != nil) {
			t.Errorf("got client id %q and error %v, want one of them", id, err)
		}
		if token, err := lob.ParseAuthToken(body); (err == nil) != isBearerToken(token) {
			t.Errorf("got access token %q and error %v, want a bearer token or an error", token, err)
		}
	})
}

// isBearerToken reports whether s can stand in an Authorization header.
func isBearerToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
