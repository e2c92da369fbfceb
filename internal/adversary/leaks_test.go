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

// secretsIn returns everything in a request that is secret.
func secretsIn(r *http.Request) string {
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

// repeatInJSON returns a service that responds with JSON made of the secrets in a request.
func repeatInJSON(status int, value func(secrets string) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := json.Marshal(value(secretsIn(r)))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
}

// repeatInDescription returns a service that responds with an error of RFC 6749, whose
// description has the secrets as encode writes them.
func repeatInDescription(encode func(secrets string) string) http.Handler {
	return repeatInJSON(http.StatusBadRequest, func(secrets string) any {
		return map[string]string{"error": "invalid_request", "error_description": "told: " + encode(secrets)}
	})
}

// repeatInText returns a service that responds with text.
func repeatInText(status int, format string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, format, secretsIn(r))
	})
}

// repeatInHeader returns a service that responds with a header.
func repeatInHeader(status int, name, format string, encode func(secrets string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(name, fmt.Sprintf(format, encode(secretsIn(r))))
		w.WriteHeader(status)
	})
}

// repeatInHTTP returns a service whose response is not well-formed HTTP/1.1.
func repeatInHTTP(format string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secrets := secretsIn(r)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(conn, format, secrets)
		_ = conn.Close()
	})
}

func asIs(s string) string { return s }

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// eachWord returns an encoding that encodes each word on its own.
func eachWord(encode func(string) string) func(string) string {
	return func(s string) string {
		words := strings.Fields(s)
		for i := range words {
			words[i] = encode(words[i])
		}
		return strings.Join(words, " ")
	}
}

// leakyServices repeat the secrets that they were sent.
var leakyServices = map[string]http.Handler{
	"error code":              repeatInJSON(400, func(s string) any { return map[string]string{"error": s} }),
	"description":             repeatInDescription(asIs),
	"percent-encoded":         repeatInDescription(url.QueryEscape),
	"base64":                  repeatInDescription(inBase64),
	"base64, shifted":         repeatInDescription(func(s string) string { return inBase64("a" + s) }),
	"base64, shifted by two":  repeatInDescription(func(s string) string { return inBase64("ab" + s) }),
	"base64 of each":          repeatInDescription(eachWord(inBase64)),
	"base64url of each":       repeatInDescription(eachWord(func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) })),
	"base64 of percent":       repeatInDescription(func(s string) string { return inBase64(url.QueryEscape(s)) }),
	"hex":                     repeatInDescription(func(s string) string { return hex.EncodeToString([]byte(s)) }),
	"HEX of each":             repeatInDescription(eachWord(func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) })),
	"10 KiB":                  repeatInDescription(func(s string) string { return strings.Repeat(s+" ", 1+10<<10/len(s)) }),
	"at 200 bytes":            repeatInDescription(func(s string) string { return strings.Repeat("-", 180) + s }),
	"at 8 KiB":                repeatInDescription(func(s string) string { return strings.Repeat(" ", 8<<10-30) + s }),
	"JSON in JSON":            repeatInDescription(func(s string) string { b, _ := json.Marshal(s); return string(b) }),
	"HTML in JSON":            repeatInDescription(html.EscapeString),
	"ErrorMessage":            repeatInJSON(500, func(s string) any { return map[string]string{"ErrorMessage": s} }),
	"JSON string":             repeatInJSON(422, func(s string) any { return s }),
	"invalid_client":          repeatInJSON(401, func(s string) any { return map[string]string{"error": "invalid_client", "error_description": s} }),
	"access token with space": repeatInJSON(200, func(s string) any { return map[string]string{"access_token": s} }),
	"token type":              repeatInJSON(200, func(s string) any { return map[string]string{"access_token": "t", "token_type": s} }),
	"list of names":           repeatInJSON(200, func(s string) any { return []any{map[string]string{"FragmentName": s}} }),
	"list of names without spaces": repeatInJSON(200, func(s string) any {
		return []any{map[string]string{"FragmentName": strings.ReplaceAll(s, " ", "")}}
	}),
	"list of URLs": repeatInJSON(200, func(s string) any { return []any{map[string]string{"FragmentName": "f", "URL": "x://" + s}} }),
	"expiry": repeatInJSON(200, func(s string) any {
		return map[string]any{"access_token": "t", "expires_at": s, "expires_in": s}
	}),
	"error of a destination's token": repeatInJSON(200, func(s string) any {
		return map[string]any{"destinationConfiguration": map[string]string{"URL": "https://gw.example"}, "authTokens": []any{map[string]string{"error": s}}}
	}),
	"gateway of a destination": repeatInJSON(200, func(s string) any {
		return map[string]any{"destinationConfiguration": map[string]string{"URL": "https://gw.example/?" + s}, "authTokens": []any{map[string]any{"http_header": map[string]string{"value": "Bearer t"}}}}
	}),
	"plain text":        repeatInText(400, "told: %s"),
	"plain text, lines": repeatInText(503, "told:\r\n\r\n%s\r\n"),
	"HTML":              repeatInText(502, "<html><body>told: %s</body></html>"),
	"not JSON":          repeatInText(200, "told: %s"),
	"cut JSON":          repeatInText(400, `{"error":"told: %s`),

	"redirect, query":          repeatInHeader(302, "Location", "https://foreign.example/?%s", asIs),
	"redirect, path":           repeatInHeader(307, "Location", "https://foreign.example/%s", url.PathEscape),
	"redirect, unescaped path": repeatInHeader(308, "Location", "/%s", asIs),
	"redirect, host":           repeatInHeader(301, "Location", "https://%s.example/", func(s string) string { words := strings.Fields(s); return words[len(words)-1] }),
	"redirect, user info":      repeatInHeader(303, "Location", "https://me:%s@foreign.example/", url.QueryEscape),
	"redirect, fragment":       repeatInHeader(302, "Location", "#%s", asIs),
	"redirect, base64 in path": repeatInHeader(302, "Location", "https://foreign.example/%s", inBase64),
	"Retry-After":              repeatInHeader(503, "Retry-After", "%s", asIs),
	"WWW-Authenticate":         repeatInHeader(401, "Www-Authenticate", "%s", asIs),

	"status line":         repeatInHTTP("HTTP/1.1 %s\r\n\r\n"),
	"status":              repeatInHTTP("HTTP/1.1 200 %s\r\n\r\n"),
	"header line":         repeatInHTTP("HTTP/1.1 200 OK\r\n%s\r\n\r\n"),
	"content length":      repeatInHTTP("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{}"),
	"transfer encoding":   repeatInHTTP("HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n{}"),
	"content encoding":    repeatInHTTP("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n%s"),
	"chunk":               repeatInHTTP("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n"),
	"not HTTP":            repeatInHTTP("%s\r\n\r\n"),
	"nothing but a close": repeatInHTTP("%.0s"),
}

// Whatever a service repeats of the secrets that it was sent, and in whichever form: no
// error, log line, event or value of the program shows it.
func TestServicesThatRepeatSecrets(t *testing.T) {
	t.Parallel()
	for _, flow := range flowNames {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			var running sync.WaitGroup // all at once, since most of the time is spent between retries
			defer running.Wait()
			for name, service := range leakyServices {
				p := startProgram(t, flow, agwtest.Options{HTTP1: true})
				running.Go(func() {
					for which, handle := range p.services() {
						handle.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Handler: service} })
						if p.exercise(t) == 0 && name != "expiry" && name != "list of URLs" {
							t.Errorf("%s: nothing failed although %s repeats secrets in place of a response", name, which)
						}
						handle.ClearFaults()
						p.purge()
					}
					p.output.check(t, name, p.secrets)
				})
			}
		})
	}
}

// A gateway that repeats the token where HTTP has no place for it causes an error of
// net/http that quotes it, and a careless log would keep that.
func TestGatewayThatRepeatsTheToken(t *testing.T) {
	t.Parallel()
	for _, flow := range flowNames {
		for _, name := range []string{"status line", "header line", "content length", "transfer encoding", "content encoding", "chunk", "not HTTP"} {
			p := startProgram(t, flow, agwtest.Options{HTTP1: true})
			p.server.Gateway.OnRequest(func(agwtest.Request) *agwtest.Fault { return &agwtest.Fault{Handler: leakyServices[name]} })
			inBody := name == "content encoding" || name == "chunk" // reading it fails, and not the call
			if p.exercise(t) == 0 && !inBody {
				t.Errorf("%s, %s: nothing failed although the gateway's response is malformed", flow, name)
			}
			p.output.check(t, name, p.secrets)
		}
	}
}

// Nothing shows a secret if all goes well, either, nor if tokens are revoked. Other tokens
// in a response are secret, too.
func TestNoSecretShowsIfAllGoesWell(t *testing.T) {
	t.Parallel()
	for _, flow := range flowNames {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, flow, agwtest.Options{})
			for _, field := range []string{"id_token", "refresh_token"} {
				value := p.server.UserToken(agwtest.User{Name: field})
				p.secrets.addToken(field, value)
				p.server.Tokens.SetField(field, value)
				p.server.Auth.SetField(field, value)
			}
			if n := p.exercise(t); n > 0 {
				t.Errorf("%d failures, want none", n)
			}
			p.server.RevokeAll()
			p.exercise(t)
			p.output.check(t, flow, p.secrets)
			if parts, calls := p.secrets.parts(), p.server.Counts().Gateway; parts < 5000 || calls < 4 {
				t.Errorf("the test has tested too little: %d parts of secrets, %d calls of the gateway", parts, calls)
			}
		})
	}
}

// The error of a flow that panics shows nothing of what it panicked with.
func TestPanicsShowNothing(t *testing.T) {
	t.Parallel()
	s, o := &secrets{}, newOutput()
	s.add("secret", secret)
	bytes := []byte(secret)
	for name, panicking := range map[string]func(){
		"string":         func() { panic(secret) },
		"error":          func() { panic(fmt.Errorf("with %s", secret)) },
		"struct":         func() { panic(struct{ S string }{secret}) },
		"bytes":          func() { panic(bytes) },
		"index":          func() { _ = bytes[len(bytes)+len(o.texts)] },
		"map key":        func() { _ = map[any]int{}[[]string{secret}] },
		"type assertion": func() { _ = any(secret).(int) },
		"nil":            func() { panic(error(nil)) },
	} {
		flow := flowFunc(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			panicking()
			return nil, nil
		})
		src, err := tokensource.New(flow, tokensource.Options{Logger: o.logger(), OnEvent: o.addEvent})
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.AccessToken(tokensource.WithUserToken(t.Context(), secret))
		if err == nil {
			t.Errorf("%s: got a token from a flow that panics, want an error", name)
		}
		o.addError(name, err)
	}
	o.check(t, "panic", s)
}

// A flowFunc is a flow that takes every tenant, and fetches by a function.
type flowFunc func(context.Context, tokensource.Subject) (*tokensource.Response, error)

var testIdentity = &tokensource.Identity{Flow: "test"}

func (flowFunc) Identity() *tokensource.Identity { return testIdentity }

func (flowFunc) Tenant(_ context.Context, requested string) (string, error) { return requested, nil }

func (f flowFunc) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	return f(ctx, s)
}
