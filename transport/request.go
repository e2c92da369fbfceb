package transport

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"strings"
)

const (
	authorization = "Authorization"
	correlationID = "X-Correlation-Id"
)

// outgoing is a request to the gateway: all that it needs beyond its header map, in one
// allocation.
type outgoing struct {
	request http.Request
	url     url.URL // that of request

	// The values of the two fields that are set here. They belong to this request alone,
	// since a base may write to them.
	authorization, correlationID [1]string
}

// newOutgoing returns a copy of req with an empty URL and the header of req, both of which
// are to be replaced. The copy is shallow, unlike that of req.Clone, which would detach the
// Trailer: the caller fills it while the body is being sent.
func newOutgoing(req *http.Request) *outgoing {
	out := &outgoing{request: *req}
	out.request.URL = &out.url
	out.request.Host = "" // net/http takes that of the URL
	return out
}

// setHeader gives out a copy of header with the given Authorization, in place of any that
// header has, however spelled. If header has no correlation id, what newID returns is
// added, unless that is empty.
func (out *outgoing) setHeader(header http.Header, bearer string, newID func() (string, error)) error {
	// To clone a map is the quickest way to copy it. But if two more fields would make the
	// clone outgrow the smallest map, it is quicker to build the copy in its final size.
	const smallest = 8 // entries
	var own http.Header
	build := len(header) == 0 || len(header) <= smallest && len(header)+2 > smallest
	if build {
		own = make(http.Header, len(header)+2)
	} else {
		own = maps.Clone(header)
	}
	for name, values := range header {
		switch {
		case len(name) == len(authorization) && strings.EqualFold(name, authorization):
			delete(own, name) // does nothing if own is built
			continue
		case len(name) == len(correlationID) && strings.EqualFold(name, correlationID):
			newID = nil
		}
		if build {
			own[name] = values
		}
	}
	out.authorization[0] = bearer
	own[authorization] = out.authorization[:]
	if newID != nil {
		id, err := newID()
		if err != nil {
			return err
		}
		if id != "" {
			out.correlationID[0] = id
			own[correlationID] = out.correlationID[:]
		}
	}
	out.request.Header = own
	return nil
}

// recovering returns newID with an error in place of a panic. The error has the text of a
// runtime error, and the type of any other value, which could hold anything.
func recovering(newID func() string) func() (string, error) {
	return func() (id string, err error) {
		defer func() {
			switch value := recover().(type) {
			case nil:
			case runtime.Error:
				err = fmt.Errorf("agw: NewCorrelationID panicked: %w", value)
			default:
				err = fmt.Errorf("agw: NewCorrelationID panicked with a %T", value)
			}
		}()
		return newID(), nil
	}
}

// randomUUID returns a random UUID (RFC 9562, section 5.4). It tells requests apart and is
// not a secret, so the runtime's random numbers will do. A system call for each request
// would cost as much as everything else here. The error is always nil.
func randomUUID() (string, error) {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // variant 10
	text := [36]byte{8: '-', 13: '-', 18: '-', 23: '-'}
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	return string(text[:]), nil
}
