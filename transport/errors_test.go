package transport_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/internal/route"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

func TestErrorOfTheSourceIsWrapped(t *testing.T) {
	t.Parallel()
	cause := &tokensource.Error{Op: "exchange user token", StatusCode: 400, Code: "invalid_grant", Kind: tokensource.Denied,
		Err: &oauth2.RetrieveError{ErrorCode: "invalid_grant"}}
	b := newBase()
	client := transport.New(&fakeSource{err: cause}, transport.Options{Base: b, PassForeignHosts: true}).Client()
	for _, target := range []string{"https://agent-gateway.invalid/x", "/x", "https://gw.example/x"} {
		resp, err := client.Get(target)
		if resp != nil || len(b.sent) != 0 {
			t.Fatalf("%s: got response %v, and %d requests were sent; want none without a token", target, resp, len(b.sent))
		}
		var typed *tokensource.Error
		if !errors.As(err, &typed) || typed != cause {
			t.Errorf("%s: the *tokensource.Error is not within reach of errors.As: %v", target, err)
		}
		if retrieve := (*oauth2.RetrieveError)(nil); !errors.As(err, &retrieve) {
			t.Errorf("%s: the *oauth2.RetrieveError is not within reach of errors.As: %v", target, err)
		}
		if !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("%s: the error does not say why there is no token: %v", target, err)
		}
	}
}

// Callers of an http.Client ask its errors for Timeout and Temporary.
func TestErrorOfTheSourceIsANetError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name               string
		cause              error
		timeout, temporary bool
	}{
		{"deadline", context.DeadlineExceeded, true, true},
		{"wrapped deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), true, true},
		{"canceled", context.Canceled, false, false},
		{"temporary", &tokensource.Error{Kind: tokensource.Temporary}, false, true},
		{"permanent", &tokensource.Error{Kind: tokensource.Permanent}, false, false},
		{"temporary because of a deadline", &tokensource.Error{Kind: tokensource.Temporary, Err: context.DeadlineExceeded}, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := transport.New(&fakeSource{err: test.cause}, transport.Options{}).Client().Get("https://agent-gateway.invalid/x")
			if !errors.Is(err, test.cause) {
				t.Fatalf("got error %v, want one that wraps %v", err, test.cause)
			}
			var ne interface {
				net.Error
				Temporary() bool
			}
			if !errors.As(err, &ne) {
				t.Fatalf("%v is not a net.Error", err)
			}
			if ne.Timeout() != test.timeout {
				t.Errorf("Timeout of %v is %v, want %v", err, ne.Timeout(), test.timeout)
			}
			if ne.Temporary() != test.temporary {
				t.Errorf("Temporary of %v is %v, want %v", err, ne.Temporary(), test.temporary)
			}
		})
	}
}

// blockedSource has no token before the context ends.
type blockedSource struct{ *fakeSource }

func (s blockedSource) AccessToken(ctx context.Context) (*tokensource.Token, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestWaitForATokenEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rt := transport.New(blockedSource{newSource()}, transport.Options{Base: newBase()})

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if _, err := rt.Client().Do(newRequest(t, "GET", "/x", nil).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled request: got error %v, want %v", err, context.Canceled)
		}

		client, start := rt.Client(), time.Now()
		client.Timeout = time.Second
		_, err := client.Get("/x")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != time.Second {
			t.Errorf("a client with a Timeout of 1 s: got error %v after %v, want a timeout after 1 s", err, time.Since(start))
		}
	})
}

// A fetch of a token may go through a Transport of its own, and meet a foreign host there.
// The request that waits for the token is not one for a foreign host because of that.
func TestForeignHostOfAFetchIsNotThatOfTheRequest(t *testing.T) {
	t.Parallel()
	other := transport.New(newSecretSource(t), transport.Options{Base: newBase()})
	_, foreign := other.RoundTrip(newRequest(t, "GET", "https://evil.example/x", nil))
	for name, cause := range map[string]error{"as it is": foreign, "wrapped": fmt.Errorf("fetch: %w", foreign)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBase()
			_, err := transport.New(&fakeSource{err: cause}, transport.Options{Base: b, PassForeignHosts: true}).RoundTrip(newRequest(t, "GET", "/x", nil))
			assertNotSent(t, b, err, transport.ErrForeignHost)
		})
	}
}

// Each error says what is wrong, where and what to do, in one line.
func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	gateway := startServerWith(t, http1, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/hush", http.StatusFound)
	})
	closed := startServerWith(t, http1, nil)
	closed.Close()
	trusting := func(change func(*http.Transport)) http.RoundTripper {
		b := newBaseTrusting(t, gateway, nil)
		change(b)
		return b
	}
	at := func(gateway string) *fakeSource { return newSource(newToken(t, "secret", gateway)) }
	for _, test := range []struct {
		name   string
		src    transport.Source
		base   http.RoundTripper
		target string
		want   []string // in the text
	}{
		{"a foreign host", newSecretSource(t), nil, "https://elsewhere.example/x",
			[]string{"foreign host", "the request is for", "https://elsewhere.example:443", "https://gw.example:443", "gw.URL", "another client"}},
		{"a redirect to a foreign host", at(gateway.URL), trusting(func(*http.Transport) {}), "/x",
			[]string{"foreign host", "a redirect leads to", "https://elsewhere.example:443", gateway.URL, "another client"}},
		{"a foreign host, the gateway may have moved", &fakeSource{err: errors.New("down"), gateway: parseURL(t, gatewayURL)}, nil, "https://elsewhere.example/x",
			[]string{"foreign host", "https://gw.example:443", "the last known gateway is", "down"}},
		{"an ORD id as URL", newSecretSource(t), nil, "sap.s4:apiAccess:order:v1/tenant",
			[]string{"sap.s4:apiAccess:order:v1/tenant", "opaque URL", "ORD id", "leading slash", "gw.URL"}},
		{"an empty segment", newSecretSource(t), nil, route.URL("v1/mcp", "sap.s4:apiAccess:order:v1", ""),
			[]string{"segment 2 given to gw.URL is empty", "pass the id"}},
		{"a path that escapes", newSecretSource(t), nil, "/../x", []string{`a ".." segment`, "use the path that it leads to"}},
		{"a gateway over plain http", at("http://gw.example"), nil, "/x", []string{"plain http", "http://gw.example:80", "https"}},
		{"no gateway", newSource(), nil, "/x", []string{"without the URL of its gateway", "its flow"}},
		{"a gateway that is down", at(closed.URL), trusting(func(*http.Transport) {}), "/x",
			[]string{closed.URL, "refused", "check the gateway's URL and the network", "HTTPS_PROXY"}},
		{"a proxy that is down", at("https://gw.example"), trusting(func(b *http.Transport) { b.Proxy = http.ProxyURL(parseURL(t, closed.URL)) }), "/x",
			[]string{"https://gw.example:443", "proxyconnect", "check HTTPS_PROXY"}},
		{"an authority that is not trusted", at(gateway.URL), trusting(func(b *http.Transport) { b.TLSClientConfig.RootCAs = x509.NewCertPool() }), "/x",
			[]string{gateway.URL, "unknown authority", "RootCAs", "SSL_CERT_FILE"}},
		{"the certificate of another host", at("https://gw.example"), newBaseTrusting(t, gateway, map[string]*recordingServer{"gw.example:443": gateway}), "/x",
			[]string{"https://gw.example:443", "not gw.example", "check the gateway's URL"}},
		{"a wrong clock, by the certificate", at(gateway.URL), trusting(func(b *http.Transport) {
			b.TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) }
		}), "/x", []string{gateway.URL, "expired or is not yet valid", "this machine's clock"}},
		{"a wrong clock, by the token", &fakeSource{err: fmt.Errorf("agw: fetch system token: %w", tokensource.ErrExpired)}, nil, "/x",
			[]string{"get a token for the gateway", "expired on arrival", "this machine's clock, which says 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resp, err := transport.New(test.src, transport.Options{Base: test.base}).Client().Get(test.target)
			if err == nil {
				_ = resp.Body.Close()
				t.Fatalf("got status %d, want an error", resp.StatusCode)
			}
			text := err.Error()
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("the error does not say %q: %s", want, text)
				}
			}
			if strings.Contains(text, "\n") || len(text) > 320 || strings.Contains(text, "secret") {
				t.Errorf("the error is not one line of at most 320 bytes (%d) without the token: %s", len(text), text)
			}
		})
	}
}

func TestForeignHostErrorNamesOriginsOnly(t *testing.T) {
	t.Parallel()
	_, err := transport.New(newSecretSource(t), transport.Options{}).
		RoundTrip(newRequest(t, "GET", "https://user:hush@evil.example/hush?hush", nil))
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, want := range []string{"https://evil.example:443", "https://gw.example:443"} {
		if !strings.Contains(text, want) {
			t.Errorf("the error does not name %s: %s", want, text)
		}
	}
	for _, hidden := range []string{"hush", "secret"} {
		if strings.Contains(text, hidden) {
			t.Errorf("the error shows %q, want nothing but the origins: %s", hidden, text)
		}
	}
}

// A caller who used the placeholder knows no other host, so the error names the gateway.
func TestErrorOfTheBaseNamesTheGateway(t *testing.T) {
	t.Parallel()
	b := newBase(result{err: os.ErrDeadlineExceeded})
	resp, err := transport.New(newSecretSource(t), transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
	var ne net.Error
	switch {
	case resp != nil || !errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("got response %v and error %v, want one that wraps the base's", resp, err)
	case !errors.As(err, &ne) || !ne.Timeout():
		t.Errorf("%v is not a timeout, but the base's error was", err)
	case !strings.Contains(err.Error(), "https://gw.example:443"):
		t.Errorf("the error does not name the gateway: %v", err)
	}
}

func TestBaseThatReturnsNothing(t *testing.T) {
	t.Parallel()
	nothing := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, nil })
	resp, err := transport.New(newSecretSource(t), transport.Options{Base: nothing}).RoundTrip(newRequest(t, "GET", "/x", nil))
	if err != nil || resp != nil {
		t.Errorf("got response %v and error %v, want what the base returned", resp, err)
	}
}

// net/http quotes malformed responses, and the gateway knows the token.
func TestErrorThatQuotesTheTokenIsReplaced(t *testing.T) {
	t.Parallel()
	const accessToken = "opaque-token-of-alice"
	for name, quoted := range map[string]string{
		"whole":     accessToken,
		"in part":   accessToken[3:15],
		"in base64": base64.StdEncoding.EncodeToString([]byte("Bearer " + accessToken)),
	} {
		cause := fmt.Errorf("malformed HTTP response %q", "told: "+quoted)
		src := newSource(newToken(t, accessToken, gatewayURL))
		_, err := transport.New(src, transport.Options{Base: newBase(result{err: cause})}).RoundTrip(newRequest(t, "GET", "/x", nil))
		switch {
		case err == nil || errors.Is(err, cause) || strings.Contains(err.Error(), quoted):
			t.Errorf("token %s: got error %v, want one that neither shows the token nor leads to it", name, err)
		case !strings.Contains(err.Error(), "malformed HTTP response"):
			t.Errorf("token %s: the error does not say what went wrong: %v", name, err)
		}
	}
}

// The secret is that of the token, whatever a base has made of the header.
func TestErrorOfABaseThatModifiesTheHeader(t *testing.T) {
	t.Parallel()
	const accessToken = "opaque-token-of-alice"
	quoting, other := errors.New("malformed HTTP response: "+accessToken), errors.New("no route")
	for name, modify := range map[string]func(http.Header){
		"deletes":    func(h http.Header) { h.Del("Authorization") },
		"overwrites": func(h http.Header) { h["Authorization"][0] = "" },
	} {
		for _, cause := range []error{quoting, other} {
			b := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				modify(req.Header)
				return nil, cause
			})
			_, err := transport.New(newSource(newToken(t, accessToken, gatewayURL)), transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil))
			if cause == other && !errors.Is(err, other) {
				t.Errorf("a base that %s the Authorization: got error %v, want one that wraps %v", name, err, other)
			}
			if err == nil || strings.Contains(err.Error(), accessToken) {
				t.Errorf("a base that %s the Authorization: got error %v, want one without the token", name, err)
			}
		}
	}
}

func TestErrorOfAContextThatEndedIsPassedOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b := roundTripFunc(func(*http.Request) (*http.Response, error) { cancel(); return nil, context.Canceled })
	src := newSource(newToken(t, "canceled", gatewayURL)) // which the error quotes
	_, err := transport.New(src, transport.Options{Base: b}).RoundTrip(newRequest(t, "GET", "/x", nil).WithContext(ctx))
	if err != context.Canceled {
		t.Errorf("got error %v, want %v as it is", err, context.Canceled)
	}
}
