package tokensource

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/header"
)

// A Token is an access token and the gateway that it is for. Both come from the same
// response and never part. A Token is immutable, and shared by everybody who acts for
// its subject.
//
// It prints and marshals without the access token.
type Token struct {
	authorization string // of which the access token is a part
	gateway       *url.URL

	// What follows is zero in a token that is not of a Source, except for life.expiry.
	life lifetime
	key  cache.Key
	user bool // of a user, not a system token
}

const bearer = "Bearer "

// NewToken returns a bearer token for the given gateway, which may be nil for a token
// that is not for a gateway. A zero expiry means that it is not known. It fails if the
// token cannot be sent in a header (RFC 6750, section 2.1): it is empty, or has a
// character that is not a visible ASCII one.
func NewToken(accessToken string, expiry time.Time, gateway *url.URL) (*Token, error) {
	return newTokenUntil(accessToken, expiry, gateway, cache.Now())
}

func newTokenUntil(accessToken string, expiry time.Time, gateway *url.URL, now cache.Instant) (*Token, error) {
	t, err := newToken(accessToken, gateway)
	if err == nil && !expiry.IsZero() {
		t.life.expiry = now.Add(expiry.Round(0).Sub(now.Time())) // Round drops a reading of the monotonic clock
	}
	return t, err
}

func newToken(accessToken string, gateway *url.URL) (*Token, error) {
	switch {
	case accessToken == "":
		return nil, errors.New("access_token is missing or empty")
	case !header.IsToken(accessToken):
		return nil, errors.New("access_token has a character that no bearer token has")
	}
	return &Token{authorization: bearer + accessToken, gateway: gateway}, nil
}

// AccessToken returns the access token.
func (t *Token) AccessToken() string { return t.authorization[len(bearer):] }

// Authorization returns the value of the Authorization header: "Bearer " and the token.
func (t *Token) Authorization() string { return t.authorization }

// Expiry returns when the token expires, without any margin; zero if that is not known.
func (t *Token) Expiry() time.Time {
	if t.life.expiry.IsZero() {
		return time.Time{}
	}
	return t.life.expiry.Time()
}

// OAuth2 returns a new [oauth2.Token]. Unlike a Token, it shows the access token when it
// is printed.
func (t *Token) OAuth2() *oauth2.Token {
	return &oauth2.Token{AccessToken: t.AccessToken(), TokenType: "Bearer", Expiry: t.Expiry()}
}

// GatewayURL returns the gateway, or nil. It must not be modified.
func (t *Token) GatewayURL() *url.URL { return t.gateway }

// Fingerprint returns 16 hex digits that tell subjects apart and reveal nothing of them.
// Logs and events show the same ones.
func (t *Token) Fingerprint() string { return t.key.String() }

// Format prints the gateway and the expiry, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.describe()) }

// MarshalJSON returns what Format prints, as a string.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.describe()) }

// LogValue returns what Format prints.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.describe()) }

func (t *Token) describe() string {
	gateway := "none"
	if t.gateway != nil {
		gateway = t.gateway.Redacted()
	}
	return fmt.Sprintf("token{subject:%s gateway:%s expires:%s}", t.key, gateway, t.Expiry().UTC().Format(time.RFC3339))
}

// ParseGatewayURL returns the URL of a gateway without its trailing slashes. It must be
// an absolute http or https URL that consists of scheme, host, port and path only.
// (Whether plain http is acceptable is decided where a token is sent.)
func ParseGatewayURL(raw string) (*url.URL, error) {
	u, err := parseTrimmed(strings.TrimSpace(raw))
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the gateway URL is not an absolute http or https URL")
	case u.Hostname() == "":
		return nil, errors.New("the gateway URL has no host")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, strings.Contains(raw, "#"):
		return nil, errors.New("the gateway URL has more than scheme, host, port and path")
	}
	return parseTrimmed(u.String()) // as it will be sent: that may end in another slash
}

// parseTrimmed parses raw without its trailing slashes. The error of url.Parse quotes its
// input, which may hold a password.
func parseTrimmed(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	if err != nil {
		return nil, errors.New("the gateway URL cannot be parsed")
	}
	return u, nil
}
