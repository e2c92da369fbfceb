package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
)

// A Key identifies a cached value. It reveals nothing of the parts that it was made of.
type Key [sha256.Size]byte

// maxPooled is the size of the largest buffer that is kept for the next key, in bytes.
// Users' JWTs fit in it.
const maxPooled = 16 << 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// NewKey returns the SHA-256 digest of parts. Each part is preceded by its length, so
// that ("ab", "c") and ("a", "bc") have different keys.
func NewKey(parts ...string) Key {
	buf := buffers.Get().(*[]byte)
	b := (*buf)[:0]
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	key := Key(sha256.Sum256(b))
	clear(b) // the parts may be secret, and the buffer lives on
	if cap(b) <= maxPooled {
		*buf = b
		buffers.Put(buf)
	}
	return key
}

// String returns the first 16 hex digits of k. They tell subjects apart in a log, and
// do not suffice to look anything up.
func (k Key) String() string { return hex.EncodeToString(k[:8]) }

// GoString returns the same as String.
func (k Key) GoString() string { return k.String() }
