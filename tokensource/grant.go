package tokensource

import (
	"context"
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
)

// A ContextTokenSource is an [oauth2.TokenSource] that can be told who is asking
// and for how long. Token is TokenContext for the default identity, bounded by the
// fetch timeout. Tokens are shared and must not be modified.
type ContextTokenSource interface {
	oauth2.TokenSource
	TokenContext(ctx context.Context) (*oauth2.Token, error)
}

// A GrantSource is what a transport needs to know of tokens. [*Source] is one; see
// [Fixed] for any other [oauth2.TokenSource]. It is safe for concurrent use.
type GrantSource interface {
	// Grant returns a token for the subject of ctx together with its gateway.
	Grant(ctx context.Context) (*Grant, error)

	// Gateway returns the gateway of ctx's subject if it is known without a fetch.
	// It must not be modified.
	Gateway(ctx context.Context) (gateway *url.URL, known bool)

	// Invalidate tells that the gateway refused g. It drops exactly g, if it may, and
	// reports whether it did.
	Invalidate(g *Grant) bool
}

// A Grant is a token and the gateway that it is for. The two come from the same
// answer and never part. A Grant is immutable, and shared by everybody who acts
// for its subject.
//
// It prints and marshals without the token.
type Grant struct {
	token         oauth2.Token
	gateway       *url.URL
	authorization [1]string // "Bearer " and the token, of which token.AccessToken is a part
	key           cache.Key
	user          bool // of a user, not a technical one
}

const bearer = "Bearer "

// NewGrant returns a grant of a bearer token and its gateway, which may be nil for a
// token that is not for a gateway. A zero expiry means that none is known. It fails
// if the token cannot be sent in a header (RFC 6750, section 2.1): it is empty or
// has a character that is no visible ASCII one.
func NewGrant(accessToken string, expiry time.Time, gateway *url.URL) (*Grant, error) {
	g := &Grant{gateway: gateway}
	if err := g.setToken(accessToken, expiry); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Grant) setToken(accessToken string, expiry time.Time) error {
	if accessToken == "" {
		return errors.New("access_token is missing or empty")
	}
	if strings.ContainsFunc(accessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("access_token has a character that no bearer token has")
	}
	g.authorization[0] = bearer + accessToken
	g.token.AccessToken = g.authorization[0][len(bearer):]
	g.token.TokenType = "Bearer"
	g.token.Expiry = expiry
	return nil
}

// Token returns the token. Its Expiry is when it expires, without any margin. It
// must not be modified.
func (g *Grant) Token() *oauth2.Token { return &g.token }

// GatewayURL returns the gateway, or nil. It must not be modified.
func (g *Grant) GatewayURL() *url.URL { return g.gateway }

// Authorization returns the values of the Authorization header: one, made in
// advance. It must not be modified, but it may be put into a header as it is.
func (g *Grant) Authorization() []string { return g.authorization[:1:1] }

// Fingerprint returns 16 hex digits that tell subjects apart and reveal nothing of
// them; logs and events show the same ones.
func (g *Grant) Fingerprint() string { return g.key.String() }

// Format prints the gateway and the expiry, whatever the verb.
func (g Grant) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, g.describe()) }

// MarshalJSON returns what Format prints, as a string.
func (g Grant) MarshalJSON() ([]byte, error) { return json.Marshal(g.describe()) }

// LogValue returns what Format prints.
func (g Grant) LogValue() slog.Value { return slog.StringValue(g.describe()) }

func (g *Grant) describe() string {
	gateway := "none"
	if g.gateway != nil {
		gateway = g.gateway.Redacted()
	}
	return fmt.Sprintf("grant{subject:%s gateway:%s expires:%s}", g.key, gateway, g.token.Expiry.UTC().Format(time.RFC3339))
}

// ParseGatewayURL returns the gateway's URL without its trailing slashes. It must
// be an absolute http or https URL that consists of nothing but scheme, host, port
// and path. (Whether plain http is acceptable is the transport's decision.)
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

// parseTrimmed parses raw without its trailing slashes. The error of url.Parse quotes
// its input, which may hold a password, and is not passed on.
func parseTrimmed(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	if err != nil {
		return nil, errors.New("the gateway URL cannot be parsed")
	}
	return u, nil
}
