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
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// bomb is 16 MiB of white space within a JSON object, compressed a thousandfold.
func bomb() string {
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

// slow says one thing after the other, as long as anybody listens.
func slow(begin, over string) func(io.Writer) {
	return func(w io.Writer) {
		_, err := io.WriteString(w, begin)
		for err == nil {
			time.Sleep(5 * time.Millisecond)
			_, err = io.WriteString(w, over)
		}
	}
}

// deep is JSON that is nested more deeply than anything should be.
func deep(open, inner, end string) string {
	return strings.Repeat(open, 100_000) + inner + strings.Repeat(end, 100_000)
}

// A hostile is what a token service says, and what the error about it says.
type hostile struct {
	say  func(io.Writer)
	kind tokensource.Kind
	want string
}

func hostiles() map[string]hostile {
	const passing, permanent = tokensource.Passing, tokensource.Permanent
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	return map[string]hostile{
		"endless headers":       {endless("HTTP/1.1 200 OK\r\n", "X-More: "+strings.Repeat("x", 1000)+"\r\n"), passing, "exceeded"},
		"endless header":        {endless("HTTP/1.1 200 OK\r\nX-Long: ", strings.Repeat("x", 1000)), passing, "exceeded"},
		"endless status line":   {endless("HTTP/1.1 200 ", strings.Repeat("x", 1000)), passing, "exceeded"},
		"endless body":          {endless(ok("{"), strings.Repeat(" ", 1000)), passing, "larger than 1 MiB"},
		"endless chunks":        {endless(chunked+"1\r\n{\r\n", strings.Repeat("1\r\n \r\n", 1000)), passing, ""},
		"endless trailer":       {endless(chunked+"2\r\n{}\r\n0\r\n", "X-More: "+strings.Repeat("x", 1000)+"\r\n"), passing, "trailer"},
		"endless error":         {endless("HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", strings.Repeat("x", 1000)), passing, "larger than 1 MiB"},
		"endless early hints":   {endless("", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 50)), passing, "exceeded"},
		"endless continue":      {endless("", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50)), passing, "exceeded"},
		"gzip bomb":             {saying(bomb()), passing, "larger than 1 MiB"},
		"no gzip":               {saying("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), passing, ""},
		"slow headers":          {slow("HTTP/1.1 200 OK\r\n", "X: y\r\n"), passing, neverEnds},
		"slow body":             {slow(ok("{"), " "), passing, neverEnds},
		"silence":               {slow("", ""), passing, neverEnds},
		"not UTF-8":             {saying(ok("{\"access_token\":\"\xff\xfe\"}")), passing, "not UTF-8"},
		"byte order mark":       {saying(ok("\ufeff{\"access_token\":\"t\"}")), passing, "not a JSON object"},
		"array":                 {saying(ok(`[{"access_token":"t"}]`)), passing, "not a JSON object"},
		"string":                {saying(ok(`"t"`)), passing, "not a JSON object"},
		"trailing garbage":      {saying(ok(`{"access_token":"t"}{}`)), passing, "not a JSON object"},
		"wrong case":            {saying(ok(`{"Access_Token":"t","ACCESS_TOKEN":"t"}`)), passing, "access_token is missing or empty"},
		"token is a number":     {saying(ok(`{"access_token":1}`)), passing, "not a string"},
		"token is an object":    {saying(ok(`{"access_token":{}}`)), passing, "not a string"},
		"token is null":         {saying(ok(`{"access_token":null}`)), passing, "missing or empty"},
		"duplicate and empty":   {saying(ok(`{"access_token":"t","access_token":""}`)), passing, "missing or empty"},
		"deep object":           {saying(ok(deep(`{"a":`, "1", "}"))), passing, "not a JSON object"},
		"deep value":            {saying(ok(`{"access_token":"t","x":` + deep("[", "", "]") + "}")), passing, "not a JSON object"},
		"deep error":            {saying("HTTP/1.1 400 No\r\nConnection: close\r\n\r\n" + deep("[", "", "]")), permanent, "status 400"},
		"another type":          {saying(ok(`{"access_token":"t","token_type":"DPoP"}`)), permanent, "not of type Bearer"},
		"cut chunk":             {saying(chunked + "ff\r\n{\"access_token\":\"t\"}"), passing, "unexpected EOF"},
		"bad chunk":             {saying(chunked + "zz\r\n{}\r\n"), passing, "chunk"},
		"huge chunk":            {saying(chunked + "ffffffffffffffffff\r\n{}\r\n"), passing, "chunk"},
		"too long a length":     {saying("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"access_token\":\"t\"}"), passing, "unexpected EOF"},
		"too short a length":    {saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{\"access_token\":\"t\"}"), passing, "not a JSON object"},
		"negative length":       {saying("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), passing, "Content-Length"},
		"two lengths":           {saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "), passing, "Content-Length"},
		"no HTTP":               {saying("SSH-2.0-OpenSSH_9.9\r\n\r\n"), passing, "malformed"},
		"HTTP/9":                {saying("HTTP/9.9 200 OK\r\n\r\n{}"), passing, ""},
		"status 0":              {saying("HTTP/1.1 000 No\r\n\r\n"), passing, ""},
		"status 9999":           {saying("HTTP/1.1 9999 No\r\n\r\n"), passing, "malformed"},
		"switching protocols":   {saying("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n{\"access_token\":\"t\"}"), passing, "only status 200 is success"},
		"created":               {saying("HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{\"access_token\":\"t\"}"), passing, "only status 200 is success"},
		"no content":            {saying("HTTP/1.1 204 No Content\r\n\r\n"), passing, "only status 200 is success"},
		"partial content":       {saying("HTTP/1.1 206 Partial Content\r\nConnection: close\r\n\r\n{\"access_token\":\"t\"}"), passing, "only status 200 is success"},
		"terminal escapes":      {saying("HTTP/1.1 400 No\r\nConnection: close\r\n\r\nred \x1b[31m and\r\nbell \a"), permanent, "red"},
		"retry in a lifetime":   {saying("HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999999\r\nContent-Length: 0\r\n\r\n"), passing, "status 503"},
		"nothing but a newline": {saying("\r\n"), passing, ""},
	}
}

// patience is how long a fetch from a service that never ends its answer takes.
const patience = 300 * time.Millisecond

// patience returns how long to wait for an answer: long enough for a busy machine
// where the answer ends by itself, or is ended.
func (h hostile) patience() time.Duration {
	if h.want == neverEnds {
		return patience
	}
	return 30 * time.Second
}

const neverEnds = "no result in time"

// Whatever a token service does to its callers, they get an error that says what,
// in time, and it is not listened to for longer than it deserves.
func TestHostileTokenService(t *testing.T) {
	t.Parallel()
	const most = 16 << 20 // bytes on the way, buffers of sockets included
	for name, test := range hostiles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRaw(t, test.say)
			ctx, cancel := context.WithTimeoutCause(t.Context(), test.patience(), fmt.Errorf(neverEnds+": %w", context.DeadlineExceeded))
			defer cancel()
			resp, err := s.flowOf(t).Fetch(ctx, tokensource.Subject{UserToken: secret})
			if err == nil {
				t.Fatalf("a success: %q", resp.AccessToken)
			}
			e := typed(t, err)
			if e.Kind != test.kind || !strings.Contains(e.Error(), test.want) {
				t.Errorf("kind %d, %v; want %q", e.Kind, e, test.want)
			}
			if n := s.requests.Load(); n > 2 || s.written.Load() > most { // net/http itself tries once more where nothing came back
				t.Errorf("%d requests, %d bytes", n, s.written.Load())
			}
			if e.RetryAfter > 10*time.Minute {
				t.Errorf("to be tried again in %v", e.RetryAfter)
			}
		})
	}
}

// A source over such a service fails within its fetch timeout, retries included.
func TestHostileServiceIsBoundedByFetchTimeout(t *testing.T) {
	t.Parallel()
	s := startRaw(t, slow(ok("{"), " "))
	src, err := tokensource.New(s.flowOf(t), tokensource.Options{Settings: cache.Settings{FetchTimeout: patience}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = src.Token()
	if e := typed(t, err); !errors.Is(err, context.DeadlineExceeded) || e.NextAttempt.IsZero() {
		t.Errorf("%v", err)
	}
}

// What is odd, but harmless: duplicated keys, absurd numbers and unknown members.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"access_token":"first","access_token":"last","expires_in":60}`:                  "last",
		`{"access_token":"t","expires_in":1e400}`:                                         "t",
		`{"access_token":"t","expires_in":` + strings.Repeat("9", 10_000) + `}`:           "t",
		`{"access_token":"t","expires_at":"9999-12-31T23:59:59Z"}`:                        "t",
		`{"access_token":"t","expires_in":{},"expires_at":[],"id_token":1,"__proto__":1}`: "t",
	} {
		s := startRaw(t, saying(ok(body)))
		src, err := tokensource.New(s.flowOf(t), tokensource.Options{})
		if err != nil {
			t.Fatal(err)
		}
		token, err := src.Token()
		if err != nil {
			t.Errorf("%.60s: %v", body, err)
			continue
		}
		if left := time.Until(token.Expiry); token.AccessToken != want || left > cache.MaxLifetime || left <= 0 {
			t.Errorf("%.60s: %q for %v", body, token.AccessToken, left)
		}
	}
}

// A token becomes a header's value: one that could become anything else is refused,
// whichever service it comes from.
func TestTokensThatWouldInjectHeaders(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{`a\r\nX-Admin: 1`, `a\nb`, `a\u0000b`, `a b`, `a\tb`, `\u00e9`, `a\u2028b`, `a\u007f`, ` `, `\ud800`} {
		s := startRaw(t, saying(ok(`{"access_token":"`+bad+`","expires_in":60}`)))
		_, err := s.flowOf(t).Fetch(t.Context(), tokensource.Subject{})
		if err == nil {
			t.Errorf("%s is accepted", bad)
			continue
		}
		typed(t, err)

		w := newWorld(t, "lob", agwtest.Options{})
		w.Destinations.Inject(agwtest.Fault{Times: 3, Body: `{"destinationConfiguration":{"URL":"https://gw.example"},"authTokens":[{"http_header":{"value":"Bearer ` + bad + `"}}]}`})
		if _, err := w.src.Grant(t.Context()); err == nil {
			t.Errorf("%s is accepted from a destination", bad)
		} else {
			typed(t, err)
		}
	}
}

// Redirects of services that were given secrets are not followed, wherever they lead.
func TestRedirectsOfServicesAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, flow := range []string{"customer", "lob"} {
		w := newWorld(t, flow, agwtest.Options{})
		for _, location := range []string{w.ForeignURL() + "/oauth/token", "http://" + strings.TrimPrefix(w.ForeignURL(), "https://"), "file:///etc/passwd", "/", "?again", "//foreign.example", "", "javascript:alert(1)", "https://[::1%25eth0]/", "\x7f"} {
			for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
				for name, service := range w.services(flow) {
					before := len(w.Requests())
					service.Inject(agwtest.Fault{Status: status, Redirect: location, Header: http.Header{"Location": {location}}})
					_, err := w.flow.Fetch(t.Context(), tokensource.Subject{Tenant: "fresh", UserToken: w.UserToken(agwtest.User{Tenant: "fresh"})})
					e := typed(t, err)
					if e.Kind != tokensource.Permanent && status != 304 || e.StatusCode != status {
						t.Errorf("%s, %d to %q: %v", name, status, location, err)
					}
					if n := len(w.Requests()) - before; n > 3 || w.Counts().Foreign > 0 {
						t.Errorf("%s, %d to %q: %d requests, %d of them foreign", name, status, location, n, w.Counts().Foreign)
					}
					service.Heal()
					w.purge()
				}
			}
		}
	}
}
