package tokenservice_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

func TestResponsesThatAreNotSuccess(t *testing.T) {
	t.Parallel()
	const html = "<!DOCTYPE html><html>please log in</html>"
	const temporary, permanent, denied = tokensource.Temporary, tokensource.Permanent, tokensource.Denied
	for _, test := range []struct {
		status            int
		body              string
		kind              tokensource.Kind
		code, description string
	}{
		// RFC 6749, section 5.2
		{400, `{"error":"invalid_grant","error_description":"expired"}`, denied, "invalid_grant", "expired"},
		{400, `{"error":"invalid_client"}`, denied, "invalid_client", ""},
		{400, `{"error":"unauthorized_client"}`, denied, "unauthorized_client", ""},
		{400, `{"error":"access_denied"}`, denied, "access_denied", ""},
		{400, `{"error":"invalid_request","error_description":null}`, permanent, "invalid_request", ""},
		{400, `{"error":"temporarily_unavailable"}`, temporary, "temporarily_unavailable", ""},
		{400, `{"error":"server_error"}`, temporary, "server_error", ""},
		{400, `{"error":7,"error_description":"x"}`, permanent, "", ""},
		{400, "{\"error\":\"invalid_grant\",\"error_description\":\"not UTF-8: \xe9\"}", denied, "invalid_grant", "not UTF-8: \ufffd"},

		// other statuses, and what else a body can be
		{401, `{"error":"invalid_client","error_description":"bad"}`, denied, "invalid_client", "bad"},
		{401, `{"error":"anything_else"}`, denied, "anything_else", ""},
		{403, `{"error":"access_denied"}`, denied, "access_denied", ""},
		{404, `{"ErrorMessage":"no such destination"}`, permanent, "", "no such destination"},
		{404, `"a string"`, permanent, "", "a string"},
		{404, `["a"]`, permanent, "", ""},
		{422, `{"unknown":"shape"}`, permanent, "", ""},
		{422, `{"error":"trunc`, permanent, "", ""},
		{408, ``, temporary, "", ""},
		{425, ``, temporary, "", ""},
		{429, `{"error":"invalid_client"}`, temporary, "invalid_client", ""},
		{500, html, temporary, "", ""},
		{502, ``, temporary, "", ""},
		{503, `busy`, temporary, "", "busy"},

		// what makes no sense
		{200, html, temporary, "", ""},
		{200, ``, temporary, "", ""},
		{200, `  `, temporary, "", ""},
		{200, `{"access_token":"abc`, temporary, "", ""},
		{200, `"string"`, temporary, "", ""},
		{200, `{} garbage`, temporary, "", ""},
		{200, strings.Repeat(" ", 1<<20) + "{}", temporary, "", ""},
		{201, `{}`, temporary, "", ""},
		{204, ``, temporary, "", ""},
		{101, ``, temporary, "", ""},
		{304, ``, permanent, "", ""},
	} {
		t.Run(fmt.Sprintf("%d %.40s", test.status, test.body), func(t *testing.T) {
			t.Parallel()
			e := doError(t, clientOfResponse(test.status, test.body, "Retry-After", "7"), tokenservice.Request{Op: "op", URL: endpoint + "?q=s"})
			if e.Op != "op" || e.URL != endpoint || e.StatusCode != test.status {
				t.Errorf("got Op %q, URL %q and status %d, want those of the request, without its query", e.Op, e.URL, e.StatusCode)
			}
			if e.Kind != test.kind || e.Code != test.code || e.Description != test.description {
				t.Errorf("got kind %v, code %q and description %q, want %v, %q and %q", e.Kind, e.Code, e.Description, test.kind, test.code, test.description)
			}
			wantRetryAfter := time.Duration(0)
			if test.kind == temporary && len(test.body) <= 1<<20 {
				wantRetryAfter = 7 * time.Second
			}
			if e.RetryAfter != wantRetryAfter {
				t.Errorf("got RetryAfter %v, want %v", e.RetryAfter, wantRetryAfter)
			}
			assertRetrieveError(t, e)
		})
	}
}

// A refusal that is not OAuth's may be that of a proxy. It says nothing about the
// credentials, which would be dropped, and is not worth another attempt right away.
func TestRefusalsWithoutACode(t *testing.T) {
	t.Parallel()
	const page = "<html><body>please log in</body></html>"
	const proxy, why = "the response is HTML, not JSON: is a proxy in between?", "the response does not say why"
	for _, test := range []struct {
		name        string
		status      int
		contentType string
		body        string
		want        string // the end of the error
	}{
		{"HTML", 401, "text/html", page, proxy},
		{"HTML", 403, "Text/HTML; charset=utf-8", page, proxy},
		{"HTML", 407, "", "\n <!doctype html>" + page, proxy},
		{"HTML without the usual beginning", 403, "text/html", "<center>no</center>", proxy},
		{"a text that is said to be HTML", 403, "text/html", "Access denied", `"Access denied": ` + proxy},
		{"nothing", 401, "", "", why},
		{"white space that is said to be HTML", 401, "text/html", " \n", why},
		{"XML", 403, "application/xml", "<?xml version='1.0'?><no/>", why},
		{"a text", 403, "text/plain", "Forbidden for you", `"Forbidden for you"`},
		{"a string", 401, "application/json", `"unknown token"`, `"unknown token"`},
		{"an ErrorMessage", 401, "application/json", `{"ErrorMessage":"unknown token"}`, `"unknown token"`},
		{"JSON that is said to be HTML", 401, "text/html", `{"ErrorMessage":"unknown token"}`, `"unknown token"`},
		{"a code that is not a string", 401, "", `{"error":7}`, why},
		{"an empty code", 401, "", `{"error":" "}`, why},
	} {
		for asked, wantRetryAfter := range map[string]time.Duration{"": 10 * time.Second, "7": 10 * time.Second, "60": time.Minute} {
			c := clientOfResponse(test.status, test.body, "Content-Type", test.contentType, "Retry-After", asked)
			e := doError(t, c, tokenservice.Request{URL: endpoint})
			if e.Kind != tokensource.Temporary || e.StatusCode != test.status || e.Code != "" || e.RetryAfter != wantRetryAfter {
				t.Errorf("%d with %s, Retry-After %q: got %v, status %d, code %q and RetryAfter %v, want temporary, the status, no code and %v",
					test.status, test.name, asked, e.Kind, e.StatusCode, e.Code, e.RetryAfter, wantRetryAfter)
			}
			if !strings.HasSuffix(e.Error(), test.want) {
				t.Errorf("%d with %s: got %q, want it to end in %q", test.status, test.name, e, test.want)
			}
		}
	}
}

// HTML says of other responses, too, that they do not come from the service.
func TestHTMLInOtherResponses(t *testing.T) {
	t.Parallel()
	for status, kind := range map[int]tokensource.Kind{
		200: tokensource.Temporary, 400: tokensource.Permanent, 404: tokensource.Permanent, 502: tokensource.Temporary,
	} {
		e := doError(t, clientOfResponse(status, "<html>please log in</html>"), tokenservice.Request{URL: endpoint})
		if e.Kind != kind || e.RetryAfter != 0 || !strings.HasSuffix(e.Error(), "is a proxy in between?") {
			t.Errorf("%d with HTML: got %v (%v, RetryAfter %v), want %v, and a question about a proxy", status, e, e.Kind, e.RetryAfter, kind)
		}
	}
}

// nginxPage returns a page of nginx about a client certificate.
func nginxPage(title string) string {
	return "<html>\r\n<head><title>400 " + title + "</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>" +
		title + "</center>\r\n<hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>\r\n"
}

// A server that ends TLS in front of the service says in HTML that it refuses the client
// certificate. Whoever can renew it must be told.
func TestCertificateRefusedInHTML(t *testing.T) {
	t.Parallel()
	const denied, permanent, temporary = tokensource.Denied, tokensource.Permanent, tokensource.Temporary
	for _, test := range []struct {
		name   string
		status int
		body   string
		kind   tokensource.Kind
		want   string
	}{
		{"no certificate", 400, nginxPage("No required SSL certificate was sent"), denied, "no client certificate was presented, and the server requires one"},
		{"a certificate that is refused", 400, nginxPage("The SSL certificate error"), denied, "the server refused the client certificate"},
		{"another page", 400, nginxPage("The plain HTTP request was sent to HTTPS port"), permanent, "is a proxy in between?"},
		{"another status", 502, nginxPage("The SSL certificate error"), temporary, "is a proxy in between?"},
		{"JSON that says so", 400, `{"error":"invalid_request","error_description":"The SSL certificate error"}`, permanent, "The SSL certificate error"},
		{"a text that says so", 400, "The SSL certificate error", permanent, "The SSL certificate error"},
	} {
		e := doError(t, clientOfResponse(test.status, test.body), tokenservice.Request{URL: endpoint})
		if e.Kind != test.kind || e.StatusCode != test.status || !strings.Contains(e.Error(), test.want) {
			t.Errorf("%s: got %v (%v), want %v and %q", test.name, e, e.Kind, test.kind, test.want)
		}
		if test.kind == denied && e.Code != "" {
			t.Errorf("%s: got code %q, want none, so that the credentials are read again", test.name, e.Code)
		}
	}
}

// assertRetrieveError fails unless e is known to golang.org/x/oauth2 exactly if it has a
// code, and shows there nothing else than e itself does.
func assertRetrieveError(t *testing.T, e *tokensource.Error) {
	t.Helper()
	var r *oauth2.RetrieveError
	if found := errors.As(error(e), &r); found != (e.Code != "") {
		t.Fatalf("is an *oauth2.RetrieveError: %v, but the code is %q", found, e.Code)
	}
	if r == nil {
		return
	}
	if r.ErrorCode != e.Code || r.ErrorDescription != e.Description || r.Body != nil {
		t.Errorf("the *oauth2.RetrieveError says %q, %q and %q, the error %q and %q", r.ErrorCode, r.ErrorDescription, r.Body, e.Code, e.Description)
	}
	if r.Response.StatusCode != e.StatusCode || r.Response.Request != nil || r.Response.Header != nil {
		t.Errorf("the *oauth2.RetrieveError has the response %+v, want nothing but status %d", r.Response, e.StatusCode)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for location, shown := range map[string]string{
			"https://evil.example/a?assertion=hidden#hidden": "https://evil.example/a",
			"https://hidden:hidden@evil.example/":            "https://evil.example/",
			"/elsewhere?hidden":                              "/elsewhere",
			"":                                               "",
			"https://evil.example/%zz?hidden":                "",
			"https://evil.example/the-secret":                "https://evil.example/[redacted]",
		} {
			c := clientOfResponse(status, `{"error":"hidden"}`, "Location", location)
			e := doError(t, c, tokenservice.Request{URL: endpoint, Secrets: []string{"the-secret"}})
			if e.Kind != tokensource.Permanent || !strings.Contains(e.Error(), "redirects are not followed") || !strings.Contains(e.Error(), shown) {
				t.Errorf("%d to %q: got %v (%v), want a permanent error that names %q", status, location, e, e.Kind, shown)
			}
			if strings.Contains(e.Error(), "hidden") || strings.Contains(e.Error(), "secret") {
				t.Errorf("%d to %q: error %q shows more than it may", status, location, e)
			}
		}
	}
}

func TestTruncatedResponse(t *testing.T) {
	t.Parallel()
	c, server := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"access_token":"half`)
	})
	e := doError(t, c, tokenservice.Request{URL: server})
	if e.Kind != tokensource.Temporary || e.StatusCode != 200 || !errors.Is(e, io.ErrUnexpectedEOF) || strings.Contains(e.Error(), "half") {
		t.Errorf("got %v (%v), want a temporary ErrUnexpectedEOF with status 200 that quotes nothing", e, e.Kind)
	}
}

func TestNetworkFailuresAreTemporary(t *testing.T) {
	t.Parallel()
	c, plainServer := startServer(t, func(http.ResponseWriter, *http.Request) {})
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, u := range map[string]string{
		"nobody listens":           gone.URL + "/?q=hidden",
		"the server speaks no TLS": strings.Replace(plainServer, "http:", "https:", 1) + "?q=hidden",
	} {
		e := doError(t, c, tokenservice.Request{Op: "op", URL: u})
		if e.Kind != tokensource.Temporary || e.StatusCode != 0 || e.Err == nil || e.Op != "op" || strings.Contains(e.Error(), "hidden") {
			t.Errorf("%s: got %v (%v), want a temporary error without the query", name, e, e.Kind)
		}
	}
}

// A round tripper may quote the URL or secrets, or fail without a word.
func TestErrorsOfARoundTripper(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
		want string // the end of the text
	}{
		{"with the URL", &url.Error{Op: "Post", URL: endpoint + "?hidden", Err: errors.New("some reason")}, "some reason"},
		{"with a secret", errors.New("it was the-secret"), "it was [redacted]"},
		{"none", nil, "neither a response nor an error"},
	} {
		c := newClient(roundTripper(func(*http.Request) (*http.Response, error) { return nil, test.err }))
		e := doError(t, c, tokenservice.Request{URL: endpoint, Secrets: []string{"the-secret"}})
		if !strings.HasSuffix(e.Error(), test.want) || strings.Contains(e.Error(), "hidden") {
			t.Errorf("%s: got %q, want it to end in %q", test.name, e, test.want)
		}
		for err := error(e); err != nil; err = errors.Unwrap(err) {
			if strings.Contains(err.Error(), "the-secret") {
				t.Errorf("%s: the error wraps %q", test.name, err)
			}
		}
	}
}

// net/http quotes what it does not understand.
func TestMalformedResponseIsCleaned(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nthe-secret "+strings.Repeat("x", 1000)+"\r\n\r\n")
		_ = conn.Close()
	}()
	e := doError(t, newClient(nil), tokenservice.Request{URL: "http://" + listener.Addr().String(), Secrets: []string{"the-secret"}})
	if strings.Contains(e.Error(), "secret") || len(e.Err.Error()) > 200 || e.Kind != tokensource.Temporary {
		t.Errorf("got %v (%v), want a temporary error of at most 200 bytes without the secret", e, e.Kind)
	}
	_ = listener.Close()
	<-done
}

func TestContextThatEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		body, writer := io.Pipe()
		defer writer.Close()
		for name, base := range map[string]roundTripper{
			"before the response": func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			},
			"in the body": func(req *http.Request) (*http.Response, error) {
				context.AfterFunc(req.Context(), func() { _ = writer.CloseWithError(errors.New("body closed")) })
				return &http.Response{StatusCode: 200, Body: body}, nil
			},
		} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("stopped"))
			e := asError(t, get(ctx, newClient(base), endpoint))
			cancel()
			if !errors.Is(e, context.DeadlineExceeded) || e.Kind != tokensource.Temporary || e.URL != endpoint {
				t.Errorf("%s: got %v (%v), want a temporary DeadlineExceeded", name, e, e.Kind)
			}
		}

		reason := fmt.Errorf("enough: %w", context.Canceled)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(reason) })
		c := newClient(roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, errors.New("some reason of its own")
		}))
		if err := get(ctx, c, endpoint); !errors.Is(err, reason) {
			t.Errorf("cancelled with a cause that is a Canceled: got %v, want the cause", err)
		}
	})
}

const secret = `s3cr+t/="<&\` + "\u00e9 and more of it"

// A service may repeat what it was sent, in any form. No error shows it, nor does what
// an error wraps.
func TestErrorsShowNoSecrets(t *testing.T) {
	t.Parallel()
	form := url.Values{"client_secret": {secret}, "assertion": {userJWT}}
	asJSON := func(members map[string]string) string {
		text, _ := json.Marshal(members)
		return string(text)
	}
	for name, body := range map[string]string{
		"form":              form.Encode(),
		"RFC 6749":          asJSON(map[string]string{"error": "invalid_request " + userJWT, "error_description": secret + " " + userJWT}),
		"ErrorMessage":      asJSON(map[string]string{"ErrorMessage": form.Encode()}),
		"JSON string":       `"` + form.Encode() + `"`,
		"HTML":              "<html>" + form.Encode(),
		"Location, as well": "",
	} {
		for _, status := range []int{200, 302, 400, 500} {
			if status == 200 && strings.HasPrefix(body, "{") {
				continue // success
			}
			c := clientOfResponse(status, body, "Location", "https://evil.example/"+url.PathEscape(secret)+"/"+userJWT)
			e := doError(t, c, tokenservice.Request{URL: endpoint, Form: form, Secrets: []string{secret, userJWT}})
			for err := error(e); err != nil; err = errors.Unwrap(err) {
				assertHidden(t, fmt.Sprintf("%s, status %d", name, status), err.Error(), secret, userJWT)
			}
		}
	}
}

// assertHidden fails if text shows 8 bytes in a row of a secret.
func assertHidden(t *testing.T, what, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		for i := 0; i+8 <= len(s); i++ {
			if strings.Contains(text, s[i:i+8]) {
				t.Errorf("%s: %q shows %q", what, text, s[i:i+8])
				return
			}
		}
	}
}

// FuzzRefusal gives a body to responses that refuse a request. Only what OAuth or nginx
// says about credentials may count against them.
func FuzzRefusal(f *testing.F) {
	for _, body := range []string{
		"", "<html>", nginxPage("The SSL certificate error"), nginxPage("No required SSL certificate was sent"),
		`{"error":"invalid_client"}`, `{"error":""}`, `{"ErrorMessage":"no"}`, `"no"`, "\ufeff<html>", "<!-- -->", " \t<!DOCTYPE HTML>", userJWT,
	} {
		for _, status := range []int{400, 401, 403, 407} {
			f.Add(status, "text/html", body)
			f.Add(status, "application/json", body)
		}
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		if status < 400 || status > 499 {
			return
		}
		e := doError(t, clientOfResponse(status, body, "Content-Type", contentType), tokenservice.Request{URL: endpoint, Secrets: []string{userJWT}})
		refused := status == 401 || status == 403 || status == 407
		aboutCertificate := status == 400 && strings.Contains(body, "SSL certificate")
		switch {
		case e.Kind == tokensource.Denied && e.Code == "" && !aboutCertificate:
			t.Fatalf("status %d with %q counts against the credentials, though it has no code", status, body)
		case refused && e.Code == "" && (e.Kind != tokensource.Temporary || e.RetryAfter < 10*time.Second):
			t.Fatalf("status %d with %q: got %v (%v, RetryAfter %v), want a temporary error that is not tried again for 10s", status, body, e, e.Kind, e.RetryAfter)
		case strings.Contains(e.Error(), "proxy in between") && json.Valid([]byte(body)):
			t.Fatalf("%q is taken for HTML", body)
		}
		assertHidden(t, "the error", e.Error(), userJWT)
	})
}

func FuzzErrorBody(f *testing.F) {
	for _, body := range []string{
		`{"error":"invalid_grant","error_description":"no"}`, `{"ErrorMessage":"no"}`, `"no"`, "plain", "<html>", `{"error":{}}`,
		`[[[`, `{"error":"a","error":"b"}`, "assertion=" + userJWT, `{"error_description":"` + userJWT + `"}`, "\ufeff{}", "null", "1e999",
	} {
		f.Add(400, body)
		f.Add(200, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 599 {
			return
		}
		_, err := clientOfResponse(status, body).Do(t.Context(), tokenservice.Request{Op: "op", URL: endpoint, Secrets: []string{userJWT}})
		if err == nil {
			if status != 200 || !json.Valid([]byte(body)) {
				t.Fatalf("status %d with body %q is taken for success", status, body)
			}
			return
		}
		e := asError(t, err)
		if len(e.Code) > 200 || len(e.Description) > 200 {
			t.Fatalf("the code has %d bytes and the description %d, want at most 200", len(e.Code), len(e.Description))
		}
		assertHidden(t, "the error", e.Error(), userJWT)
		assertRetrieveError(t, e)
	})
}
