package tokensource

import (
	"context"
	"net/url"

	"github.com/agwgo/agw/cache"
)

// A Flow is one way to obtain tokens: it talks to the token service and knows
// nothing of caches, waiting or retries, which are the business of a [Source].
// Its methods must be safe for concurrent use.
type Flow interface {
	// Identity names the credentials in force. It returns the same pointer as long
	// as they are the same and another one as soon as they are not; from then on no
	// token of the former ones is served. It is never nil. It is called for every call
	// of the Source and must be as quick as an atomic load.
	Identity() *Identity

	// Tenant returns the tenant that a call belongs to: the one requested, or the
	// flow's own if requested is "". It fails if that is not a valid one, before
	// anything is sent. It is called for every call of the Source.
	Tenant(ctx context.Context, requested string) (string, error)

	// Fetch obtains a token for s, whose tenant is one that Tenant returned. Errors
	// should be of type *Error, whose Kind says how to go on; any other error counts
	// as passing. The context carries no values of the caller's.
	Fetch(ctx context.Context, s Subject) (*Response, error)
}

// A Reloader is a Flow whose credentials can change while the program runs.
type Reloader interface {
	// Reload looks whether the source of the credentials has changed, and if so
	// takes them over: Identity returns another pointer from then on. It is called
	// when a fetch is due, and with refused set after the token service has refused
	// the credentials: then it should read them even if they look unchanged. After an
	// error the old credentials stay in force.
	Reload(ctx context.Context, refused bool) error
}

// An Identity says on whose behalf a flow obtains tokens, and where. It must not
// be modified.
type Identity struct {
	Flow          string   // name of the flow, such as "customer"
	TokenEndpoint string   // URL of the token endpoint
	ClientID      string   // RFC 6749, section 2.2
	Resource      string   // RFC 8707, or what a flow has in its place
	GatewayURL    *url.URL // if known before there is any token; else nil
}

// A Response is a token as it came from the token service, and the gateway that
// it is for.
type Response struct {
	cache.TokenResponse

	// GatewayURL comes from the same answer, so that token and gateway cannot be of
	// two tenants. nil means the GatewayURL of the flow's Identity.
	GatewayURL *url.URL
}
