package tokensource

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

var (
	// ErrNoCredentials: no credentials were found where they were looked for.
	ErrNoCredentials = errors.New("agw: no credentials found")
	// ErrNoUserToken: a user's token is blank, or it is missing and required.
	ErrNoUserToken = errors.New("agw: no user token: the one given is blank, or RequireUser is set and none was given")
	// ErrSubjectConflict: the context names another tenant than that of the user whom
	// the client acts for by default.
	ErrSubjectConflict = errors.New("agw: the tenant in the context is not that of the client's default user")
	// ErrNoSubjects: the context names a user or a tenant, but the token source takes no
	// context. See [Fixed].
	ErrNoSubjects = errors.New("agw: the token source cannot act for the user or the tenant of a context")
	// ErrInsecureURL: a secret would travel over plain http to another machine.
	ErrInsecureURL = errors.New("agw: plain http to another machine")
	// ErrUserTokenExpired: the user's own token has expired, by this machine's clock.
	// Nothing was sent.
	ErrUserTokenExpired = errors.New("agw: the user's token has expired")
	// ErrExpired: when a token arrived, it had expired, or the user's token that it was
	// exchanged for had. If neither is true, the clock of this machine is wrong.
	ErrExpired = errors.New("agw: the token has expired on arrival")
)

// A Kind says how to go on after an [Error].
type Kind uint8

const (
	// Permanent: the same request will fail again: a wrong configuration, something
	// that is not there. The zero Kind.
	Permanent Kind = iota
	// Passing: the same request may succeed later: the network, a timeout, 429, 5xx,
	// an answer that makes no sense.
	Passing
	// Refused: the service refuses the credentials or the user for good. A token that
	// is cached for them is no longer served.
	Refused
)

// String returns "permanent", "passing" or "refused".
func (k Kind) String() string {
	switch k {
	case Passing:
		return "passing"
	case Refused:
		return "refused"
	default:
		return "permanent"
	}
}

// An Error is a request to a token service that failed. Its text holds no secret:
// neither what was sent nor a token that came back.
type Error struct {
	Op          string        // what was attempted, such as "exchange user token"
	URL         string        // where, without query and user info; "" if nothing was sent
	StatusCode  int           // HTTP status; 0 if there was no answer
	Code        string        // error code (RFC 6749, section 5.2); "" if there was none
	Description string        // the service's own words, cleaned and at most 200 bytes
	Kind        Kind          // how to go on
	RetryAfter  time.Duration // what the service asked for (RFC 9110, section 10.2.3); 0 if it did not
	NextAttempt time.Time     // when the next attempt is due; zero for an error that no Source has seen yet

	// Err is the cause, or nil. For an answer of RFC 6749 it is an
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
	if e.Err != nil && !isRetrieveError(e.Err) { // which would say the same again
		b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), prefix))
	}
	if !e.NextAttempt.IsZero() {
		b.WriteString(" (next attempt at " + e.NextAttempt.UTC().Format(time.RFC3339) + ")")
	}
	return b.String()
}

// Format prints the text, quoted by %q, whatever the verb: the cause may hold more
// than its text tells.
func (e *Error) Format(f fmt.State, verb rune) {
	text := e.Error()
	if verb == 'q' {
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(f, text)
}

// MarshalText returns the text, for the same reason.
func (e *Error) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// prefix begins the text of every error of this module.
const prefix = "agw: "

// prefixed wraps err, unless it has the prefix already.
func prefixed(err error) error {
	if strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	return fmt.Errorf(prefix+"%w", err)
}

func isRetrieveError(err error) bool {
	_, ok := err.(*oauth2.RetrieveError)
	return ok
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether a later attempt may succeed.
func (e *Error) Temporary() bool { return e.Kind == Passing }
