package tokensource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

var (
	// ErrNoUserToken: the user's token is blank, or there is none and RequireUser is set.
	ErrNoUserToken = errors.New("agw: no user token")
	// ErrBadUserToken: what was given as a user's token cannot be one. Nothing was sent.
	ErrBadUserToken = errors.New("agw: not a user token")
	// ErrForgotten: the subject was forgotten while the call waited for its token. See
	// [Source.Forget].
	ErrForgotten = errors.New("agw: the subject was forgotten while the call waited for its token")
	// ErrNoSubject: a client acts by default for the zero [Subject], and the context of
	// the call does not say for whom to act instead.
	ErrNoSubject = errors.New("agw: nobody to act for: the client's subject is the zero Subject, use SystemSubject or UserSubject")
	// ErrSubjectConflict: the context names another tenant than that of the user for whom
	// the client acts by default.
	ErrSubjectConflict = errors.New("agw: the tenant in the context is not that of the client's default user")
	// ErrNoSubjects: the context names a user or a tenant, but the token source takes no
	// context. See [Fixed].
	ErrNoSubjects = errors.New("agw: the token source cannot act for the user or the tenant of a context")
	// ErrInsecureURL: a secret would travel over plain http to another machine.
	ErrInsecureURL = errors.New("agw: plain http to another machine")
	// ErrUserTokenExpired: the user's own token has expired, by this machine's clock.
	// Nothing was sent.
	ErrUserTokenExpired = errors.New("agw: the user's token has expired")
	// ErrExpired: a token had expired when it arrived, or the user's token that it was
	// exchanged for had. If neither is true, the clock of this machine is wrong.
	ErrExpired = errors.New("agw: the token has expired on arrival")
)

var errNeedsUser = fmt.Errorf("%w: the call names no user, and RequireUser is set", ErrNoUserToken)

// faults are the errors of calls for a user whose token cannot be one.
var faults = [...]error{
	noFault: nil,
	blank:   fmt.Errorf("%w: the one given is blank", ErrNoUserToken),
	tooLong: fmt.Errorf("%w: it is longer than 16 KiB", ErrBadUserToken),
}

var (
	errOtherScheme = fmt.Errorf("%w: there is white space in it; a header of another scheme than Bearer?", ErrBadUserToken)
	errNotAToken   = fmt.Errorf("%w: it has a character that no bearer token has", ErrBadUserToken)
)

// A Kind says how to go on after an [Error].
type Kind uint8

const (
	// Permanent: the same request will fail again, because of a wrong configuration or
	// something that does not exist. The zero Kind.
	Permanent Kind = iota
	// Temporary: the same request may succeed later: the network, a timeout, 429, 5xx, a
	// 401 or 403 without an error code, which may be a proxy's, a response that makes no
	// sense.
	Temporary
	// Denied: the service refuses the user (the Code is invalid_grant or access_denied) or
	// the credentials (any other Code). If the user is denied, the cached token is dropped.
	// If the credentials are, tokens already obtained are served until they expire.
	Denied
)

// String returns "permanent", "temporary" or "denied".
func (k Kind) String() string {
	switch k {
	case Temporary:
		return "temporary"
	case Denied:
		return "denied"
	default:
		return "permanent"
	}
}

// An Error is a request to a token service that failed. Its text holds no secret:
// neither of what was sent nor of what came back.
type Error struct {
	Op          string        // what was attempted, such as "exchange user token"
	URL         string        // where, without query and user info; "" if nothing was sent
	StatusCode  int           // HTTP status; 0 if there was no response
	Code        string        // error code (RFC 6749, section 5.2); "" if there was none
	Description string        // the service's own words, cleaned and at most 200 bytes
	Kind        Kind          // how to go on
	RetryAfter  time.Duration // what the service asked for (RFC 9110, section 10.2.3), or a proxy's page is worth; 0 for neither

	// NextAttempt is when the Source will ask the service again. Until then it returns
	// this error. It is zero in an error that no Source has seen yet.
	NextAttempt time.Time

	// Err is the cause, or nil. For a response of RFC 6749, section 5.2, it is an
	// *oauth2.RetrieveError.
	Err error
}

// Error says what failed, where and why, and when the next attempt is due.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(prefix + e.Op)
	if e.URL != "" {
		b.WriteString(": " + e.URL)
	}
	if e.StatusCode != 0 {
		b.WriteString(": status " + strconv.Itoa(e.StatusCode))
	}
	if e.Code != "" {
		b.WriteString(": " + e.Code)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %q", e.Description)
	}
	if _, repeats := e.Err.(*oauth2.RetrieveError); e.Err != nil && !repeats {
		b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), prefix))
	}
	if !e.NextAttempt.IsZero() {
		b.WriteString(" (next attempt at " + e.NextAttempt.UTC().Format(time.RFC3339) + ")")
	}
	return b.String()
}

// Format prints the text, quoted by %q, whatever the verb: the fields of the cause may
// hold more than its text.
func (e *Error) Format(f fmt.State, verb rune) {
	text := e.Error()
	if verb == 'q' {
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(f, text)
}

// MarshalText returns the text.
func (e *Error) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether a later attempt may succeed.
func (e *Error) Temporary() bool { return e.Kind == Temporary }

// A ConfigError says which part of a configuration cannot be used, and why. Its text
// holds no secret.
type ConfigError struct {
	Source string // a file or directory, "environment", or "" for a value in Go code
	Field  string // the field, key or variable as it is written there; "" if it is not one of them
	Err    error  // what is wrong
}

// Error returns the source, the field and what is wrong.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, part := range []string{e.Source, e.Field} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(strings.TrimPrefix(e.Err.Error(), prefix))
	return b.String()
}

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// prefix begins the text of every error of this module.
const prefix = "agw: "

// prefixed wraps err, unless it has the prefix already.
func prefixed(err error) error {
	if strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	return fmt.Errorf(prefix+"%w", err)
}

// asError returns err as an *Error of its own that may be altered. An error of another
// type counts as temporary.
func asError(err error) *Error {
	if e, ok := err.(*Error); ok {
		c := *e
		return &c
	}
	c := &Error{Op: "fetch token", Kind: Temporary, Err: err}
	var e *Error
	if errors.As(err, &e) {
		c.Kind, c.StatusCode, c.Code, c.RetryAfter, c.NextAttempt = e.Kind, e.StatusCode, e.Code, e.RetryAfter, e.NextAttempt
	}
	return c
}

// userDenied reports whether the service has denied the user, and not the client.
func userDenied(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Denied && (e.Code == "invalid_grant" || e.Code == "access_denied")
}

// credentialsRefused reports whether the service has denied the client, and not the user.
func credentialsRefused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Denied && !userDenied(err)
}

// leftEarly is the error of a caller whose context has ended.
func leftEarly(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return fmt.Errorf("agw: no token yet: %w", err)
	}
	return fmt.Errorf("agw: no token yet: %w: %w", err, cause)
}
