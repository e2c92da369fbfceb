package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

func TestErrorText(t *testing.T) {
	t.Parallel()
	retrieve := &oauth2.RetrieveError{Response: &http.Response{Status: "400 Bad Request", Header: http.Header{"X": {secret}}}, Body: []byte(secret)}
	tests := []struct {
		name string
		err  tokensource.Error
		want string
	}{
		{"operation only", tokensource.Error{Op: "obtain token"}, "agw: obtain token"},
		{"cause", tokensource.Error{Op: "obtain token", Err: errors.New("boom")}, "agw: obtain token: boom"},
		{"cause of this module", tokensource.Error{Op: "obtain token", Err: tokensource.ErrExpired}, "agw: obtain token: the token has expired on arrival"},
		{
			"cause that is an Error",
			tokensource.Error{Op: "read destination", Err: &tokensource.Error{Op: "obtain token", StatusCode: 503}},
			"agw: read destination: obtain token: status 503",
		},
		{"cause with secrets in its fields", tokensource.Error{Op: "obtain token", Err: errorWithSecret{secret}}, "agw: obtain token: boom"},
		{
			"everything",
			tokensource.Error{
				Op: "exchange user token", URL: "https://ias.example/token", StatusCode: 400, Code: "invalid_grant",
				Description: "it \"is\" over", Err: retrieve, NextAttempt: time.Date(2026, 1, 2, 4, 4, 5, 6, time.FixedZone("", 3600)),
			},
			`agw: exchange user token: https://ias.example/token: status 400: invalid_grant: "it \"is\" over" (next attempt at 2026-01-02T03:04:05Z)`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got text\n%s, want\n%s", got, tt.want)
			}
			if got, want := fmt.Sprintf("%q", &tt.err), fmt.Sprintf("%q", tt.want); got != want {
				t.Errorf("printed by %%q: got %s, want %s", got, want)
			}
			assertHides(t, secret, &tt.err)
		})
	}
}

// errorWithSecret has a harmless text, but not a harmless field.
type errorWithSecret struct{ secret string }

func (errorWithSecret) Error() string { return "boom" }

func TestErrorUnwraps(t *testing.T) {
	t.Parallel()
	cause := &oauth2.RetrieveError{ErrorCode: "invalid_grant"}
	var err error = fmt.Errorf("call: %w", &tokensource.Error{Op: "x", Kind: tokensource.Temporary, Err: cause})
	var retrieve *oauth2.RetrieveError
	if !errors.As(err, &retrieve) || retrieve != cause || !errors.Is(err, cause) {
		t.Errorf("the cause of %v cannot be reached: got %v", err, retrieve)
	}
	var temporary interface{ Temporary() bool }
	if !errors.As(err, &temporary) || !temporary.Temporary() {
		t.Error("an error of kind Temporary does not report that it is temporary")
	}
	for _, kind := range []tokensource.Kind{tokensource.Permanent, tokensource.Denied} {
		if (&tokensource.Error{Kind: kind}).Temporary() {
			t.Errorf("an error of kind %v reports that it is temporary", kind)
		}
	}
}

// A flow's error reaches the caller with all that it tells, and is not altered.
func TestErrorOfAFlow(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		cause := errors.New("refused")
		original := &tokensource.Error{Op: "op", URL: "https://x", StatusCode: 400, Code: "c", Description: "d", Err: cause}
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) { return nil, original })
		got := *bed.failure(t.Context())
		if !original.NextAttempt.IsZero() {
			t.Error("the flow's own error was altered")
		}
		want := *original
		want.NextAttempt = time.Now().Add(time.Second)
		if !got.NextAttempt.Equal(want.NextAttempt) {
			t.Errorf("got the next attempt at %v, want %v", got.NextAttempt, want.NextAttempt)
		}
		want.NextAttempt = got.NextAttempt
		if got != want || !errors.Is(&got, cause) {
			t.Errorf("got %#v, want %#v", got, want)
		}
	})
}

// The fields of an Error in a chain are those of the error that callers get.
func TestWrappedErrorOfAFlow(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		denied := clientDenied
		wrapped := fmt.Errorf("service token: %w", &denied)
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) { return nil, wrapped })
		err := bed.failure(t.Context())
		if err.Kind != tokensource.Denied || err.StatusCode != 401 || err.Code != "invalid_client" || !errors.Is(err, wrapped) {
			t.Errorf("got %#v, want a denial with status 401 and code invalid_client around %v", err, wrapped)
		}
		bed.assertRequests(1, "a denial is not retried")
	})
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		flow     tokensource.Flow
		settings tokensource.Settings
		field    string
	}{
		{"nil flow", nil, tokensource.Settings{}, "flow"},
		{"setting out of range", newFlow(), tokensource.Settings{MaxUserTokens: -1}, "Settings.MaxUserTokens"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source, err := tokensource.New(tt.flow, tokensource.Options{Settings: tt.settings})
			var config *tokensource.ConfigError
			if !errors.As(err, &config) || config.Field != tt.field || source != nil {
				t.Errorf("got source %v and error %v, want a ConfigError about %s", source, err, tt.field)
			}
		})
	}
}

func TestConfigErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("boom")
	tests := []struct {
		name string
		err  tokensource.ConfigError
		want string
	}{
		{"source and field", tokensource.ConfigError{Source: "/etc/credentials.json", Field: "clientid", Err: cause}, "agw: /etc/credentials.json: clientid: boom"},
		{"source only", tokensource.ConfigError{Source: "environment", Err: cause}, "agw: environment: boom"},
		{"field only", tokensource.ConfigError{Field: "clientid", Err: cause}, "agw: clientid: boom"},
		{"neither", tokensource.ConfigError{Err: cause}, "agw: boom"},
		{"cause of this module", tokensource.ConfigError{Field: "tokenURL", Err: tokensource.ErrInsecureURL}, "agw: tokenURL: plain http to another machine"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%s: got text %q, want %q", tt.name, got, tt.want)
		}
		if !errors.Is(&tt.err, tt.err.Err) {
			t.Errorf("%s: the cause cannot be reached", tt.name)
		}
	}
}

func TestKindPrintsItsName(t *testing.T) {
	t.Parallel()
	for kind, want := range map[tokensource.Kind]string{
		tokensource.Permanent: "permanent", tokensource.Temporary: "temporary", tokensource.Denied: "denied",
	} {
		if got := fmt.Sprint(kind); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var zero tokensource.Kind
	if zero != tokensource.Permanent {
		t.Errorf("the zero Kind is %v, want permanent", zero)
	}
}
