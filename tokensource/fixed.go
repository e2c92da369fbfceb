package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
)

// A FixedSource hands out the tokens of any [oauth2.TokenSource], all of them for one
// gateway. It is made by [Fixed], and safe for concurrent use if the source beneath is.
type FixedSource struct {
	src     oauth2.TokenSource
	gateway *url.URL
	now     func() cache.Instant
	last    atomic.Pointer[Token]
}

// Fixed returns a source of the tokens of ts, all of them for the gateway at gatewayURL.
// It caches nothing: see [oauth2.ReuseTokenSource] for that. If ts is a
// [ContextTokenSource], it is given the context of each call. If not, a call waits for it
// as long as it takes, and a call whose context names a user or a tenant fails with
// [ErrNoSubjects], because the tokens could be those of anybody else. That holds for a
// [Source] in a wrapper, such as [oauth2.ReuseTokenSource], too.
func Fixed(ts oauth2.TokenSource, gatewayURL string) (*FixedSource, error) {
	if ts == nil {
		return nil, &ConfigError{Field: "ts", Err: errors.New("nil")}
	}
	gateway, err := ParseGatewayURL(gatewayURL)
	if err != nil {
		return nil, &ConfigError{Field: "gatewayURL", Err: err}
	}
	return &FixedSource{src: ts, gateway: gateway, now: cache.Now}, nil
}

// AccessToken returns the current token of the source beneath. A token that has expired,
// or that is not of type Bearer, is an error, and so is a blank user token in ctx.
func (f *FixedSource) AccessToken(ctx context.Context) (*Token, error) {
	src, takesContext := f.src.(ContextTokenSource)
	if s, named := SubjectFromContext(ctx); named {
		if err := s.Err(); s.actor == user && err != nil {
			return nil, err
		}
		if !takesContext && (s.actor == user || s.tenant != "") {
			return nil, ErrNoSubjects
		}
	}
	var t *oauth2.Token
	var err error
	if takesContext {
		t, err = src.TokenContext(ctx)
	} else {
		t, err = f.src.Token()
	}
	switch {
	case err != nil:
		return nil, prefixed(err)
	case t == nil:
		return nil, errors.New("agw: the token source returned neither a token nor an error")
	case !strings.EqualFold(t.Type(), "bearer"):
		return nil, errors.New("agw: the token is not of type Bearer")
	}
	now, token := f.now(), f.last.Load()
	if token == nil || token.AccessToken() != t.AccessToken || !token.Expiry().Equal(t.Expiry) {
		if token, err = newTokenUntil(t.AccessToken, t.Expiry, f.gateway, now); err != nil {
			return nil, prefixed(err)
		}
		f.last.Store(token) // the same Token for the same token
	}
	if end := token.life.expiry; !end.IsZero() && !now.Before(end) {
		return nil, fmt.Errorf("%w: it ended at %s", ErrExpired, end.Time().Format(time.RFC3339))
	}
	return token, nil
}

// Gateway returns the gateway, which is final: that of all tokens.
func (f *FixedSource) Gateway(context.Context) (gateway *url.URL, final bool) { return f.gateway, true }

// Invalidate does nothing and returns false: a foreign source cannot be told. If it has
// another token when a rejected request is tried again, that one is used.
func (f *FixedSource) Invalidate(*Token) bool { return false }

// Format prints the gateway, whatever the verb.
func (f *FixedSource) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "fixed{gateway:%s}", f.gateway)
}
