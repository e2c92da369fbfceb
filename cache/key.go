package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// A Key identifies what is cached. It reveals nothing of the parts it was made of.
type Key [sha256.Size]byte

// NewKey returns the SHA-256 digest of parts, each preceded by its length, so
// that ("ab", "c") and ("a", "bc") have different keys.
func NewKey(parts ...string) Key {
	size := 0
	for _, p := range parts {
		size += binary.MaxVarintLen64 + len(p)
	}
	buf := make([]byte, 0, size)
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	return sha256.Sum256(buf)
}

// String returns the first 16 hex digits of k: enough to follow one subject
// through a log, and of no use to anybody else.
func (k Key) String() string { return hex.EncodeToString(k[:8]) }

// GoString returns the same as String.
func (k Key) GoString() string { return k.String() }
