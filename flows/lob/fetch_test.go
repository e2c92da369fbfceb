package lob_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// plain drops from a header what is of no interest here.
func plain(h http.Header) map[string]string {
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

func TestRequestsOfATechnicalToken(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.start(t, lob.Options{})
	resp := f.mustFetch(t, "Acme-1", "")

	if resp.AccessToken != gatewayJWT || string(resp.ExpiresIn) != `"600"` || resp.GatewayURL.String() != gatewayURL {
		t.Errorf("got %q, %s, %v", resp.AccessToken, resp.ExpiresIn, resp.GatewayURL)
	}
	bearer := "Bearer " + serviceJWT + "Acme-1"
	want := []sent{
		{Method: "POST", URL: "https://Acme-1.authentication.example.com/oauth/token"},
		{Method: "GET", URL: fragmentURL + filterFor(systemLabel)},
		{Method: "GET", URL: whereURL},
	}
	headers := []map[string]string{
		{"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
		{"Accept": "application/json", "Authorization": bearer},
		{"Accept": "application/json", "Authorization": bearer, "X-Fragment-Name": "frag@instance"},
	}
	got := f.last()
	if len(got) != len(want) {
		t.Fatalf("%d requests, want %d", len(got), len(want))
	}
	for i, r := range got {
		if r.Method != want[i].Method || r.URL != want[i].URL {
			t.Errorf("request %d: %s %s, want %s %s", i, r.Method, r.URL, want[i].Method, want[i].URL)
		}
		if !reflect.DeepEqual(plain(r.Header), headers[i]) {
			t.Errorf("request %d: header %v, want %v", i, plain(r.Header), headers[i])
		}
	}
	form, err := url.ParseQuery(got[0].Body)
	wantForm := url.Values{"grant_type": {"client_credentials"}, "client_id": {"sb-client"}, "client_secret": {secret}}
	if err != nil || !reflect.DeepEqual(form, wantForm) {
		t.Errorf("form %v, %v", form, err)
	}
	if got[1].Body != "" || got[2].Body != "" {
		t.Error("a GET has a body")
	}
}

func TestRequestsOfAUserToken(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.start(t, lob.Options{})
	f.mustFetch(t, "acme", "")
	f.trace()
	f.mustFetch(t, "acme", userJWT)

	got := f.last()
	if len(got) != 2 || got[0].URL != fragmentURL+filterFor(userLabel) || got[1].URL != whereURL {
		t.Fatalf("got %v", got)
	}
	want := map[string]string{
		"Accept": "application/json", "Authorization": "Bearer " + serviceJWT + "acme",
		"X-Fragment-Name": "frag@instance", "X-User-Token": userJWT,
	}
	if !reflect.DeepEqual(plain(got[1].Header), want) {
		t.Errorf("header %v, want %v", plain(got[1].Header), want)
	}
	if h := got[0].Header; h.Get("X-User-Token") != "" {
		t.Errorf("the user token went along with the search: %v", h)
	}
}

func TestClientIDIsAskedAsTheProvider(t *testing.T) {
	t.Parallel()
	f := newFake()
	flow := f.start(t, lob.Options{Tenant: "own"})
	// Neither tenant nor user of the caller matter.
	ctx := tokensource.WithUserToken(tokensource.WithTenant(t.Context(), "acme"), userJWT)
	id, err := flow.ClientID(ctx)
	if err != nil || id != "ias-client" {
		t.Fatalf("got %q, %v", id, err)
	}
	got := f.last()
	if len(got) != 2 || got[0].URL != authURL+"/oauth/token" || got[1].URL != whereURL+"?$skipTokenRetrieval=true" {
		t.Fatalf("got %v", got)
	}
	want := map[string]string{"Accept": "application/json", "Authorization": "Bearer " + serviceJWT + "provider"}
	if !reflect.DeepEqual(plain(got[1].Header), want) {
		t.Errorf("header %v, want %v", plain(got[1].Header), want)
	}
}

func TestClientIDMissing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"destinationConfiguration":{"clientid":"x"}}`, `{"destinationConfiguration":{"clientId":7}}`} {
		f := newFake()
		f.destination = func(int, sent) answer { return answer{200, body} }
		_, err := f.start(t, lob.Options{}).ClientID(t.Context())
		expectError(t, err, "get destination", "property clientId is missing")
	}
	f := newFake()
	f.destination = func(int, sent) answer { return answer{200, "[]"} }
	_, err := f.start(t, lob.Options{}).ClientID(t.Context())
	expectError(t, err, "not a JSON object")
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.fragments = func(int, sent) answer { return answer{200, `[{"fragmentname":"no"},{"fragmentName":"yes"}]`} }
	f.destination = func(int, sent) answer {
		return answer{200, `{"destinationConfiguration":{"Url":"https://no.example","url":"` + gatewayURL + `///"},"authTokens":[` + header("bEaReR  "+gatewayJWT+" ") + `]}`}
	}
	f.start(t, lob.Options{})
	resp := f.mustFetch(t, "acme", "")
	if resp.AccessToken != gatewayJWT || resp.GatewayURL.String() != gatewayURL {
		t.Errorf("got %q, %v", resp.AccessToken, resp.GatewayURL)
	}
	if name := f.last()[2].Header.Get("X-Fragment-Name"); name != "yes@instance" {
		t.Errorf("fragment %q", name)
	}
}

func TestServiceTokenRefused(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.auth = func(int, sent) answer {
		return answer{401, `{"error":"invalid_client","error_description":"secret ` + url.QueryEscape(secret) + ` is wrong"}`}
	}
	f.start(t, lob.Options{})
	_, err := f.fetch("acme", "")
	expectError(t, err, "fetch service token", "https://acme.authentication.example.com/oauth/token", "invalid_client")
	if e := typed(t, err); e.Kind != tokensource.Refused || e.NextAttempt.IsZero() {
		t.Errorf("kind %v, next attempt %v", e.Kind, e.NextAttempt)
	}
	expectTrace(t, f, "auth")
}

// An unknown tenant is an error of the authorization server; it must not be taken
// for a fragment that is missing.
func TestUnknownTenant(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.auth = func(int, sent) answer { return answer{404, `{"error":"unknown_zone"}`} }
	f.start(t, lob.Options{})
	_, err := f.fetch("acme", "")
	expectError(t, err, "fetch service token", "status 404")
	if errors.Is(err, lob.ErrNoFragment) {
		t.Error("it is an ErrNoFragment")
	}
}

func TestServiceTokenMakesNoSense(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`[]`, `{"access_token":7}`, `{"access_token":""}`, `{}`} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.auth = func(int, sent) answer { return answer{200, body} }
			_, err := f.start(t, lob.Options{}).Fetch(t.Context(), tokensource.Subject{Tenant: "acme"})
			expectError(t, err, "fetch service token")
			typed(t, err)
		})
	}
}

// revoked is what the Destination Service answers to a service token that is revoked.
func revoked() answer { return answer{401, `{"ErrorMessage":"the token was refused"}`} }

// newNumbered returns a fake whose service tokens differ.
func newNumbered() *fake {
	f := newFake()
	f.auth = func(n int, _ sent) answer {
		return answer{200, `{"access_token":"` + serviceJWT + strings.Repeat("x", n) + `","expires_in":3600}`}
	}
	return f
}

func TestServiceTokenRevokedForTheSearch(t *testing.T) {
	t.Parallel()
	f := newNumbered()
	f.fragments = func(n int, _ sent) answer {
		if n == 1 {
			return revoked()
		}
		return answer{200, `[{"FragmentName":"frag"}]`}
	}
	f.start(t, lob.Options{})
	f.mustFetch(t, "acme", "")
	expectTrace(t, f, "auth fragments auth fragments destination")
}

func TestServiceTokenRevokedForTheDestination(t *testing.T) {
	t.Parallel()
	f := newNumbered()
	f.destination = func(n int, _ sent) answer {
		if n == 1 {
			return revoked()
		}
		return answer{200, destination(`"` + gatewayURL + `"`)}
	}
	f.start(t, lob.Options{})
	f.mustFetch(t, "acme", "")
	requests := f.last()
	if old, fresh := requests[2].Header.Get("Authorization"), requests[4].Header.Get("Authorization"); old == fresh {
		t.Error("the same service token was used again")
	}
	expectTrace(t, f, "auth fragments destination auth destination")
}

func TestServiceTokenRevokedForEver(t *testing.T) {
	t.Parallel()
	f := newNumbered()
	f.destination = func(int, sent) answer { return revoked() }
	f.start(t, lob.Options{})
	_, err := f.fetch("acme", "")
	expectError(t, err, "get destination", "status 401", "the token was refused")
	expectTrace(t, f, "auth fragments destination auth destination")
	// The service token has just been replaced: it is not fetched again.
	_, err = f.fetch("acme", "")
	expectError(t, err, "status 401")
	expectTrace(t, f, "destination")
}

func TestServiceTokenRevokedAndNoOther(t *testing.T) {
	t.Parallel()
	f := newNumbered()
	first := f.auth
	f.auth = func(n int, r sent) answer {
		if n > 1 {
			return answer{401, `{"error":"invalid_client"}`}
		}
		return first(n, r)
	}
	f.destination = func(int, sent) answer { return revoked() }
	f.start(t, lob.Options{})
	_, err := f.fetch("acme", "")
	expectError(t, err, "fetch service token", "invalid_client")
	expectTrace(t, f, "auth fragments destination auth")
}

func TestUnknownFragmentIsLookedUpOnceAgain(t *testing.T) {
	t.Parallel()
	missing := answer{404, `{"ErrorMessage":"the fragment was not found"}`}
	f := newFake()
	name := "old"
	f.fragments = func(int, sent) answer { return answer{200, `[{"FragmentName":"` + name + `"}]`} }
	f.destination = func(_ int, r sent) answer {
		if r.Header.Get("X-Fragment-Name") != name+"@instance" {
			return missing
		}
		return answer{200, destination(`"` + gatewayURL + `"`)}
	}
	f.start(t, lob.Options{})
	f.mustFetch(t, "acme", "")
	expectTrace(t, f, "auth fragments destination")
	name = "new"
	f.mustFetch(t, "acme", "")
	expectTrace(t, f, "destination fragments destination")
	f.mustFetch(t, "acme", "")
	expectTrace(t, f, "destination")

	// Once, and not at all if the name has just been looked up.
	f.destination = func(int, sent) answer { return missing }
	_, err := f.fetch("acme", "")
	expectError(t, err, "get destination", "status 404", "the fragment was not found")
	expectTrace(t, f, "destination fragments destination")
	_, err = f.fetch("globex", "")
	expectError(t, err, "status 404")
	expectTrace(t, f, "auth fragments destination")

	// The name is gone for good.
	f.fragments = func(int, sent) answer { return answer{200, `[]`} }
	_, err = f.fetch("acme", "")
	if !errors.Is(err, lob.ErrNoFragment) {
		t.Errorf("got %v", err)
	}
	expectTrace(t, f, "destination fragments")
}

func TestForgetAndPurge(t *testing.T) {
	t.Parallel()
	f := newFake()
	flow := f.start(t, lob.Options{})
	f.mustFetch(t, "acme", "")
	f.mustFetch(t, "globex", "")
	f.trace()
	flow.Forget("acme")
	flow.Forget("") // no tenant, and not the provider
	f.mustFetch(t, "globex", "")
	f.mustFetch(t, "acme", "")
	expectTrace(t, f, "destination auth fragments destination")
	flow.Purge()
	f.mustFetch(t, "globex", "")
	f.mustFetch(t, "acme", "")
	expectTrace(t, f, "auth fragments destination auth fragments destination")
}

// No value of the caller's reaches the services.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	f := newFake()
	flow := f.start(t, lob.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := flow.ClientID(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
