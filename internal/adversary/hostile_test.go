package adversary_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
)

// gzipBomb returns a response with 16 MiB of white space within a JSON object, compressed a
// thousandfold.
func gzipBomb() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, "{")
	for range 16 {
		_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	_, _ = io.WriteString(z, "}")
	_ = z.Close()
	return "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + b.String()
}

// nested returns JSON that is nested more deeply than anything should be.
func nested(open, inner, end string) string {
	return strings.Repeat(open, 100_000) + inner + strings.Repeat(end, 100_000)
}

// neverEnds is the text of the error about a response that does not end.
const neverEnds = "no result in time"

// shortTimeout bounds a fetch whose response does not end.
const shortTimeout = 300 * time.Millisecond

// A hostileResponse is what a token service sends, and what comes of it.
type hostileResponse struct {
	name    string
	respond func(io.Writer)
	kind    tokensource.Kind
	want    string // part of the error's text
}

func hostileResponses() []hostileResponse {
	const temporary, permanent = tokensource.Temporary, tokensource.Permanent
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	return []hostileResponse{
		{"endless headers", withEndless("HTTP/1.1 200 OK\r\n", "X-More: "+strings.Repeat("x", 1000)+"\r\n"), temporary, "exceeded"},
		{"endless header", withEndless("HTTP/1.1 200 OK\r\nX-Long: ", strings.Repeat("x", 1000)), temporary, "exceeded"},
		{"endless status line", withEndless("HTTP/1.1 200 ", strings.Repeat("x", 1000)), temporary, "exceeded"},
		{"endless body", withEndless(headOf200+"{", strings.Repeat(" ", 1000)), temporary, "larger than 1 MiB"},
		{"endless chunks", withEndless(chunked+"1\r\n{\r\n", strings.Repeat("1\r\n \r\n", 1000)), temporary, ""},
		{"endless trailer", withEndless(chunked+"2\r\n{}\r\n0\r\n", "X-More: "+strings.Repeat("x", 1000)+"\r\n"), temporary, "trailer"},
		{"endless error", withEndless("HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", strings.Repeat("x", 1000)), temporary, "larger than 1 MiB"},
		{"endless early hints", withEndless("", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 50)), temporary, "exceeded"},
		{"endless continue", withEndless("", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50)), temporary, "exceeded"},
		{"gzip bomb", withText(gzipBomb()), temporary, "larger than 1 MiB"},
		{"gzip that is not gzip", withText("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), temporary, ""},
		{"slow headers", withSlow("HTTP/1.1 200 OK\r\n", "X: y\r\n"), temporary, neverEnds},
		{"slow body", withSlow(headOf200+"{", " "), temporary, neverEnds},
		{"nothing at all", withSlow("", ""), temporary, neverEnds},
		{"not UTF-8", withJSON("{\"access_token\":\"\xff\xfe\"}"), temporary, "not UTF-8"},
		{"byte order mark", withJSON("\ufeff{\"access_token\":\"t\"}"), temporary, "not a JSON object"},
		{"array", withJSON(`[{"access_token":"t"}]`), temporary, "not a JSON object"},
		{"string", withJSON(`"t"`), temporary, "not a JSON object"},
		{"trailing garbage", withJSON(`{"access_token":"t"}{}`), temporary, "not a JSON object"},
		{"access_token in another case", withJSON(`{"Access_Token":"t","ACCESS_TOKEN":"t"}`), temporary, "access_token is missing or empty"},
		{"token is a number", withJSON(`{"access_token":1}`), temporary, "not a string"},
		{"token is an object", withJSON(`{"access_token":{}}`), temporary, "not a string"},
		{"token is null", withJSON(`{"access_token":null}`), temporary, "missing or empty"},
		{"token twice, the second time empty", withJSON(`{"access_token":"t","access_token":""}`), temporary, "missing or empty"},
		{"deeply nested object", withJSON(nested(`{"a":`, "1", "}")), temporary, "not a JSON object"},
		{"deeply nested value", withJSON(`{"access_token":"t","x":` + nested("[", "", "]") + "}"), temporary, "not a JSON object"},
		{"deeply nested error", withText("HTTP/1.1 400 No\r\nConnection: close\r\n\r\n" + nested("[", "", "]")), permanent, "status 400"},
		{"token type DPoP", withJSON(`{"access_token":"t","token_type":"DPoP"}`), permanent, "not of type Bearer"},
		{"chunk cut off", withText(chunked + "ff\r\n{\"access_token\":\"t\"}"), temporary, "unexpected EOF"},
		{"malformed chunk size", withText(chunked + "zz\r\n{}\r\n"), temporary, "chunk"},
		{"huge chunk size", withText(chunked + "ffffffffffffffffff\r\n{}\r\n"), temporary, "chunk"},
		{"Content-Length too long", withText("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"access_token\":\"t\"}"), temporary, "unexpected EOF"},
		{"Content-Length too short", withText("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{\"access_token\":\"t\"}"), temporary, "not a JSON object"},
		{"Content-Length negative", withText("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), temporary, "Content-Length"},
		{"two Content-Lengths", withText("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "), temporary, "Content-Length"},
		{"not HTTP", withText("SSH-2.0-OpenSSH_9.9\r\n\r\n"), temporary, "malformed"},
		{"HTTP/9", withText("HTTP/9.9 200 OK\r\n\r\n{}"), temporary, ""},
		{"status 0", withText("HTTP/1.1 000 No\r\n\r\n"), temporary, ""},
		{"status 9999", withText("HTTP/1.1 9999 No\r\n\r\n"), temporary, "malformed"},
		{"switching protocols", withText("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n{\"access_token\":\"t\"}"), temporary, "only status 200 is success"},
		{"created", withText("HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{\"access_token\":\"t\"}"), temporary, "only status 200 is success"},
		{"no content", withText("HTTP/1.1 204 No Content\r\n\r\n"), temporary, "only status 200 is success"},
		{"partial content", withText("HTTP/1.1 206 Partial Content\r\nConnection: close\r\n\r\n{\"access_token\":\"t\"}"), temporary, "only status 200 is success"},
		{"terminal escapes", withText("HTTP/1.1 400 No\r\nConnection: close\r\n\r\nred \x1b[31m and\r\nbell \a"), permanent, "red"},
		{"Retry-After beyond all bounds", withText("HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999999\r\nContent-Length: 0\r\n\r\n"), temporary, "status 503"},
		{"nothing but a newline", withText("\r\n"), temporary, ""},
	}
}

// Whatever a token service responds with, its callers get an error that says what, in time,
// and not more is read than a response deserves.
func TestHostileTokenService(t *testing.T) {
	t.Parallel()
	const maxWritten = 16 << 20 // bytes on the way, buffers of sockets included
	for _, test := range hostileResponses() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := 30 * time.Second // long enough for a busy machine
			if test.want == neverEnds {
				timeout = shortTimeout
			}
			s := startRawServer(t, test.respond)
			ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, fmt.Errorf(neverEnds+": %w", context.DeadlineExceeded))
			defer cancel()
			resp, err := s.flow(t).Fetch(ctx, tokensource.UserSubject(secret))
			if err == nil {
				t.Fatalf("got token %q, want an error", resp.AccessToken)
			}
			e := fetchError(t, test.name, err)
			if e.Kind != test.kind || !strings.Contains(e.Error(), test.want) {
				t.Errorf("got %v error %q, want a %v one with %q", e.Kind, e, test.kind, test.want)
			}
			if n := s.requests.Load(); n > 2 { // net/http itself tries once more if nothing came back
				t.Errorf("the service got %d requests, want at most 2", n)
			}
			if n := s.written.Load(); n > maxWritten {
				t.Errorf("%d bytes of the response were taken, want at most %d", n, maxWritten)
			}
			if e.RetryAfter > 10*time.Minute {
				t.Errorf("RetryAfter is %v, want at most 10 min", e.RetryAfter)
			}
		})
	}
}

// A source with such a service fails within its fetch timeout, retries included.
func TestHostileServiceIsBoundedByFetchTimeout(t *testing.T) {
	t.Parallel()
	s := startRawServer(t, withSlow(headOf200+"{", " "))
	src, err := tokensource.New(s.flow(t), tokensource.Options{Settings: tokensource.Settings{FetchTimeout: shortTimeout}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = src.Token()
	e := fetchError(t, "a response that never ends", err)
	if !errors.Is(err, context.DeadlineExceeded) || e.NextAttempt.IsZero() {
		t.Errorf("got error %q, want a context.DeadlineExceeded that says when the next attempt is due", err)
	}
}

// Responses that are odd, but harmless, mean what the documentation says.
func TestOddResponses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, body, want string }{
		{"member twice", `{"access_token":"first","access_token":"last","expires_in":60}`, "last"},
		{"expires_in beyond float64", `{"access_token":"t","expires_in":1e400}`, "t"},
		{"expires_in of 10,000 digits", `{"access_token":"t","expires_in":` + strings.Repeat("9", 10_000) + `}`, "t"},
		{"expires_at in the year 9999", `{"access_token":"t","expires_at":"9999-12-31T23:59:59Z"}`, "t"},
		{"members of other types", `{"access_token":"t","expires_in":{},"expires_at":[],"id_token":1,"__proto__":1}`, "t"},
	} {
		s := startRawServer(t, withJSON(test.body))
		src, err := tokensource.New(s.flow(t), tokensource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		token, err := src.Token()
		if err != nil {
			t.Errorf("%s: got error %v, want token %q", test.name, err, test.want)
			continue
		}
		if left := time.Until(token.Expiry); token.AccessToken != test.want || left > 24*time.Hour || left <= 0 {
			t.Errorf("%s: got token %q for %v, want %q for at most a day", test.name, token.AccessToken, left, test.want)
		}
	}
}

// A token becomes the value of a header. One that could become anything else is an error,
// whichever service it comes from.
func TestTokensThatWouldInjectHeaders(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, token string }{ // as in a JSON string
		{"header line", `a\r\nX-Admin: 1`}, {"line feed", `a\nb`}, {"NUL", `a\u0000b`}, {"space", `a b`}, {"tab", `a\tb`},
		{"Latin-1", `\u00e9`}, {"line separator", `a\u2028b`}, {"DEL", `a\u007f`}, {"blank", ` `}, {"lone surrogate", `\ud800`},
	} {
		s := startRawServer(t, withJSON(`{"access_token":"`+test.token+`","expires_in":60}`))
		_, err := s.flow(t).Fetch(t.Context(), tokensource.SystemSubject())
		fetchError(t, test.name+", from a token service", err)

		p := startProgram(t, "lob", agwtest.Options{})
		p.server.Destinations.Inject(agwtest.Fault{Times: 3, Body: `{"destinationConfiguration":{"URL":"https://gw.example"},"authTokens":[{"http_header":{"value":"Bearer ` + test.token + `"}}]}`})
		_, err = p.source.AccessToken(t.Context())
		fetchError(t, test.name+", from the Destination Service", err)
	}
}

// Redirects of services that were given secrets are not followed, wherever they lead.
func TestRedirectsOfServicesAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, flow := range flowNames {
		p := startProgram(t, flow, agwtest.Options{})
		for _, location := range []string{
			p.server.ForeignURL() + "/oauth/token", "http://" + strings.TrimPrefix(p.server.ForeignURL(), "https://"), "file:///etc/passwd",
			"/", "?again", "//foreign.example", "", "javascript:alert(1)", "https://[::1%25eth0]/", "\x7f",
		} {
			for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
				for service, handle := range p.services() {
					name := fmt.Sprintf("%s responds with %d to %q", service, status, location)
					before := len(p.server.Requests())
					handle.Inject(agwtest.Fault{Status: status, Redirect: location, Header: http.Header{"Location": {location}}})
					user := tokensource.UserSubject(p.server.UserToken(agwtest.User{Tenant: "fresh"})).In("fresh")
					_, err := p.flow.Fetch(t.Context(), user)
					e := fetchError(t, name, err)
					if e.Kind != tokensource.Permanent && status != 304 || e.StatusCode != status {
						t.Errorf("%s: got %v error with status %d, want a permanent one with %d", name, e.Kind, e.StatusCode, status)
					}
					if n := len(p.server.Requests()) - before; n > 3 {
						t.Errorf("%s: %d requests followed, want at most 3", name, n)
					}
					if n := p.server.Counts().Foreign; n > 0 {
						t.Errorf("%s: the foreign host got %d requests, want none", name, n)
					}
					handle.ClearFaults()
					p.purge()
				}
			}
		}
	}
}
