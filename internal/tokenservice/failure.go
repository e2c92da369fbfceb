package tokenservice

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/internal/connect"
	"github.com/agwgo/agw/internal/jsonobject"
	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/internal/redact"
	"github.com/agwgo/agw/tokensource"
)

var (
	errTooLarge = errors.New("the response is larger than 1 MiB")
	errNotJSON  = errors.New("the response is not a JSON object or array")
	errHTML     = errors.New("the response is HTML, not JSON: is a proxy in between?")

	errUnexplained = errors.New("the response does not say why")
)

// What is said before an error that does not say it itself.
const (
	hintNoCertificate = "no client certificate was presented, and the server requires one"
	hintRefused       = "the server refused the client certificate"
	hintMayRefuse     = "the server asked for a client certificate and closed the connection: it may have refused the client certificate"
	hintMayRequire    = "the server asked for a client certificate and closed the connection: it may require one, and none was presented"
	hintInvalid       = "the server's certificate is not trusted"
	hintUntrusted     = hintInvalid + " (add its authority to RootCAs or, without these, to the file that SSL_CERT_FILE names)"
)

// retryUnexplained is when a request may be sent again, at the earliest, that was refused
// without a reason. It is too long for another attempt within the same fetch.
const retryUnexplained = 10 * time.Second

// unsent returns the error of a request that was not sent because of err.
func unsent(op string, err error) error {
	e := &tokensource.Error{Op: op, Kind: tokensource.Temporary, Err: err}
	var paused *pace.PausedError
	if errors.As(err, &paused) {
		e.RetryAfter = paused.Left
	}
	return e
}

// A failure makes the error of a request that was sent.
type failure struct {
	op, url  string
	secrets  *redact.Redactor
	presents bool // whether a client certificate may have been presented
}

// ofExchange returns the error of a request that got no response, or only the beginning
// of one.
func (f failure) ofExchange(r response) error {
	err, hint := r.err, r.hint
	var wrapped *url.Error
	if errors.As(err, &wrapped) { // it shows the query
		err = wrapped.Err
	}
	e := &tokensource.Error{Op: f.op, URL: f.url, StatusCode: r.status, Kind: tokensource.Temporary}
	alert, received := connect.RefusedCertificate(err)
	switch {
	case received != nil && (alert == connect.CertificateRequired || !f.presents):
		e.Kind, err, hint = tokensource.Denied, received, hintNoCertificate
	case received != nil:
		e.Kind, err, hint = tokensource.Denied, received, hintRefused
	case connect.Untrusted(err): // it takes another configuration, here or there
		e.Kind, hint = tokensource.Permanent, hintUntrusted
		if errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError)) {
			hint = hintInvalid
		}
	}
	// net/http quotes a malformed response. If its text has to be cleaned, the original is
	// not wrapped either.
	if text := f.secrets.Clean(err.Error()); text != err.Error() {
		err = errors.New(text)
	}
	if hint != "" {
		err = fmt.Errorf("%s: %w", hint, err)
	}
	e.Err = err
	return e
}

// ofResponse returns the error of a response that is not success.
func (f failure) ofResponse(r response) error {
	code, description := describe(r.body)
	e := &tokensource.Error{Op: f.op, URL: f.url, StatusCode: r.status, Kind: kindOf(r.status, code)}
	if e.Kind == tokensource.Temporary {
		e.RetryAfter = r.retryAfter()
	}
	switch {
	case r.status == http.StatusOK:
		e.Err = errNotJSON
	case r.status/100 == 3:
		e.Err = f.redirect(r.header.Get("Location"))
	case r.status < 400:
		e.Err = errors.New("only status 200 is success")
	default:
		e.Code, e.Description = f.secrets.Clean(code), f.secrets.Clean(description)
		if e.Code != "" {
			e.Err = retrieveError(e)
		}
	}
	unexplained := saysNothing(r.status, code)
	switch {
	case e.Code == "" && r.status/100 != 3 && r.isHTML():
		e.Err = errHTML
		if hint := r.refusal(); hint != "" {
			e.Kind, e.Err = tokensource.Denied, errors.New(hint)
		}
	case unexplained && e.Description == "":
		e.Err = errUnexplained
	}
	if unexplained {
		e.RetryAfter = max(e.RetryAfter, retryUnexplained)
	}
	return e
}

// isHTML reports whether the response is a page for people.
func (r *response) isHTML() bool {
	if len(bytes.TrimSpace(r.body)) == 0 || json.Valid(r.body) {
		return false
	}
	declared := strings.HasPrefix(strings.ToLower(r.header.Get("Content-Type")), "text/html")
	return declared || strings.HasPrefix(http.DetectContentType(r.body), "text/html")
}

// refusal says what a page of nginx means that has ended the TLS connection and got no
// client certificate, or one that it does not accept; "" for any other page.
func (r *response) refusal() string {
	switch {
	case r.status != http.StatusBadRequest:
		return ""
	case bytes.Contains(r.body, []byte("No required SSL certificate was sent")):
		return hintNoCertificate
	case bytes.Contains(r.body, []byte("The SSL certificate error")):
		return hintRefused
	default:
		return ""
	}
}

// redirect returns the error of a redirect. It shows where to, without the query.
func (f failure) redirect(location string) error {
	to, err := url.Parse(location)
	if err != nil || location == "" {
		return errors.New("redirects are not followed")
	}
	return fmt.Errorf("redirects are not followed (to %s)", f.secrets.Clean(DisplayURL(to)))
}

// retrieveError returns e, which has a code, as golang.org/x/oauth2 knows such errors.
func retrieveError(e *tokensource.Error) *oauth2.RetrieveError {
	return &oauth2.RetrieveError{
		Response: &http.Response{
			StatusCode: e.StatusCode,
			Status:     strconv.Itoa(e.StatusCode) + " " + http.StatusText(e.StatusCode),
		},
		ErrorCode:        e.Code,
		ErrorDescription: e.Description,
	}
}

// describe returns what the body of an error response says: error and error_description
// (RFC 6749, section 5.2), the ErrorMessage of the Destination Service, or plain text.
// HTML and any other JSON say nothing.
func describe(body []byte) (code, description string) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] == '<' {
		return "", ""
	}
	if !json.Valid(body) {
		if body[0] == '{' || body[0] == '[' { // JSON that was cut off
			return "", ""
		}
		return "", string(body)
	}
	var text string
	if json.Unmarshal(body, &text) == nil {
		return "", text
	}
	members, _ := jsonobject.Parse(bytes.ToValidUTF8(body, []byte("\ufffd"))) // no members if it is not an object
	if code = members.Text("error"); code != "" {
		return code, members.Text("error_description")
	}
	return "", members.Text("ErrorMessage")
}

// saysNothing reports whether a response refuses the request without a code. A proxy in
// between can do so, so it says nothing about the credentials and the user.
func saysNothing(status int, code string) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return code == ""
	default:
		return false
	}
}

// kindOf says how to go on after a response that is not success.
func kindOf(status int, code string) tokensource.Kind {
	switch {
	case status < 300, status >= 500: // it makes no sense, or is the server's own fault
		return tokensource.Temporary
	case status < 400:
		return tokensource.Permanent
	case saysNothing(status, code):
		return tokensource.Temporary
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return tokensource.Temporary
	case http.StatusUnauthorized, http.StatusForbidden:
		return tokensource.Denied
	}
	switch code { // RFC 6749, sections 4.1.2.1 and 5.2
	case "invalid_grant", "invalid_client", "unauthorized_client", "access_denied":
		return tokensource.Denied
	case "temporarily_unavailable", "server_error":
		return tokensource.Temporary
	}
	return tokensource.Permanent
}
