package transport

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

const correlationID = "X-Correlation-Id"

// newCorrelationID returns a random UUID (RFC 9562, section 5.4). It tells requests
// apart and is no secret, so the runtime's random numbers will do: a system call for
// each request would cost as much as the rest of a cache hit.
func newCorrelationID() string {
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
	return string(text[:])
}

// sameCorrelationID returns a generator of the id that out has; nil if it has none.
func (out *outgoing) sameCorrelationID() func() string {
	id, ok := out.Header[correlationID]
	if !ok || len(id) == 0 {
		return nil
	}
	return func() string { return id[0] }
}
