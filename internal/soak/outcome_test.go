package soak_test

import (
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
	tokenErrors = "token errors" // the topic under which they are told apart
)

// judge says what has become of a call, and notes what must not be.
func (s *stack) judge(ctx context.Context, c *call, resp *http.Response, err error) string {
	if err == nil {
		defer resp.Body.Close()
		return s.judgeAnswer(ctx, c, resp)
	}
	kind := c.failure(ctx, err)
	if kind == "" {
		s.ledger.violate("%s: undocumented error: %T: %s", c.who.fingerprint(), errors.Unwrap(err), s.cleaned(err))
		return "undocumented error"
	}
	if e := (*tokensource.Error)(nil); kind == tokenError && errors.As(err, &e) {
		s.ledger.count(tokenErrors, fmt.Sprintf("%s, status %d", e.Op, e.StatusCode))
	}
	if s.secretIn(err.Error()) {
		s.ledger.violate("%s: a secret in an error (%s)", c.who.fingerprint(), kind)
	}
	return kind
}

// failure returns the documented kind of err, "" if a call like c must not fail so.
// This is the list of all errors that there may be.
func (c *call) failure(ctx context.Context, err error) string {
	var (
		fetch  *tokensource.Error
		tenant *lob.TenantError
		left   = ctx.Err() != nil && errors.Is(err, ctx.Err())
	)
	switch {
	case errors.Is(err, tokensource.ErrNoUserToken):
		return only(c.invalid == "blank user", "no user token")
	case errors.Is(err, tokensource.ErrUserTokenExpired):
		return only(isBrief(c.who.user), "user token expired")
	case errors.Is(err, tokensource.ErrSubjectConflict):
		return only(c.invalid == "conflict" || c.invalid == "bad tenant" && c.def && c.who.jwt != "", "subject conflict")
	case errors.As(err, &tenant):
		return only(c.invalid == "bad tenant", "tenant error")
	case errors.Is(err, transport.ErrForeignHost):
		return only(c.foreign || c.fault != nil && c.fault.name == "redirect", "foreign host")
	case errors.As(err, &fetch):
		return only(c.invalid == "", tokenError)
	case left:
		return "caller left"
	case c.fault != nil && c.fault.broken:
		return "broken answer"
	default:
		return ""
	}
}

func only(expected bool, kind string) string {
	if expected {
		return kind
	}
	return ""
}

func isForeignHost(err error) bool { return errors.Is(err, transport.ErrForeignHost) }

// judgeAnswer is judge for a call that got an answer.
func (s *stack) judgeAnswer(ctx context.Context, c *call, resp *http.Response) string {
	switch {
	case c.invalid != "" || c.foreign:
		s.ledger.violate("%s: an answer to a call that had to fail (%s, foreign %t)", c.who.fingerprint(), c.invalid, c.foreign)
		return "wrongly answered"
	case resp.StatusCode == http.StatusUnauthorized:
		return s.judgeRefusal(c, resp)
	case c.fault != nil && resp.StatusCode == c.fault.status && !c.fault.broken:
		return "fault passed on"
	case resp.StatusCode != http.StatusOK:
		s.ledger.violate("%s: status %d that nobody asked for: %s", c.who.fingerprint(), resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		return "odd status"
	}
	return s.judgeEcho(ctx, c, resp)
}

// judgeRefusal is judge for a 401: the token was revoked, or it expired on its way,
// for the wiretap has seen that it was good when it was asked for.
func (s *stack) judgeRefusal(c *call, resp *http.Response) string {
	challenge := resp.Header.Get("WWW-Authenticate")
	for _, reason := range []string{"revoked", "expired"} {
		if strings.Contains(challenge, reason) {
			return "401 " + reason
		}
	}
	s.ledger.violate("%s: refused: %s", c.who.fingerprint(), challenge)
	return "401"
}

// judgeEcho checks whom the gateway took the caller for.
func (s *stack) judgeEcho(ctx context.Context, c *call, resp *http.Response) string {
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		var echo agwtest.Echo
		if echo, err = agwtest.DecodeEcho(strings.NewReader(string(body))); err == nil {
			return s.judgeIdentity(c, echo)
		}
	}
	switch {
	case c.fault != nil && c.fault.broken:
		return "broken answer"
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return "caller left"
	}
	s.ledger.violate("%s: an answer that cannot be read: %T", c.who.fingerprint(), err)
	return "unreadable"
}

func (s *stack) judgeIdentity(c *call, echo agwtest.Echo) string {
	want := agwtest.Caller{Client: s.srv.ClientID(), User: c.who.user, Tenant: s.rules.tenant(c.who.tenant), TokenID: echo.TokenID}
	switch {
	case echo.Caller != want:
		s.ledger.violate("%s: the gateway saw somebody else", c.who.fingerprint())
		return "wrong identity"
	case "https://"+echo.Host != s.rules.origin(c.who.tenant), echo.Path != path:
		s.ledger.violate("%s: the request came out at %s%s", c.who.fingerprint(), echo.Host, echo.Path)
		return "wrong place"
	case c.body != "" && echo.Body != "some words":
		s.ledger.violate("%s: the body had %d bytes when it arrived", c.who.fingerprint(), echo.BodySize)
		return "wrong body"
	}
	return "ok"
}

// secretIn reports whether text holds a JWT, a key, or the client secret of now.
func (s *stack) secretIn(text string) bool {
	return strings.Contains(text, "eyJ") || strings.Contains(text, "PRIVATE KEY") ||
		strings.Contains(text, s.srv.DestinationBinding()["clientsecret"])
}

// cleaned returns the text of err, unless there is a secret in it.
func (s *stack) cleaned(err error) string {
	if s.secretIn(err.Error()) {
		return "(a text with a secret in it)"
	}
	return fmt.Sprintf("%.300s", err)
}
