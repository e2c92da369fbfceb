// Package soak keeps the whole library under load and under attack at once, and
// checks all the while that its promises hold.
//
//	go test ./internal/soak                      # a smoke of two seconds
//	go test -race ./internal/soak -soak 30s
//	go test -v ./internal/soak -soak 10m -soak.seed 7
//
// The seed settles what is tried; what meets what is up to the scheduler. There are
// four stacks, each on a double of its own over real TLS: both flows as agw.New
// wires them (400 users; 50 tenants of 100 users each; caches of 32 and 256), and both
// put together by hand around a clock that goes wrong (the wall clock stepped by two
// hours; the monotonic clock standing still). Together, 200 goroutines call. Tokens
// live for 2 to 20 seconds, or to 6 where the clock is wrong. All services fail in
// every way that the double knows, tokens, users and service tokens are revoked,
// credentials rotated, subjects forgotten, caches purged, connections closed, and
// callers leave when they like.
//
// # What is checked
//
// Identity: each request leaves with a token of its own subject, and the gateway takes
// the caller for that one.
//
// Origin: each token leaves for its tenant's gateway. The foreign host hears nothing.
//
// Expiry: a token is never chosen once it has expired. It is chosen after the call
// began, or, where the call is repeated, after the first answer; if by then the token
// was past its end, that is a violation. A token that ends on its way to the gateway is
// none: that flight is all that is tolerated. The end is what the token service noted
// when it issued the token. (With the stepped clock it is the told life, counted from
// when the token was first seen: nothing else can be known there.) A user's token
// does not outlive the JWT that it was exchanged for. After Forget, Purge and changed
// credentials no call gets a token that was issued before.
//
// Failures: each is one of those in the method failure of call, and of a call that was
// to fail so: what befalls a request at the gateway was asked for in a header of it. No
// error, and none in an event, holds a secret.
//
// Counters: they never go back, caches keep their bounds, hits and misses are as many
// as the source was asked, counters and events agree, and each fetch ends.
//
// No hammering: after three failed requests for a token comes a rest of 1 s, doubled
// with each further three up to 30 s; and a subject loses at most one token in 10 s to a
// gateway that refuses it. Both are counted, not timed: no check here needs this
// machine to be quick.
//
// Rest: when the load is over, everything works again, every body is closed, no
// goroutine is left, and the heap is what it was before but for 8 KiB for each cached
// entry, 2 KiB for each remembered failure and 4 MiB in all.
//
// # The budget
//
// Each request for a token, a service token or a fragment is one of
//
//   - first: nothing was ever asked for the subject;
//   - after a failure: the answer before was a fault, or no success;
//   - aged: the answer before has been in use for at least 4/5 of its usable life, which
//     is its life less the expiry buffer, or half of the smaller of the two (5 minutes
//     for a fragment);
//   - swept: all answers went at once since (Purge, new credentials, a step of the
//     clock). Each sweep excuses two requests for a subject: one to have the answer
//     again, one of a fetch that was under way;
//   - for a user whose own JWT ends within seconds (at most 12 for each call);
//   - early: none of these.
//
// There must not be more early ones than evictions, rejected tokens, calls of Forget and
// attempts that failed although the double had answered well:
//
//	requests <= first + failed + aged + swept + brief
//	            + evictions + rejections + forgotten + failed attempts unknown to the double
package soak
