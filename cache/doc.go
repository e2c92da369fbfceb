// Package cache keeps values until their deadline, and decides what the deadline
// of an access token is.
//
// Guarantees:
//
//   - A value is handed out strictly before its deadline, by the monotonic and by
//     the wall clock: neither a suspended machine nor a stepped clock makes an old
//     value look fresh. A stale value leaves the cache when it is read.
//   - A cache never holds more entries than its size. Reading and writing make an
//     entry the newest; the oldest one leaves first.
//   - [LRU.Delete] drops a value only while it is still the one the caller saw, so
//     a late report about an old value cannot drop its successor.
//   - Keys are SHA-256 digests over length-prefixed parts ([NewKey]): two different
//     lists of parts never share a key, and no secret is kept as one.
//   - No value in a token response, however absurd, panics or makes a token
//     immortal: no lifetime exceeds [MaxLifetime].
//
// Nothing in this package starts a goroutine, and everything in it is safe for
// concurrent use.
package cache
