package benchmarks_test

import (
	"net/http"
	"sync"
)

// base is the transport beneath all that is compared: it answers every request at
// once. Responses are reused, for what is compared is how requests are made.
type base struct {
	check func(*http.Request) // if not nil, sees each request
	pool  sync.Pool
}

func newBase() *base {
	return &base{pool: sync.Pool{New: func() any { return new(http.Response) }}}
}

func (b *base) RoundTrip(req *http.Request) (*http.Response, error) {
	if b.check != nil {
		b.check(req)
	}
	resp := b.pool.Get().(*http.Response)
	*resp = http.Response{StatusCode: http.StatusOK, Header: noHeader, Body: http.NoBody}
	return resp, nil
}

var noHeader = http.Header{}

// Do makes a base what package azcore calls a transporter.
func (b *base) Do(req *http.Request) (*http.Response, error) { return b.RoundTrip(req) }

// recycle takes a response back.
func (b *base) recycle(resp *http.Response) { b.pool.Put(resp) }
