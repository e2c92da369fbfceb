package transport

import (
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/agwgo/agw/tokensource"
)

const (
	authorization = "Authorization"
	correlationID = "X-Correlation-Id"
)

// outgoing is a request to the gateway: all that it needs beyond its header, in one
// allocation.
type outgoing struct {
	http.Request
	url         url.URL
	correlation [1]string
}

// newOutgoing returns what is sent for req, to the URL that is yet to be put in. It
// is a shallow copy and not req.Clone: that would detach the Trailer, which the
// caller fills while the body is being sent.
func newOutgoing(req *http.Request, g *tokensource.Grant) *outgoing {
	out := &outgoing{Request: *req}
	out.URL = &out.url
	out.Host = "" // the one of the URL
	out.Header = authorized(req.Header, g)
	return out
}

// authorized returns h with the grant's Authorization instead of its own, in
// whatever spelling the caller put that into the map.
func authorized(h http.Header, g *tokensource.Grant) http.Header {
	if h == nil {
		return http.Header{authorization: g.Authorization()}
	}
	h = maps.Clone(h)
	for name := range h {
		if len(name) == len(authorization) && strings.EqualFold(name, authorization) {
			delete(h, name)
		}
	}
	h[authorization] = g.Authorization()
	return h
}

// correlate gives out the id that generate returns, unless it has one.
func (out *outgoing) correlate(generate func() string) {
	for name := range out.Header {
		if len(name) == len(correlationID) && strings.EqualFold(name, correlationID) {
			return
		}
	}
	if id := generate(); id != "" {
		out.correlation[0] = id
		out.Header[correlationID] = out.correlation[:]
	}
}

// correlateLike gives out the id of a former attempt: to the gateway the two are
// one call.
func (out *outgoing) correlateLike(former *outgoing) {
	if id, ok := former.Header[correlationID]; ok {
		out.Header[correlationID] = id
	}
}
