package adversary_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
)

// services returns the handles of the services that a flow gets tokens from.
func (w *world) services(flow string) map[string]*agwtest.Service {
	if flow == "customer" {
		return map[string]*agwtest.Service{"token service": w.Tokens.Service}
	}
	return map[string]*agwtest.Service{
		"authorization server": w.Auth.Service, "fragments": w.Fragments, "destinations": w.Destinations.Service,
	}
}

// said is everything confidential in a request.
func said(r *http.Request) string {
	_ = r.ParseForm()
	parts := []string{r.PostForm.Encode()}
	for _, name := range []string{"client_secret", "assertion"} {
		parts = append(parts, r.PostForm.Get(name))
	}
	for _, name := range []string{"Authorization", "X-User-Token"} {
		parts = append(parts, r.Header.Get(name))
	}
	return strings.Join(parts, " ")
}

// answering returns a service that answers with JSON made of what it was told.
func answering(status int, make func(told string) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := json.Marshal(make(said(r)))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
}

// describing returns a service that answers with an error of RFC 6749 that
// describes what it was told.
func describing(spell func(told string) string) http.Handler {
	return answering(http.StatusBadRequest, func(told string) any {
		return map[string]string{"error": "invalid_request", "error_description": "told: " + spell(told)}
	})
}

// writing returns a service that answers with text.
func writing(status int, format string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, format, said(r))
	})
}

// redirecting returns a service that redirects to where format says.
func redirecting(status int, format string, spell func(string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", fmt.Sprintf(format, spell(said(r))))
		w.WriteHeader(status)
	})
}

// rude returns a service that does not speak HTTP well, over HTTP/1.1.
func rude(format string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := said(r)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(conn, format, told)
		_ = conn.Close()
	})
}

func asIs(s string) string { return s }

// inPieces spells each word on its own.
func inPieces(spell func(string) string) func(string) string {
	return func(s string) string {
		words := strings.Fields(s)
		for i := range words {
			words[i] = spell(words[i])
		}
		return strings.Join(words, " ")
	}
}

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// indiscreet are services that repeat what they were told.
var indiscreet = map[string]http.Handler{
	"error code":           answering(400, func(told string) any { return map[string]string{"error": told} }),
	"description":          describing(asIs),
	"percent-encoded":      describing(url.QueryEscape),
	"base64":               describing(inBase64),
	"base64, shifted":      describing(func(s string) string { return inBase64("a" + s) }),
	"base64, shifted more": describing(func(s string) string { return inBase64("ab" + s) }),
	"base64 of each":       describing(inPieces(inBase64)),
	"base64url of each":    describing(inPieces(func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) })),
	"base64 of encoded":    describing(func(s string) string { return inBase64(url.QueryEscape(s)) }),
	"hex":                  describing(func(s string) string { return hex.EncodeToString([]byte(s)) }),
	"HEX of each":          describing(inPieces(func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) })),
	"10 KiB":               describing(func(s string) string { return strings.Repeat(s+" ", 1+10<<10/len(s)) }),
	"at the cut":           describing(func(s string) string { return strings.Repeat("-", 180) + s }),
	"at the second cut":    describing(func(s string) string { return strings.Repeat(" ", 8<<10-30) + s }),
	"JSON in JSON":         describing(func(s string) string { b, _ := json.Marshal(s); return string(b) }),
	"HTML in JSON":         describing(html.EscapeString),
	"ErrorMessage":         answering(500, func(told string) any { return map[string]string{"ErrorMessage": told} }),
	"JSON string":          answering(422, func(told string) any { return told }),
	"unauthorized":         answering(401, func(told string) any { return map[string]string{"error": "invalid_client", "error_description": told} }),
	"token that is none":   answering(200, func(told string) any { return map[string]string{"access_token": told} }),
	"token type":           answering(200, func(told string) any { return map[string]string{"access_token": "t", "token_type": told} }),
	"list of names":        answering(200, func(told string) any { return []any{map[string]string{"FragmentName": told}} }),
	"list of short names": answering(200, func(told string) any {
		return []any{map[string]string{"FragmentName": strings.ReplaceAll(told, " ", "")}}
	}),
	"list of URLs": answering(200, func(told string) any { return []any{map[string]string{"FragmentName": "f", "URL": "x://" + told}} }),
	"expiry": answering(200, func(told string) any {
		return map[string]any{"access_token": "t", "expires_at": told, "expires_in": told}
	}),
	"token that failed": answering(200, func(told string) any {
		return map[string]any{"destinationConfiguration": map[string]string{"URL": "https://gw.example"}, "authTokens": []any{map[string]string{"error": told}}}
	}),
	"gateway": answering(200, func(told string) any {
		return map[string]any{"destinationConfiguration": map[string]string{"URL": "https://gw.example/?" + told}, "authTokens": []any{map[string]any{"http_header": map[string]string{"value": "Bearer t"}}}}
	}),
	"plain text":        writing(400, "told: %s"),
	"plain text, lines": writing(503, "told:\r\n\r\n%s\r\n"),
	"HTML":              writing(502, "<html><body>told: %s</body></html>"),
	"not JSON":          writing(200, "told: %s"),
	"cut JSON":          writing(400, `{"error":"told: %s`),
	"query":             redirecting(302, "https://foreign.example/?%s", asIs),
	"path":              redirecting(307, "https://foreign.example/%s", url.PathEscape),
	"path as it is":     redirecting(308, "/%s", asIs),
	"host":              redirecting(301, "https://%s.example/", func(s string) string { return strings.Fields(s)[len(strings.Fields(s))-1] }),
	"user info":         redirecting(303, "https://me:%s@foreign.example/", url.QueryEscape),
	"fragment":          redirecting(302, "#%s", asIs),
	"base64 in a path":  redirecting(302, "https://foreign.example/%s", inBase64),
	"status line":       rude("HTTP/1.1 %s\r\n\r\n"),
	"status":            rude("HTTP/1.1 200 %s\r\n\r\n"),
	"header line":       rude("HTTP/1.1 200 OK\r\n%s\r\n\r\n"),
	"content length":    rude("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{}"),
	"transfer encoding": rude("HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n{}"),
	"content encoding":  rude("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n%s"),
	"chunk":             rude("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n"),
	"no HTTP":           rude("%s\r\n\r\n"),
	"retry after": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", said(r))
		w.WriteHeader(503)
	}),
	"www-authenticate": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Www-Authenticate", said(r))
		w.WriteHeader(401)
	}),
	"nothing but a close": rude("%.0s"),
}

// Whatever a service repeats of what it was told, and in whichever form: no error,
// no log line, no event and no value of the program shows it.
func TestIndiscreetServices(t *testing.T) {
	t.Parallel()
	for _, flow := range []string{"customer", "lob"} {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup // at once, for most of the time is spent between retries
			defer all.Wait()
			for how, handler := range indiscreet {
				w := newWorld(t, flow, agwtest.Options{HTTP1: true})
				all.Go(func() { w.meets(t, flow, how, handler) })
			}
		})
	}
}

// meets has each service of a flow, in turn, answer by handler.
func (w *world) meets(t *testing.T, flow, how string, handler http.Handler) {
	for name, service := range w.services(flow) {
		service.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Handler: handler} })
		if w.exercise(t) == 0 && how != "expiry" && how != "list of URLs" {
			t.Errorf("%s of %s, %s: nothing failed", name, flow, how)
		}
		service.Heal()
		w.purge()
	}
	w.check(t, how, w.vault)
}

// Also where nothing goes wrong, and where the tokens come with others.
func TestNothingShowsWhereAllIsWell(t *testing.T) {
	t.Parallel()
	for _, flow := range []string{"customer", "lob"} {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, flow, agwtest.Options{})
			for _, field := range []string{"id_token", "refresh_token"} {
				value := w.UserToken(agwtest.User{Name: field})
				w.lockToken(field, value)
				w.Tokens.SetField(field, value)
				w.Auth.SetField(field, value)
			}
			if n := w.exercise(t); n > 0 {
				t.Errorf("%d failures", n)
			}
			w.RevokeAll() // and once more with tokens that are refused
			w.exercise(t)
			w.check(t, flow, w.vault)
			if w.size() < 5000 || w.Counts().Gateway < 4 {
				t.Errorf("the test has tested too little: %d grams, %+v", w.size(), w.Counts())
			}
		})
	}
}

// A panicking flow tells nobody what it had in hand.
func TestPanicsShowNothing(t *testing.T) {
	t.Parallel()
	v, o := &vault{}, newOutput()
	const secret = "the-password-is-swordfish-and-nothing-else"
	v.lock("secret", secret)
	for name, panicking := range map[string]func(){
		"string":  func() { panic(secret) },
		"error":   func() { panic(fmt.Errorf("with %s", secret)) },
		"struct":  func() { panic(struct{ S string }{secret}) },
		"bytes":   func() { panic([]byte(secret)) },
		"runtime": func() { _ = []byte(secret)[len(secret)+len(name(secret)):] },
		"key":     func() { _ = map[any]int{}[[]string{secret}] },
		"type":    func() { _ = any(secret).(int) },
		"nil":     func() { panic(error(nil)) },
	} {
		src, err := tokensource.New(flowFunc(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			panicking()
			return nil, nil
		}), tokensource.Options{Logger: o.logger(), OnEvent: o.event})
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Grant(tokensource.WithUserToken(t.Context(), secret))
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		o.failure(name, err)
	}
	o.check(t, "panic", v)
}

func name(s string) string { return s[:1] }

// flowFunc is a flow of one tenant.
type flowFunc func(context.Context, tokensource.Subject) (*tokensource.Response, error)

var identity = &tokensource.Identity{Flow: "test"}

func (flowFunc) Identity() *tokensource.Identity { return identity }

func (flowFunc) Tenant(_ context.Context, requested string) (string, error) { return requested, nil }

func (f flowFunc) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	return f(ctx, s)
}
