package transport

import (
	"io"
	"net/http"
	"net/url"

	"github.com/agwgo/agw/tokensource"
)

// maxDrain is how many bytes of a body are read to get a connection back; more than
// that costs more than a new connection.
const maxDrain = 4 << 10

// retry answers first, a 401: with that of a second attempt if it can be made with
// another token than the refused one, else with first itself.
func (t *Transport) retry(req *http.Request, sent *outgoing, refused *tokensource.Grant, first *http.Response) (*http.Response, error) {
	t.src.Invalidate(refused)
	if !replayable(req) {
		return first, nil
	}
	grant, out, err := t.prepare(req, sent.sameCorrelationID())
	if err != nil || grant.Token().AccessToken == refused.Token().AccessToken {
		return first, nil
	}
	if hasBody(req) {
		if out.Body, err = req.GetBody(); err != nil {
			return first, nil
		}
	}
	discard(first)
	return t.send(req, out)
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

func replayable(req *http.Request) bool { return !hasBody(req) || req.GetBody != nil }

// discard closes the body of resp, and reads it before if that is quickly done, so
// that the connection can be used again.
func discard(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength <= maxDrain {
		_, _ = io.CopyN(io.Discard, resp.Body, resp.ContentLength)
	}
	_ = resp.Body.Close()
}

// completeLocation makes the Location of resp absolute. It is relative to the URL
// that the request was sent to (RFC 9110, section 10.2.2), and the caller only knows
// the one that it asked for.
func completeLocation(resp *http.Response, sent *url.URL) {
	location := resp.Header["Location"]
	if len(location) == 0 || location[0] == "" {
		return
	}
	if ref, err := url.Parse(location[0]); err == nil && !ref.IsAbs() {
		resp.Header.Set("Location", sent.ResolveReference(ref).String())
	}
}
