package transport

import (
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/agwgo/agw/tokensource"
)

const authorization = "Authorization"

// outgoing is a request to the gateway: all that it needs beyond its header, in one
// allocation.
type outgoing struct {
	http.Request
	url url.URL
}

// newOutgoing returns what is sent for req, to the URL that is yet to be put in. It
// is a shallow copy and not req.Clone: that would detach the Trailer, which the
// caller fills while the body is being sent.
func newOutgoing(req *http.Request, g *tokensource.Grant, newID func() string) *outgoing {
	out := &outgoing{Request: *req}
	out.URL = &out.url
	out.Host = "" // the one of the URL
	out.Header = newHeader(req.Header, g, newID)
	return out
}

// newHeader returns a copy of h with the grant's Authorization instead of its own, in
// whatever spelling the caller put that into the map. It has the correlation id of h,
// or, if there is none, what newID returns, unless newID is nil.
func newHeader(h http.Header, g *tokensource.Grant, newID func() string) http.Header {
	own := maps.Clone(h)
	if own == nil {
		own = make(http.Header, 2)
	}
	for name := range h { // one pass for both
		switch len(name) {
		case len(authorization):
			if strings.EqualFold(name, authorization) {
				delete(own, name)
			}
		case len(correlationID):
			if strings.EqualFold(name, correlationID) {
				newID = nil
			}
		}
	}
	own[authorization] = g.Authorization()
	if newID != nil {
		if id := newID(); id != "" {
			own[correlationID] = []string{id}
		}
	}
	return own
}
