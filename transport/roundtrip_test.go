package transport_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/agwgo/agw/internal/route"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

func TestRequestIsSentToTheGateway(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, want string }{
		{"https://agent-gateway.invalid/v1/x?q=1", gatewayURL + "/v1/x?q=1"},
		{"https://AGENT-gateway.invalid:443/v1/x", gatewayURL + "/v1/x"},
		{"/v1/x", gatewayURL + "/v1/x"},
		{"https://gw.example/v1/x", "https://gw.example/v1/x"},
		{"https://u:p@gw.example:443/v1/x", "https://gw.example/v1/x"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			b := newBase()
			req := newRequest(t, "GET", test.url, nil)
			resp, err := transport.New(newSecretSource(t), transport.Options{Base: b}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			sent := b.onlyRequest(t)
			if sent.URL.String() != test.want {
				t.Errorf("the request was sent to %s, want %s", sent.URL, test.want)
			}
			if sent.Host != "" {
				t.Errorf("Host is %q, want none, so that it is that of the URL", sent.Host)
			}
			if got := sent.Header["Authorization"]; !slices.Equal(got, []string{"Bearer secret"}) {
				t.Errorf("Authorization is %q, want the token alone", got)
			}
			if resp.Request != req {
				t.Error("the response's Request is not the caller's request")
			}
		})
	}
}

func TestRequestIsNotModified(t *testing.T) {
	t.Parallel()
	b := newBase(result{status: 401}, result{status: 200})
	src := newSource(newToken(t, "one", gatewayURL), newToken(t, "two", gatewayURL))
	req := newRequest(t, "POST", "https://u:p@agent-gateway.invalid/v1/x?q", strings.NewReader("content"))
	req.Header = http.Header{"Authorization": {"Basic eDp5"}, "authorization": {"Basic eDp5"}, "Accept": {"a", "b"}}
	before, url, header := *req, *req.URL, maps.Clone(req.Header)

	resp, err := transport.New(src, transport.Options{Base: b}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if *req.URL != url {
		t.Errorf("the URL was modified: got %v, want %v", req.URL, &url)
	}
	if !reflect.DeepEqual(req.Header, header) {
		t.Errorf("the header was modified: got %v, want %v", req.Header, header)
	}
	before.GetBody, req.GetBody = nil, nil // functions are never equal
	if !reflect.DeepEqual(*req, before) {
		t.Errorf("the request was modified: got %+v, want %+v", *req, before)
	}
	if resp.Request != req {
		t.Error("the response's Request is not the caller's: it may lead to the token")
	}
}

func TestRequestIsCopiedWhole(t *testing.T) {
	t.Parallel()
	type key struct{}
	b := newBase()
	req := newRequest(t, "POST", "/v1/x", strings.NewReader("content"))
	req = req.WithContext(context.WithValue(req.Context(), key{}, "value"))
	req.Trailer = http.Header{"Sum": nil}
	//lint:ignore SA1019 it still has to be passed on
	req.Cancel = make(chan struct{})
	req.Close = true
	req.TransferEncoding = []string{"chunked"}
	if _, err := transport.New(newSecretSource(t), transport.Options{Base: b}).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	sent := b.onlyRequest(t)
	req.Trailer.Set("Sum", "filled in while the body is sent")
	for name, kept := range map[string]bool{
		"context": sent.Context().Value(key{}) == "value",
		"Trailer": sent.Trailer.Get("Sum") != "",
		//lint:ignore SA1019 it still has to be passed on
		"Cancel":           sent.Cancel == req.Cancel,
		"GetBody":          sent.GetBody != nil,
		"Body":             sent.content == "content",
		"ContentLength":    sent.ContentLength == 7,
		"Close":            sent.Close,
		"Method":           sent.Method == "POST",
		"TransferEncoding": slices.Equal(sent.TransferEncoding, req.TransferEncoding),
	} {
		if !kept {
			t.Errorf("the %s of the request was not passed on", name)
		}
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	generated := func() string { return "generated" }
	for _, test := range []struct {
		name     string
		newID    func() string
		in, want http.Header // want without the Authorization
	}{
		{"a nil header", generated, nil, http.Header{"X-Correlation-Id": {"generated"}}},
		{"an empty header", generated, http.Header{}, http.Header{"X-Correlation-Id": {"generated"}}},
		{"other fields are kept", generated, http.Header{"Accept": {"a", "b"}}, http.Header{"Accept": {"a", "b"}, "X-Correlation-Id": {"generated"}}},
		{"the caller's authorization is replaced", noCorrelationID, http.Header{"Authorization": {"Basic x", "Basic y"}}, http.Header{}},
		{"in any spelling", noCorrelationID, http.Header{"authorization": {"x"}, "AUTHORIZATION": {"y"}, "Authorizations": {"z"}}, http.Header{"Authorizations": {"z"}}},
		{"the caller's id is kept", generated, http.Header{"X-Correlation-Id": {"mine"}}, http.Header{"X-Correlation-Id": {"mine"}}},
		{"an id in any spelling is kept", generated, http.Header{"x-correlation-id": {"mine"}}, http.Header{"x-correlation-id": {"mine"}}},
		{"an id without a value is kept", generated, http.Header{"X-Correlation-Id": nil}, http.Header{"X-Correlation-Id": nil}},
		{"the empty id is not sent", noCorrelationID, nil, http.Header{}},
		{"the caller's id is kept, though none would be sent", noCorrelationID, http.Header{"X-Correlation-Id": {"mine"}}, http.Header{"X-Correlation-Id": {"mine"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.want["Authorization"] = []string{"Bearer secret"}
			assertHeader(t, test.newID, test.in, test.want)
		})
	}
}

// The map is copied in one of two ways, depending on its size.
func TestHeaderOfAnySize(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		in := http.Header{}
		for i := range n {
			in[fmt.Sprint("Field-", i)] = []string{"value", fmt.Sprint(i)}
		}
		want := maps.Clone(in)
		want["Authorization"], want["X-Correlation-Id"] = []string{"Bearer secret"}, []string{"generated"}
		assertHeader(t, func() string { return "generated" }, in, want)

		in["authorization"], in["AUTHORIZATION"] = []string{"x"}, []string{"y"}
		assertHeader(t, func() string { return "generated" }, in, want)

		in["x-correlation-id"] = []string{"mine"}
		want["x-correlation-id"] = []string{"mine"}
		delete(want, "X-Correlation-Id")
		assertHeader(t, func() string { return "generated" }, in, want)
	}
}

// assertHeader fails unless a request with the header in is sent with the header want.
func assertHeader(t *testing.T, newID func() string, in, want http.Header) {
	t.Helper()
	b, before := newBase(), maps.Clone(in)
	req := newRequest(t, "GET", "/x", nil)
	req.Header = in
	if _, err := transport.New(newSecretSource(t), transport.Options{Base: b, NewCorrelationID: newID}).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if got := b.onlyRequest(t).Header; !reflect.DeepEqual(got, want) {
		t.Errorf("a header of %d fields was not sent as it should:\ngot  %v\nwant %v", len(in), got, want)
	}
	if !reflect.DeepEqual(in, before) {
		t.Errorf("the caller's header was modified: got %v, want %v", in, before)
	}
}

// A base must not modify a request, but some do. What they write does not reach the token,
// which is shared with later requests, nor other fields.
func TestBaseThatWritesToTheHeader(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(http.Header){
		"overwrites the Authorization": func(h http.Header) { h["Authorization"][0] = "overwritten" },
		"appends to the Authorization": func(h http.Header) { h.Add("Authorization", "appended") },
		"deletes the Authorization":    func(h http.Header) { h.Del("Authorization") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := newToken(t, "secret", gatewayURL)
			var sent []http.Header
			b := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				sent = append(sent, req.Header.Clone())
				write(req.Header)
				if got := req.Header["X-Correlation-Id"]; !slices.Equal(got, []string{"id"}) {
					t.Errorf("X-Correlation-Id became %q, want it to stay %q", got, "id")
				}
				return result{status: 200}.response(req), nil
			})
			rt := transport.New(newSource(token), transport.Options{Base: b, NewCorrelationID: func() string { return "id" }})
			for i := range 3 {
				if _, err := rt.RoundTrip(newRequest(t, "GET", "/x", nil)); err != nil {
					t.Fatal(err)
				}
				if got := sent[i]["Authorization"]; !slices.Equal(got, []string{"Bearer secret"}) {
					t.Errorf("request %d was sent with Authorization %q, want the token: an earlier request must not matter", i+1, got)
				}
			}
			if got := token.Authorization(); got != "Bearer secret" {
				t.Errorf("the token's Authorization became %q", got)
			}
		})
	}
}

// uuid4 is a random UUID (RFC 9562, section 5.4).
var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestCorrelationIDIsARandomUUIDPerRequest(t *testing.T) {
	t.Parallel()
	b := newBase()
	rt := transport.New(newSecretSource(t), transport.Options{Base: b})
	seen := map[string]bool{}
	for range 100 {
		if _, err := rt.RoundTrip(newRequest(t, "GET", "/x", nil)); err != nil {
			t.Fatal(err)
		}
		id := b.sent[len(b.sent)-1].Header.Get("x-correlation-id")
		if !uuid4.MatchString(id) {
			t.Errorf("the correlation id %q is not a random UUID", id)
		}
		if seen[id] {
			t.Errorf("two requests have the correlation id %q", id)
		}
		seen[id] = true
	}
}

func TestForeignHosts(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"https://evil.example/x", "http://gw.example/x", "https://gw.example:8443/x", "http://agent-gateway.invalid/x",
		"https://agent-gateway.invalid:80/x", "https://agent-gateway.invalid@evil.example/x", "https://gw.example:443@evil.example/x", "//gw.example/x",
	} {
		for _, gateway := range []string{"unknown", "known", "final"} {
			for _, pass := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/gateway %s/pass=%v", target, gateway, pass), func(t *testing.T) {
					t.Parallel()
					b, src := newBase(), newSecretSource(t)
					if gateway != "unknown" {
						src.gateway = parseURL(t, gatewayURL)
					}
					src.final = gateway == "final"
					content := newBody("content")
					req := newRequest(t, "POST", target, content)
					newID := func() string { t.Error("a correlation id was generated for a request that has no token"); return "id" }
					_, err := transport.New(src, transport.Options{Base: b, PassForeignHosts: pass, NewCorrelationID: newID}).RoundTrip(req)
					want := int64(1)
					if src.final {
						want = 0
					}
					if n := src.calls.Load(); n != want {
						t.Errorf("the source was asked for %d tokens, want %d, since its gateway is %s", n, want, gateway)
					}
					if n := content.closed.Load(); n != 1 {
						t.Errorf("the body was closed %d times, want once", n)
					}
					if !pass {
						assertNotSent(t, b, err, transport.ErrForeignHost)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if sent := b.onlyRequest(t); sent.Request != req || len(sent.Header) != 0 {
						t.Errorf("the request was not passed as it was: header %v", sent.Header)
					}
				})
			}
		}
	}
}

// The gateway that is known without a token may be another one by the time there is a
// token. Then that of the token decides.
func TestGatewayOfTheTokenDecides(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/x", "https://agent-gateway.invalid/x", "https://gw.example/x"} {
		b, src := newBase(), newSecretSource(t)
		src.gateway = parseURL(t, "https://former.example")
		_, err := transport.New(src, transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", target, nil))
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if got := b.onlyRequest(t).URL.Host; got != "gw.example" {
			t.Errorf("%s was sent to %s, want the gateway of the token", target, got)
		}
	}
	b, src := newBase(), newSecretSource(t)
	src.gateway = parseURL(t, "https://former.example")
	_, err := transport.New(src, transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "https://former.example/x", nil))
	assertNotSent(t, b, err, transport.ErrForeignHost)
}

// Without a token, nobody knows better than the gateway that is known.
func TestKnownGatewayDecidesIfThereIsNoToken(t *testing.T) {
	t.Parallel()
	down := &tokensource.Error{Op: "fetch system token", Kind: tokensource.Temporary}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	const (
		sent = iota
		tokenError
		foreignHost
		canceled
	)
	for _, test := range []struct {
		name, gateway, target string
		ctx                   context.Context
		pass                  bool
		want                  int
	}{
		{"foreign", gatewayURL, "https://elsewhere.example/x", t.Context(), false, foreignHost},
		{"foreign, to be passed", gatewayURL, "https://elsewhere.example/x", t.Context(), true, sent},
		{"of the gateway", gatewayURL, "https://gw.example/x", t.Context(), true, tokenError},
		{"relative", gatewayURL, "/x", t.Context(), true, tokenError},
		{"of who knows", "", "https://elsewhere.example/x", t.Context(), true, tokenError},
		{"foreign, but the caller has left", gatewayURL, "https://elsewhere.example/x", ended, true, canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b, src := newBase(), &fakeSource{err: down}
			if test.gateway != "" {
				src.gateway = parseURL(t, test.gateway)
			}
			req := newRequest(t, "GET", test.target, nil).WithContext(test.ctx)
			_, err := transport.New(src, transport.Options{Base: b, PassForeignHosts: test.pass}).RoundTrip(req)
			foreign, noToken := errors.Is(err, transport.ErrForeignHost), errors.Is(err, down)
			switch test.want {
			case sent:
				if err != nil || b.onlyRequest(t).Request != req {
					t.Errorf("got error %v, want the request to be passed as it is", err)
				}
				return
			case tokenError:
				if foreign || !noToken {
					t.Errorf("got error %v, want that of the source, and no %v", err, transport.ErrForeignHost)
				}
			case foreignHost:
				if !foreign || !noToken {
					t.Errorf("got error %v, want %v and, since the gateway may have moved, the error of the source", err, transport.ErrForeignHost)
				}
			case canceled:
				if foreign || !errors.Is(err, context.Canceled) {
					t.Errorf("got error %v, want %v alone", err, context.Canceled)
				}
			}
			if len(b.sent) != 0 {
				t.Errorf("%d requests were sent, want none", len(b.sent))
			}
		})
	}
}

// A request goes on if its gateway is final and its own.
func TestFinalGatewayOfTheRequest(t *testing.T) {
	t.Parallel()
	b, src := newBase(), newSecretSource(t)
	src.gateway, src.final = parseURL(t, gatewayURL), true
	if _, err := transport.New(src, transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "https://gw.example/x", nil)); err != nil {
		t.Fatal(err)
	}
	if got := b.onlyRequest(t).URL.String(); got != "https://gw.example/x" {
		t.Errorf("the request was sent to %s, want it to go where its URL says", got)
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		gateway string
		secure  bool
	}{
		{"http://gw.example", false},
		{"http://10.0.0.1:8080", false},
		{"http://localhost.example", false},
		{"http://localhost:8080", true},
		{"http://127.0.0.1:8080", true},
		{"http://127.8.8.8", true},
		{"http://[::1]:8080", true},
	} {
		for _, target := range []string{"/x", test.gateway + "/x"} {
			for _, allowed := range []bool{false, true} {
				t.Run(fmt.Sprintf("gateway %s, request for %s, allowed %v", test.gateway, target, allowed), func(t *testing.T) {
					t.Parallel()
					b, src := newBase(), newSource(newToken(t, "secret", test.gateway))
					rt := transport.New(src, transport.Options{Base: b, DangerouslyAllowPlainHTTP: allowed, PassForeignHosts: true})
					_, err := rt.RoundTrip(newRequest(t, "GET", target, nil))
					if !test.secure && !allowed {
						assertNotSent(t, b, err, tokensource.ErrInsecureURL)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if got := b.onlyRequest(t).Header.Get("Authorization"); got != "Bearer secret" {
						t.Errorf("Authorization is %q, want the token", got)
					}
				})
			}
		}
	}
}

func TestBadURLFailsWithoutAToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		url  *url.URL
		want error // nil means any
	}{
		"opaque":           {parseURL(t, "sap.s4:apiAccess:order:v1/tenant"), transport.ErrOpaqueURL},
		"a part of gw.URL": {parseURL(t, route.URL("v1/mcp", "")), transport.ErrInvalidURL},
		"opaque and host":  {&url.URL{Scheme: "https", Host: "agent-gateway.invalid", Opaque: "//evil.example/x"}, transport.ErrOpaqueURL},
		"no URL":           {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, src := newBase(), newSecretSource(t)
			_, err := transport.New(src, transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(&http.Request{URL: test.url})
			if err == nil {
				t.Error("got no error")
			}
			if test.want != nil {
				assertNotSent(t, b, err, test.want)
			}
			if n := src.calls.Load(); n != 0 || len(b.sent) != 0 {
				t.Errorf("the source was asked for %d tokens, %d requests were sent; want neither", n, len(b.sent))
			}
		})
	}
	if text := transport.ErrOpaqueURL.Error(); !strings.Contains(text, "leading slash") {
		t.Errorf("the error does not say what to do about an opaque URL: %s", text)
	}
}

func TestPathThatEscapesIsNotSent(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/../x", "https://agent-gateway.invalid/%2e%2e/x"} {
		b := newBase()
		_, err := transport.New(newSecretSource(t), transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(newRequest(t, "GET", target, nil))
		assertNotSent(t, b, err, transport.ErrPathEscapes)
	}
}

func TestTokenWithoutAGatewayIsNotSent(t *testing.T) {
	t.Parallel()
	noGateway, err := tokensource.NewToken("secret", newToken(t, "x", gatewayURL).Expiry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]*fakeSource{
		"no gateway":           newSource(noGateway),
		"gateway without host": newSource(newToken(t, "secret", "/path")),
		"no token":             newSource(),
	} {
		for _, target := range []string{"/x", "https://gw.example/x"} {
			t.Run(name+", request for "+target, func(t *testing.T) {
				t.Parallel()
				b := newBase()
				_, err := transport.New(src, transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(newRequest(t, "GET", target, nil))
				assertNotSent(t, b, err, transport.ErrNoGateway)
			})
		}
	}
}

func TestTransportWithoutASource(t *testing.T) {
	t.Parallel()
	b := newBase()
	for name, rt := range map[string]*transport.Transport{
		"New(nil)":       transport.New(nil, transport.Options{Base: b, PassForeignHosts: true}),
		"zero Transport": new(transport.Transport),
	} {
		content := newBody("content")
		if _, err := rt.Client().Do(newRequest(t, "POST", "https://evil.example", content)); err == nil || !strings.Contains(err.Error(), "transport.New") {
			t.Errorf("%s: got error %v, want one that says how to make a Transport", name, err)
		}
		if n := content.closed.Load(); n != 1 {
			t.Errorf("%s: the body was closed %d times, want once", name, n)
		}
		rt.CloseIdleConnections()
	}
	if len(b.sent) != 0 {
		t.Errorf("%d requests were sent, want none", len(b.sent))
	}
}

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	b := newBase()
	transport.New(newSource(), transport.Options{Base: b}).Client().CloseIdleConnections()
	if n := b.idleCall.Load(); n != 1 {
		t.Errorf("the base was told %d times to close its idle connections, want once", n)
	}
	// A base that cannot do that is left alone.
	transport.New(newSource(), transport.Options{Base: roundTripFunc(nil)}).CloseIdleConnections()
}

func TestClientIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	rt := transport.New(newSource(), transport.Options{})
	a, b := rt.Client(), rt.Client()
	if a == b {
		t.Error("two calls of Client return the same client, which callers may modify")
	}
	if a.Transport != rt || a.Timeout != 0 {
		t.Errorf("the client is %+v, want one over the Transport and without a timeout", a)
	}
}

func TestNewBase(t *testing.T) {
	t.Parallel()
	b := transport.NewBase()
	for promise, kept := range map[string]bool{
		"HTTP/2":                                 b.ForceAttemptHTTP2,
		"64 idle connections for each host":      b.MaxIdleConnsPerHost == 64,
		"no limit on the connections in use":     b.MaxConnsPerHost == 0,
		"proxies from the environment":           b.Proxy != nil,
		"TLS 1.2 or newer":                       b.TLSClientConfig != nil && b.TLSClientConfig.MinVersion >= 0x0303,
		"no limit on the time of a response":     b.ResponseHeaderTimeout == 0,
		"a ping after 30 s without HTTP/2 frame": b.HTTP2 != nil && b.HTTP2.SendPingTimeout.Seconds() == 30,
	} {
		if !kept {
			t.Errorf("the base does not have what is documented: %s", promise)
		}
	}
	if b == transport.NewBase() {
		t.Error("two calls return the same base, which callers may modify")
	}
}

// A generator is the caller's code. If it panics, that is an error of the request.
func TestPanicOfNewCorrelationID(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, want string
		newID      func() string
	}{
		{"a string", "panicked with a string", func() string { panic("hush") }},
		{"an error", "panicked with a *errors.errorString", func() string { panic(errors.New("hush")) }},
		{"nil", "panicked: panic called with nil argument", func() string { panic(nil) }},
		{"a runtime error", "panicked: runtime error: index out of range", func() string { var none []string; return none[len(none)] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b, content := newBase(), newBody("content")
			rt := transport.New(newSecretSource(t), transport.Options{Base: b, NewCorrelationID: test.newID})
			_, err := rt.RoundTrip(newRequest(t, "POST", "/x", content))
			switch {
			case err == nil || !strings.Contains(err.Error(), "NewCorrelationID") || !strings.Contains(err.Error(), test.want):
				t.Errorf("got error %v, want one that names NewCorrelationID and says %q", err, test.want)
			case strings.Contains(err.Error(), "hush"):
				t.Errorf("the error shows the value of the panic, which could be anything: %v", err)
			}
			if n := content.closed.Load(); n != 1 || len(b.sent) != 0 {
				t.Errorf("the body was closed %d times, and %d requests were sent; want once and none", n, len(b.sent))
			}
			req := newRequest(t, "GET", "/x", nil)
			req.Header.Set("X-Correlation-Id", "mine")
			if _, err := rt.RoundTrip(req); err != nil {
				t.Errorf("a request with an id of its own, which needs no generator: %v", err)
			}
		})
	}
}

// sourceOfTenants has a token for each tenant, which the context names.
type sourceOfTenants struct {
	*fakeSource
	tokens map[string]*tokensource.Token
}

type tenantKey struct{}

func (s *sourceOfTenants) AccessToken(ctx context.Context) (*tokensource.Token, error) {
	tenant, _ := ctx.Value(tenantKey{}).(string)
	return s.tokens[tenant], nil
}

// One client, many goroutines, a gateway for each tenant: no token goes to the gateway of
// another tenant.
func TestConcurrentTenants(t *testing.T) {
	t.Parallel()
	const count, calls = 4, 100
	src := &sourceOfTenants{newSource(), map[string]*tokensource.Token{}}
	for i := range count {
		tenant := fmt.Sprint("t", i)
		src.tokens[tenant] = newToken(t, "token-of-"+tenant, "https://"+tenant+".example")
	}
	b := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		tenant, _ := req.Context().Value(tenantKey{}).(string)
		if token := req.Header.Get("Authorization"); req.URL.Host != tenant+".example" || token != "Bearer token-of-"+tenant {
			t.Errorf("a request of tenant %s was sent to %s with %q", tenant, req.URL.Host, token)
		}
		return result{status: 200}.response(req), nil
	})
	rt := transport.New(src, transport.Options{Base: b})
	var wg sync.WaitGroup
	shared := http.Header{"Accept": {"a"}} // callers may share what is not modified
	for i := range count * 4 {
		wg.Go(func() {
			for range calls {
				ctx := context.WithValue(t.Context(), tenantKey{}, fmt.Sprint("t", i%count))
				req := newRequest(t, "GET", "/x", nil).WithContext(ctx)
				req.Header = shared
				if _, err := rt.RoundTrip(req); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
