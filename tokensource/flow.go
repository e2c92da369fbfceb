package tokensource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"unicode/utf8"

	"github.com/agwgo/agw/internal/jsonobject"
)

// A Flow is one way to obtain tokens. It talks to the token service. It does not cache,
// share or retry: that is the business of a [Source]. Its methods must be safe for
// concurrent use.
type Flow interface {
	// Identity returns the OAuth client that tokens are obtained for now. It returns
	// the same pointer until the credentials change, and never one that it returned
	// before the last change. It is never nil. A Source calls it for every call, so it
	// must be as quick as an atomic load.
	Identity() *Identity

	// Tenant returns the tenant that a call belongs to: the requested one, or the
	// flow's own if requested is "". It fails if that is not a valid tenant. A Source
	// calls it for every call, before anything is sent.
	Tenant(ctx context.Context, requested string) (string, error)

	// Fetch obtains a token for s, whose tenant is one that Tenant returned, with the
	// credentials in force. Errors should be of type *Error, whose Kind says how to go
	// on; any other error counts as temporary. An error of a Source that the flow uses
	// is passed on as it is: that Source has retried already, and says when it will
	// try again. The context has the fetch's deadline and no values of a caller.
	Fetch(ctx context.Context, s Subject) (*Response, error)
}

// A Reloader is a [Flow] whose credentials can change while the program runs.
type Reloader interface {
	// Reload reads the credentials again, and puts them in force if they have changed:
	// Identity returns another pointer from then on. A Source calls it before each
	// fetch, and after the token service has refused the credentials. After an error
	// the old credentials stay in force.
	Reload(ctx context.Context) error
}

// An Identity is an OAuth client (RFC 6749, section 2.2) at a token endpoint. It must
// not be modified.
//
// Tokens of two identities with equal fields serve the same purpose: a renewed
// certificate or secret of the same client leaves the cached tokens valid. While another
// client is in force, which differs in any field, no token of this one is served.
type Identity struct {
	Flow          string   // name of the flow, such as "customer"
	TokenEndpoint string   // URL of the token endpoint
	ClientID      string   // RFC 6749, section 2.2
	Resource      string   // RFC 8707, or what a flow has in its place
	GatewayURL    *url.URL // that of all tokens; nil if it is known only once there is a token
}

// A Response is what a token service answered (RFC 6749, section 5.1), as far as it
// matters here. It prints and marshals as a placeholder, never as the tokens in it.
type Response struct {
	AccessToken string
	TokenType   string // as received; "" counts as "Bearer"
	IDToken     string // read for its exp claim only

	// ExpiresAt and ExpiresIn are JSON values as received, nil if absent. ExpiresAt is
	// epoch seconds or an ISO 8601 date, ExpiresIn is seconds; both may be strings.
	ExpiresAt, ExpiresIn json.RawMessage

	// GatewayURL is the gateway that the token is for, from the same response, so that
	// token and gateway cannot be of two tenants. It counts if the Identity names none.
	GatewayURL *url.URL
}

// ParseResponse reads the JSON object of a token response. Member names are matched to
// the letter, unknown members are ignored, and of a member that appears twice the last
// one counts. An error does not quote the object.
func ParseResponse(body []byte) (*Response, error) {
	o, err := jsonobject.Parse(body)
	switch {
	case !utf8.Valid(body):
		return nil, errors.New("the response is not UTF-8")
	case err != nil: // which may quote a character
		return nil, errors.New("the response is not a JSON object")
	}
	r := &Response{ExpiresAt: o["expires_at"], ExpiresIn: o["expires_in"]}
	if raw := o["access_token"]; raw != nil && json.Unmarshal(raw, &r.AccessToken) != nil {
		return nil, errors.New("access_token is not a string")
	}
	if raw := o["token_type"]; raw != nil && json.Unmarshal(raw, &r.TokenType) != nil {
		return nil, errors.New("token_type is not a string")
	}
	_ = json.Unmarshal(o["id_token"], &r.IDToken) // a hint: skipped if it is not a string
	return r, nil
}

const redactedResponse = "tokensource.Response{[redacted]}"

// Format prints a placeholder, whatever the verb.
func (Response) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedResponse) }

// MarshalJSON returns a placeholder.
func (Response) MarshalJSON() ([]byte, error) { return json.Marshal(redactedResponse) }

// LogValue returns a placeholder.
func (Response) LogValue() slog.Value { return slog.StringValue(redactedResponse) }
