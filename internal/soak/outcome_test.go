package soak_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

const (
	tokenError  = "token error"  // a call that failed with a tokensource.Error
	tokenErrors = "token errors" // the topic that has the kinds of them
)

// checkOutcome says what has come of a call, and notes what must not.
func (s *stack) checkOutcome(ctx context.Context, c *call, resp *http.Response, err error) (kind string) {
	if err == nil {
		defer resp.Body.Close()
		return s.checkResponse(ctx, c, resp)
	}
	kind = c.failure(ctx, err)
	if kind == "" {
		s.results.violation("%s: undocumented error: %T: %s", c.who.fingerprint(), errors.Unwrap(err), s.withoutSecrets(err))
		return "undocumented error"
	}
	if e := (*tokensource.Error)(nil); kind == tokenError && errors.As(err, &e) {
		s.results.count(tokenErrors, fmt.Sprintf("%s, status %d", e.Op, e.StatusCode))
	}
	if s.showsSecret(err.Error()) {
		s.results.violation("%s: an error shows a secret (%s)", c.who.fingerprint(), kind)
	}
	return kind
}

// failure returns the documented kind of err, or "" if a call like c must not fail like
// that. These are all the errors that there may be.
func (c *call) failure(ctx context.Context, err error) string {
	var (
		fetch  *tokensource.Error
		tenant *lob.TenantError
		left   = ctx.Err() != nil && errors.Is(err, ctx.Err())
	)
	expected, kind := false, ""
	switch {
	case errors.Is(err, tokensource.ErrNoUserToken):
		expected, kind = c.invalid == blankUser, "no user token"
	case errors.Is(err, tokensource.ErrUserTokenExpired):
		expected, kind = isShortLived(c.who.user), "user token expired"
	case errors.Is(err, tokensource.ErrForgotten):
		expected, kind = c.invalid == "", "subject forgotten"
	case errors.Is(err, tokensource.ErrSubjectConflict):
		expected, kind = c.invalid == conflict || c.invalid == badTenant && c.byDefault && c.who.user != "", "subject conflict"
	case errors.As(err, &tenant):
		expected, kind = c.invalid == badTenant, "tenant error"
	case isForeignHost(err):
		expected, kind = c.foreign || c.fault != nil && c.fault.name == "redirect", "foreign host"
	case errors.As(err, &fetch):
		expected, kind = c.invalid == "", tokenError
	case left:
		expected, kind = true, "caller left"
	case c.fault != nil && c.fault.broken:
		expected, kind = true, "broken response"
	}
	if !expected {
		return ""
	}
	return kind
}

func isForeignHost(err error) bool { return errors.Is(err, transport.ErrForeignHost) }

// checkResponse is checkOutcome for a call that got a response.
func (s *stack) checkResponse(ctx context.Context, c *call, resp *http.Response) (kind string) {
	switch {
	case c.invalid != "" || c.foreign:
		s.results.violation("%s: a response to a call that had to fail (invalid: %q, foreign: %t)", c.who.fingerprint(), c.invalid, c.foreign)
		return "unexpected response"
	case resp.StatusCode == http.StatusUnauthorized:
		return s.checkUnauthorized(c, resp)
	case c.fault != nil && resp.StatusCode == c.fault.status && !c.fault.broken:
		return "fault passed on"
	case resp.StatusCode != http.StatusOK:
		s.results.violation("%s: status %d, which nobody asked for: %s", c.who.fingerprint(), resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		return "unexpected status"
	}
	data, err := io.ReadAll(resp.Body)
	var echo agwtest.Echo
	if err == nil {
		echo, err = agwtest.DecodeEcho(bytes.NewReader(data))
	}
	switch {
	case err == nil:
		return s.checkEcho(c, echo)
	case c.fault != nil && c.fault.broken:
		return "broken response"
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return "caller left"
	}
	s.results.violation("%s: a response that cannot be read: %T", c.who.fingerprint(), err)
	return "unreadable response"
}

// checkUnauthorized checks a 401: the token was revoked, or it expired on its way, since
// the checkingTransport has seen that it was good when it was asked for.
func (s *stack) checkUnauthorized(c *call, resp *http.Response) (kind string) {
	challenge := resp.Header.Get("WWW-Authenticate")
	for _, reason := range []string{"revoked", "expired"} {
		if strings.Contains(challenge, reason) {
			return "401 " + reason
		}
	}
	s.results.violation("%s: 401 for another reason than a revoked or expired token: %s", c.who.fingerprint(), challenge)
	return "401"
}

// checkEcho checks as whom, where and with what a request arrived.
func (s *stack) checkEcho(c *call, echo agwtest.Echo) (kind string) {
	want := agwtest.Caller{Client: s.srv.ClientID(), User: c.who.user, Tenant: s.rules.tenant(c.who.tenant), TokenID: echo.TokenID}
	switch {
	case echo.Caller != want:
		s.results.violation("%s: the gateway saw another caller", c.who.fingerprint())
		return "wrong identity"
	case "https://"+echo.Host != s.rules.origin(c.who.tenant), echo.Path != c.sent:
		s.results.violation("%s: the request arrived at %s%s, want %s%s", c.who.fingerprint(), echo.Host, echo.Path, s.rules.origin(c.who.tenant), c.sent)
		return "wrong place"
	case c.body != "" && echo.Body != body:
		s.results.violation("%s: the body had %d bytes when it arrived, want %d", c.who.fingerprint(), echo.BodySize, len(body))
		return "wrong body"
	}
	return "ok"
}

// showsSecret reports whether text shows a JWT, a key, or the client secret of now.
func (s *stack) showsSecret(text string) bool {
	return strings.Contains(text, "eyJ") || strings.Contains(text, "PRIVATE KEY") ||
		strings.Contains(text, s.srv.DestinationBinding()["clientsecret"])
}

// withoutSecrets returns the text of err, unless that shows a secret.
func (s *stack) withoutSecrets(err error) string {
	if s.showsSecret(err.Error()) {
		return "(a text that shows a secret)"
	}
	return fmt.Sprintf("%.300s", err)
}
