package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

var (
	errTooLarge = errors.New("the answer is larger than 1 MiB")
	errNotJSON  = errors.New("the answer is not a JSON object or array")
)

// unsent returns the error of a request that was never sent because of err.
func unsent(op string, err error) error {
	e := &tokensource.Error{Op: op, Kind: tokensource.Passing, Err: err}
	if paused := (*pausedError)(nil); errors.As(err, &paused) {
		e.RetryAfter = paused.left
	}
	return e
}

// A failure makes the error of a request that was sent.
type failure struct {
	report   tokensource.Error // what is known in advance
	secrets  *redactor
	presents bool // whether there may have been a client certificate
}

// fromError returns the error of a request that got no answer, or only the
// beginning of one, with the given status.
func (f failure) fromError(ctx context.Context, status int, err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) { // it shows the query
		err = wrapped.Err
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = ended(ctx)
	}
	e := f.report
	e.StatusCode = status
	e.Kind, err = explain(err, f.presents)
	e.Err = f.presentable(err)
	return &e
}

// ended returns why ctx ended: its cause if that is as good as its error.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, ctx.Err()) {
		return cause
	}
	return ctx.Err()
}

// presentable returns err if its text can be shown as it is, and otherwise an
// error with the text that can be shown, out of reach of the original: net/http
// quotes malformed answers.
func (f failure) presentable(err error) error {
	text := f.secrets.clean(err.Error())
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// fromAnswer returns the error of an answer that is no success.
func (f failure) fromAnswer(a answer) error {
	e := f.report
	e.StatusCode = a.status
	code, description := describe(a.body)
	e.Kind = kindOf(a.status, code)
	if e.Kind == tokensource.Passing {
		e.RetryAfter = a.retryAfter()
	}
	switch {
	case a.status == http.StatusOK:
		e.Err = errNotJSON
	case a.status/100 == 3:
		e.Err = f.redirect(a.header.Get("Location"))
	case a.status < 400:
		e.Err = errors.New("only status 200 is success")
	default:
		e.Code, e.Description = f.secrets.clean(code), f.secrets.clean(description)
		e.Err = retrieveError(&e)
	}
	return &e
}

// redirect returns the error of a redirect to location, whose query is not shown.
func (f failure) redirect(location string) error {
	to, err := url.Parse(location)
	if err != nil || location == "" {
		return errors.New("redirects are not followed")
	}
	return fmt.Errorf("redirects are not followed (to %s)", f.secrets.clean(display(to)))
}

// retrieveError returns e as golang.org/x/oauth2 knows it; nil if the answer was
// not one of RFC 6749, section 5.2.
func retrieveError(e *tokensource.Error) error {
	if e.Code == "" {
		return nil
	}
	return &oauth2.RetrieveError{
		Response: &http.Response{
			StatusCode: e.StatusCode,
			Status:     strconv.Itoa(e.StatusCode) + " " + http.StatusText(e.StatusCode),
		},
		ErrorCode:        e.Code,
		ErrorDescription: e.Description,
	}
}

// describe returns what the body of an error answer says: error and
// error_description (RFC 6749, section 5.2), the ErrorMessage of the Destination
// Service, or plain text. Other JSON and HTML say nothing.
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
	if text := stringOf(body); text != "" {
		return "", text
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members) // if it is no object, there are no members
	if code = stringOf(members["error"]); code != "" {
		return code, stringOf(members["error_description"])
	}
	return "", stringOf(members["ErrorMessage"])
}

// stringOf returns a JSON string; "" if raw is none.
func stringOf(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s)
	return s
}

// kindOf says how to go on after an answer that is no success.
func kindOf(status int, code string) tokensource.Kind {
	switch {
	case status < 300, status >= 500: // one that makes no sense, or the server's own fault
		return tokensource.Passing
	case status < 400:
		return tokensource.Permanent
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return tokensource.Passing
	case http.StatusUnauthorized, http.StatusForbidden:
		return tokensource.Refused
	}
	switch code { // RFC 6749, sections 4.1.2.1 and 5.2
	case "invalid_grant", "invalid_client", "unauthorized_client", "access_denied":
		return tokensource.Refused
	case "temporarily_unavailable", "server_error":
		return tokensource.Passing
	}
	return tokensource.Permanent
}
