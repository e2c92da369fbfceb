package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

func TestErrorText(t *testing.T) {
	t.Parallel()
	retrieve := &oauth2.RetrieveError{Response: &http.Response{Status: "400 Bad Request", Header: http.Header{"X": {secret}}}, Body: []byte(secret)}
	tests := []struct {
		err  tokensource.Error
		want string
	}{
		{tokensource.Error{Op: "obtain token"}, "agw: obtain token"},
		{tokensource.Error{Op: "obtain token", Err: errors.New("boom")}, "agw: obtain token: boom"},
		{tokensource.Error{Op: "obtain token", Err: tokensource.ErrExpired}, "agw: obtain token: the token has expired on arrival"},
		{tokensource.Error{Op: "read destination", Err: &tokensource.Error{Op: "obtain token", StatusCode: 503}}, "agw: read destination: obtain token: status 503"},
		{
			tokensource.Error{
				Op: "exchange user token", URL: "https://ias.example/token", StatusCode: 400, Code: "invalid_grant",
				Description: "it \"is\" over", Err: retrieve, NextAttempt: time.Date(2026, 1, 2, 4, 4, 5, 6, time.FixedZone("", 3600)),
			},
			`agw: exchange user token: https://ias.example/token: status 400: invalid_grant: "it \"is\" over" (next attempt at 2026-01-02T03:04:05Z)`,
		},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("text is\n%s, want\n%s", got, tt.want)
		}
		tellsNothing(t, secret, &tt.err)
	}
	tellsNothing(t, secret, &tokensource.Error{Op: "obtain token", Err: leaky{secret}})
}

// leaky is an error whose text is harmless, but not what is in it.
type leaky struct{ secret string }

func (leaky) Error() string { return "boom" }

func TestErrorUnwraps(t *testing.T) {
	t.Parallel()
	cause := &oauth2.RetrieveError{ErrorCode: "invalid_grant"}
	var err error = fmt.Errorf("call: %w", &tokensource.Error{Op: "x", Kind: tokensource.Passing, Err: cause})
	var retrieve *oauth2.RetrieveError
	if !errors.As(err, &retrieve) || retrieve != cause || !errors.Is(err, cause) {
		t.Error("the cause is out of reach")
	}
	var temporary interface{ Temporary() bool }
	if !errors.As(err, &temporary) || !temporary.Temporary() {
		t.Error("a passing error is not temporary")
	}
	for _, kind := range []tokensource.Kind{tokensource.Permanent, tokensource.Refused} {
		if (&tokensource.Error{Kind: kind}).Temporary() {
			t.Errorf("kind %d is temporary", kind)
		}
	}
}

// A flow's error reaches the caller with all that it tells, and is not altered.
func TestErrorOfAFlow(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		cause := errors.New("refused")
		orig := &tokensource.Error{Op: "op", URL: "https://x", StatusCode: 400, Code: "c", Description: "d", Err: cause}
		h.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) { return nil, orig })
		e := h.mustFail(t.Context())
		if !orig.NextAttempt.IsZero() {
			t.Error("the flow's own error was altered")
		}
		next := e.NextAttempt
		e.NextAttempt = time.Time{}
		if *e != *orig || !errors.Is(e, cause) || !next.Equal(time.Now().Add(time.Second)) {
			t.Errorf("got %#v with the next attempt at %v", e, next)
		}
		e.NextAttempt = next
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if s, err := tokensource.New(nil, tokensource.Options{}); err == nil || s != nil {
		t.Error("a nil flow is accepted")
	}
	s, err := tokensource.New(newFake(), tokensource.Options{Settings: cache.Settings{MaxUserTokens: -1}})
	var setting *cache.SettingError
	if !errors.As(err, &setting) || setting.Field != "MaxUserTokens" || s != nil {
		t.Errorf("error is %v, want one of MaxUserTokens", err)
	}
}

func TestKindSaysItsName(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprint(tokensource.Permanent, tokensource.Passing, tokensource.Refused); got != "permanent passing refused" {
		t.Errorf("got %q", got)
	}
}
