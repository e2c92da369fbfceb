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
)

// A FixedSource is a [GrantSource] over any [oauth2.TokenSource] and one gateway.
// Made by [Fixed]; safe for concurrent use if the source beneath is.
type FixedSource struct {
	src     oauth2.TokenSource
	gateway *url.URL
	last    atomic.Pointer[Grant]
}

// Fixed returns a source of the tokens of ts, all of them for the gateway at
// gatewayURL. It caches nothing: see [oauth2.ReuseTokenSource] for that. If ts is a
// [ContextTokenSource], it is given the context of each call. If not, a call waits for
// it as long as it takes, and one whose context names a user or a tenant fails with
// [ErrNoSubjects]: the tokens could be of anybody else. That holds for a [Source] in a
// wrapper, such as [oauth2.ReuseTokenSource], too.
func Fixed(ts oauth2.TokenSource, gatewayURL string) (*FixedSource, error) {
	if ts == nil {
		return nil, errors.New("agw: the token source is nil")
	}
	gateway, err := ParseGatewayURL(gatewayURL)
	if err != nil {
		return nil, prefixed(err)
	}
	return &FixedSource{src: ts, gateway: gateway}, nil
}

// Grant returns the current token of the source beneath. A token that has expired,
// or that is not of type Bearer, is an error, and so is a blank user token in ctx.
func (f *FixedSource) Grant(ctx context.Context) (*Grant, error) {
	if r := fromContext(ctx); r != nil && r.blank() {
		return nil, ErrNoUserToken
	}
	if _, ok := f.src.(ContextTokenSource); !ok && namesSubject(ctx) {
		return nil, ErrNoSubjects
	}
	t, err := f.token(ctx)
	switch {
	case err != nil:
		return nil, prefixed(err)
	case t == nil:
		return nil, errors.New("agw: the token source returned neither a token nor an error")
	case !strings.EqualFold(t.Type(), "bearer"):
		return nil, errors.New("agw: the token is not of type Bearer")
	case !t.Expiry.IsZero() && !time.Now().Before(t.Expiry):
		return nil, fmt.Errorf("%w: it ended at %s", ErrExpired, t.Expiry.UTC().Format(time.RFC3339))
	}
	return f.grantOf(t)
}

// namesSubject reports whether ctx asks to act for somebody in particular.
func namesSubject(ctx context.Context) bool {
	r := fromContext(ctx)
	return r != nil && (r.user != "" || r.tenant != "")
}

func (f *FixedSource) token(ctx context.Context) (*oauth2.Token, error) {
	if c, ok := f.src.(ContextTokenSource); ok {
		return c.TokenContext(ctx)
	}
	return f.src.Token()
}

// grantOf returns the grant of t, the same one as long as the token is the same.
func (f *FixedSource) grantOf(t *oauth2.Token) (*Grant, error) {
	if g := f.last.Load(); g != nil && g.token.AccessToken == t.AccessToken && g.token.Expiry.Equal(t.Expiry) {
		return g, nil
	}
	g, err := NewGrant(t.AccessToken, t.Expiry, f.gateway)
	if err != nil {
		return nil, prefixed(err)
	}
	f.last.Store(g)
	return g, nil
}

// Gateway returns the gateway.
func (f *FixedSource) Gateway(context.Context) (*url.URL, bool) { return f.gateway, true }

// Invalidate does nothing: a foreign source cannot be told. If it has another token
// by then, a refused request is tried again with that one.
func (f *FixedSource) Invalidate(*Grant) bool { return false }

// Format prints the gateway, whatever the verb.
func (f *FixedSource) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "fixed{gateway:%s}", f.gateway)
}

var _ GrantSource = (*FixedSource)(nil)
