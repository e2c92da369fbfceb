// Package cache keeps values until their deadline.
//
//	tokens := cache.NewLRU[*Token](256)
//	tokens.Put(key, token, expiry, cache.Now())
//	if e := tokens.Get(key, cache.Now()); e != nil {
//		use(e.Value)
//	}
//
// It guarantees:
//
//   - A value is handed out strictly before its deadline, by the monotonic and by the
//     wall clock ([Instant]). Neither a suspended machine nor a stepped clock makes an
//     old value look fresh.
//   - An [LRU] never holds more values than its size. When it is full, a value leaves
//     that has not been used lately.
//   - [LRU.Delete] removes an entry only while it still is the entry of its key. A late
//     report about an old value cannot remove its successor.
//   - Two different lists of parts never share a [Key], and a key reveals nothing of
//     its parts.
//
// The package starts no goroutine. Everything in it is safe for concurrent use.
package cache
