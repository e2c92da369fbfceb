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
	"testing"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

const gateway = "https://gw.example/base"

func TestRequestIsSentToTheGateway(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, want string }{
		{"https://agent-gateway.invalid/v1/x?q=1", gateway + "/v1/x?q=1"},
		{"https://AGENT-gateway.invalid:443/v1/x", gateway + "/v1/x"},
		{"/v1/x", gateway + "/v1/x"},
		{"https://gw.example/v1/x", "https://gw.example/v1/x"},
		{"https://u:p@gw.example:443/v1/x", "https://gw.example/v1/x"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			b, src := newBase(), newSource(mustGrant(t, "secret", gateway))
			req := newRequest(t, "GET", test.url, nil)
			resp, err := transport.New(src, &transport.Options{Base: b}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			sent := b.only(t)
			if sent.URL.String() != test.want {
				t.Errorf("was sent to %s, want %s", sent.URL, test.want)
			}
			if sent.Host != "" {
				t.Errorf("Host is %q, want that of the URL", sent.Host)
			}
			if got := sent.Header["Authorization"]; !slices.Equal(got, []string{"Bearer secret"}) {
				t.Errorf("Authorization is %q", got)
			}
			if resp.Request != req {
				t.Error("the response's request is not the caller's")
			}
		})
	}
}

func TestRequestIsNotChanged(t *testing.T) {
	t.Parallel()
	b, src := newBase(result{status: 401}, result{status: 200}), newSource(mustGrant(t, "one", gateway), mustGrant(t, "two", gateway))
	req := newRequest(t, "POST", "https://u:p@agent-gateway.invalid/v1/x?q", strings.NewReader("content"))
	req.Header = http.Header{"Authorization": {"Basic eDp5"}, "authorization": {"Basic eDp5"}, "Accept": {"a", "b"}}
	before, url, header := *req, *req.URL, maps.Clone(req.Header)

	resp, err := transport.New(src, &transport.Options{Base: b}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if *req.URL != url || !reflect.DeepEqual(req.Header, header) {
		t.Errorf("URL or header changed: %v %v", req.URL, req.Header)
	}
	before.GetBody, req.GetBody = nil, nil
	if !reflect.DeepEqual(*req, before) {
		t.Error("the request changed")
	}
	if resp.Request != req {
		t.Error("the response's request is not the caller's: it may have the token")
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
	if _, err := transport.New(newSource(mustGrant(t, "secret", gateway)), &transport.Options{Base: b}).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	sent := b.only(t)
	req.Trailer.Set("Sum", "filled in while the body is sent")
	switch {
	case sent.Context().Value(key{}) != "value":
		t.Error("context")
	case sent.Trailer.Get("Sum") == "":
		t.Error("Trailer")
	//lint:ignore SA1019 it still has to be passed on
	case sent.Cancel != req.Cancel:
		t.Error("Cancel")
	case sent.GetBody == nil, sent.body != "content", sent.ContentLength != 7:
		t.Error("body")
	case !sent.Close, sent.Method != "POST", len(sent.TransferEncoding) != 1:
		t.Error("fields")
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	id := func() string { return "generated" }
	for _, test := range []struct {
		name     string
		opts     transport.Options
		in, want http.Header
	}{
		{"none", transport.Options{}, nil, http.Header{"X-Correlation-Id": {"generated"}}},
		{"others are kept", transport.Options{}, http.Header{"Accept": {"a", "b"}}, http.Header{"Accept": {"a", "b"}, "X-Correlation-Id": {"generated"}}},
		{"authorization is replaced", transport.Options{NoCorrelationID: true}, http.Header{"Authorization": {"Basic x", "Basic y"}}, http.Header{}},
		{"authorization in any spelling", transport.Options{NoCorrelationID: true},
			http.Header{"authorization": {"x"}, "AUTHORIZATION": {"y"}, "Authorizations": {"z"}}, http.Header{"Authorizations": {"z"}}},
		{"id of the caller", transport.Options{}, http.Header{"X-Correlation-Id": {"mine"}}, http.Header{"X-Correlation-Id": {"mine"}}},
		{"id in any spelling", transport.Options{}, http.Header{"x-correlation-id": {"mine"}}, http.Header{"x-correlation-id": {"mine"}}},
		{"no id", transport.Options{NoCorrelationID: true}, nil, http.Header{}},
		{"no id but the caller's", transport.Options{NoCorrelationID: true}, http.Header{"X-Correlation-Id": {"mine"}}, http.Header{"X-Correlation-Id": {"mine"}}},
		{"empty id", transport.Options{NewCorrelationID: func() string { return "" }}, nil, http.Header{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBase()
			test.opts.Base = b
			if test.opts.NewCorrelationID == nil {
				test.opts.NewCorrelationID = id
			}
			req := newRequest(t, "GET", "/x", nil)
			req.Header = test.in
			if _, err := transport.New(newSource(mustGrant(t, "secret", gateway)), &test.opts).RoundTrip(req); err != nil {
				t.Fatal(err)
			}
			test.want["Authorization"] = []string{"Bearer secret"}
			if got := b.only(t).Header; !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %v\nwant %v", got, test.want)
			}
		})
	}
}

// randomUUID is a UUID of version 4 (RFC 9562, section 5.4).
var randomUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestCorrelationIDIsAUUIDPerRequest(t *testing.T) {
	t.Parallel()
	b := newBase()
	rt := transport.New(newSource(mustGrant(t, "secret", gateway)), &transport.Options{Base: b})
	for range 2 {
		if _, err := rt.RoundTrip(newRequest(t, "GET", "/x", nil)); err != nil {
			t.Fatal(err)
		}
	}
	ids := [2]string{b.sent[0].Header.Get("x-correlation-id"), b.sent[1].Header.Get("x-correlation-id")}
	for _, id := range ids {
		if !randomUUID.MatchString(id) {
			t.Errorf("%q is no random UUID", id)
		}
	}
	if ids[0] == ids[1] {
		t.Error("two requests have the same id")
	}
}

func TestForeignOrigins(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"https://evil.example/x", "http://gw.example/x", "https://gw.example:8443/x", "http://agent-gateway.invalid/x",
		"https://agent-gateway.invalid:80/x", "https://agent-gateway.invalid@evil.example/x", "https://gw.example:443@evil.example/x", "//gw.example/x",
	} {
		for _, known := range []bool{false, true} {
			for _, pass := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/known=%v/pass=%v", target, known, pass), func(t *testing.T) {
					t.Parallel()
					b, src := newBase(), newSource(mustGrant(t, "secret", gateway))
					if known {
						src.known = mustURL(t, gateway)
					}
					content := newBody("content")
					req := newRequest(t, "POST", target, content)
					_, err := transport.New(src, &transport.Options{Base: b, PassForeignHosts: pass}).RoundTrip(req)
					if known == (src.asked.Load() > 0) {
						t.Errorf("a token was asked for %d times", src.asked.Load())
					}
					if n := content.closed.Load(); n != 1 {
						t.Errorf("the body was closed %d times", n)
					}
					if !pass {
						wantRefused(t, b, err, transport.ErrForeignHost)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if sent := b.only(t); sent.Request != req || len(sent.Header) != 0 {
						t.Errorf("was not passed as it was: %v", sent.Header)
					}
				})
			}
		}
	}
}

// wantRefused fails unless nothing was sent, because of want.
func wantRefused(t *testing.T, b *base, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if len(b.sent) != 0 {
		t.Errorf("%d requests were sent", len(b.sent))
	}
}

// The gateway that is known may be another tenant's by the time there is a token:
// the one that came with the token decides.
func TestGatewayOfTheGrantDecides(t *testing.T) {
	t.Parallel()
	b, src := newBase(), newSource(mustGrant(t, "secret", gateway))
	src.known = mustURL(t, "https://former.example")
	rt := transport.New(src, &transport.Options{Base: b})
	_, err := rt.RoundTrip(newRequest(t, "GET", "/x", nil))
	if err != nil || b.only(t).URL.Host != "gw.example" {
		t.Errorf("error %v", err)
	}
	b.sent = nil
	_, err = rt.RoundTrip(newRequest(t, "GET", "https://former.example/x", nil))
	wantRefused(t, b, err, transport.ErrForeignHost)
}

func TestForeignErrorIsClearAndDiscreet(t *testing.T) {
	t.Parallel()
	_, err := transport.New(newSource(mustGrant(t, "secret", gateway)), nil).
		RoundTrip(newRequest(t, "GET", "https://user:hush@evil.example/hush?hush", nil))
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	if !strings.Contains(text, "https://evil.example:443") || !strings.Contains(text, "https://gw.example:443") {
		t.Errorf("the error does not say which hosts: %s", text)
	}
	if strings.Contains(text, "hush") || strings.Contains(text, "secret") {
		t.Errorf("the error says too much: %s", text)
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
			for _, danger := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s for %s, allowed %v", test.gateway, target, danger), func(t *testing.T) {
					t.Parallel()
					b := newBase()
					rt := transport.New(newSource(mustGrant(t, "secret", test.gateway)), &transport.Options{Base: b, DangerouslyAllowPlainHTTP: danger, PassForeignHosts: true})
					_, err := rt.RoundTrip(newRequest(t, "GET", target, nil))
					if test.secure || danger {
						if err != nil || b.only(t).Header.Get("Authorization") == "" {
							t.Errorf("error %v", err)
						}
						return
					}
					wantRefused(t, b, err, tokensource.ErrInsecureURL)
				})
			}
		}
	}
}

func TestRefusedBeforeAskingForAToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		url  *url.URL
		want error
	}{
		"opaque":          {mustURL(t, "sap.s4:apiAccess:order:v1/tenant"), transport.ErrOpaqueURL},
		"opaque and host": {&url.URL{Scheme: "https", Host: "agent-gateway.invalid", Opaque: "//evil.example/x"}, transport.ErrOpaqueURL},
		"no URL":          {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, src := newBase(), newSource(mustGrant(t, "secret", gateway))
			_, err := transport.New(src, &transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(&http.Request{URL: test.url})
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if src.asked.Load() != 0 || len(b.sent) != 0 {
				t.Error("it was not refused at once")
			}
		})
	}
	if text := transport.ErrOpaqueURL.Error(); !strings.Contains(text, "leading slash") {
		t.Errorf("the error does not say what to do: %s", text)
	}
}

func TestBadGrants(t *testing.T) {
	t.Parallel()
	noGateway, err := tokensource.NewGrant("secret", mustGrant(t, "x", gateway).Token().Expiry, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]*source{
		"no gateway":           newSource(noGateway),
		"gateway without host": newSource(mustGrant(t, "secret", "/path")),
		"no grant":             newSource(),
	} {
		for _, target := range []string{"/x", "https://gw.example/x"} {
			t.Run(name+" for "+target, func(t *testing.T) {
				t.Parallel()
				b := newBase()
				_, err := transport.New(src, &transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(newRequest(t, "GET", target, nil))
				wantRefused(t, b, err, transport.ErrNoGateway)
			})
		}
	}
}

func TestWithoutASource(t *testing.T) {
	t.Parallel()
	content, b := newBody("content"), newBase()
	for _, rt := range []*transport.Transport{transport.New(nil, &transport.Options{Base: b, PassForeignHosts: true}), new(transport.Transport)} {
		if _, err := rt.RoundTrip(newRequest(t, "POST", "https://evil.example", content)); err == nil {
			t.Error("no error")
		}
		rt.CloseIdleConnections()
	}
	if content.closed.Load() != 2 || len(b.sent) != 0 {
		t.Errorf("the body was closed %d times in 2 calls, %d requests were sent", content.closed.Load(), len(b.sent))
	}
}

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	b := newBase()
	client := transport.New(newSource(), &transport.Options{Base: b}).Client()
	client.CloseIdleConnections()
	if b.idle.Load() != 1 {
		t.Error("the base was not told")
	}
	transport.New(newSource(), &transport.Options{Base: roundTripFunc(nil)}).CloseIdleConnections()
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestClient(t *testing.T) {
	t.Parallel()
	rt := transport.New(newSource(), nil)
	a, b := rt.Client(), rt.Client()
	if a == b || a.Transport != rt || a.Timeout != 0 {
		t.Errorf("clients %+v and %+v", a, b)
	}
}

func TestNewBase(t *testing.T) {
	t.Parallel()
	b := transport.NewBase()
	if !b.ForceAttemptHTTP2 || b.MaxIdleConnsPerHost != 64 || b.MaxConnsPerHost != 0 || b.Proxy == nil ||
		b.TLSClientConfig.MinVersion < 0x0303 || b.ResponseHeaderTimeout != 0 {
		t.Errorf("%+v", b)
	}
	if b == transport.NewBase() {
		t.Error("it is shared")
	}
}
