// Package soak keeps the whole library under load while everything around it fails, and
// checks all the time that its promises hold.
//
//	go test ./internal/soak                      # two seconds
//	go test -race ./internal/soak -soak 30s
//	go test -v ./internal/soak -soak 10m -soak.seed 7
//
// The seed settles what is tried; what coincides with what is up to the scheduler. There are
// four stacks, each with a double of its own over real TLS: both flows (400 users; 50 tenants
// of 100 users each; caches of 32 and 256), and both with smaller caches and a clock that goes
// wrong (for the customer flow the wall clock is stepped by two hours, for LoB the monotonic
// clock of the access tokens stands still). Together, 200 goroutines call. Tokens live for 2
// to 20 seconds, or to 6 where the clock is wrong. All services fail in every way that the
// double knows; tokens, users and service tokens are revoked; certificates and secrets are
// renewed, and clients replaced by others; subjects are forgotten, caches purged, connections
// closed; and callers leave when they like.
//
// # What is checked
//
// Identity: each request leaves with a token of its own subject, and the gateway sees that
// caller.
//
// Origin: each token leaves for its tenant's gateway. The foreign host gets no request.
//
// Expiry: no token is chosen that has expired. It is chosen after the call began or, for the
// second attempt, after the first response; if it had expired by then, that is a violation. That a
// token expires on its way to the gateway is not. The expiry is what the token service
// noted when it issued the token. (By the stepped clock it is the lifetime in the response,
// counted from when the token was first seen: nothing else can be known.) A user's token does
// not outlive the JWT that it was exchanged for.
//
// Dropped tokens: after Forget and Purge, no call gets a token that was issued before. Once
// another client is in force, no call gets a token of an earlier one, nor the gateway of an
// earlier one. Renewed certificates and secrets drop nothing.
//
// Failures: each is one of those in call.failure, and of a call that had to fail like that: a
// header of a request asks the gateway for its fault. No error, and no error of an event,
// shows a secret.
//
// Counters: they never go back, caches keep their bounds, hits and misses are as many as the
// source was asked, counters and events agree, and each fetch ends.
//
// Patience: after three failed requests for a token comes a backoff of 1 s, doubled with each
// further three up to 30 s; and a subject loses at most one token in 10 s to a gateway that
// rejects it. Both are counted and not timed: no check here needs this machine to be quick.
//
// Recovery: when the load is over, everything works again, every body is closed, no goroutine
// is left, and the heap has grown by at most 8 KiB for each cached entry, 2 KiB for each
// remembered failure and 4 MiB in all.
//
// # The budget
//
// Each request for a token, a service token or a fragment has one of these reasons:
//
//   - first: nothing was ever asked for the subject and the client;
//   - after a failure: the last response was a fault, or not a success;
//   - renewal: the last response has been in use for at least 45 % of its usable life, which is
//     its life less the expiry buffer, or half of the smaller of the two (5 minutes for a
//     fragment);
//   - after a reset: all responses were lost at once (access tokens by Purge or a step of the
//     clock, service tokens by another client). Each reset explains two requests for a subject:
//     one to have the response again, and one of a fetch that was under way;
//   - it is not judged, since it is for a user whose own JWT ends within seconds (at most 12
//     for each call);
//   - it is a question: after a 401 the flow asks whether it was the user whom the Destination
//     Service refused (at most one for each 401);
//   - none: it is unexplained.
//
// There must not be more unexplained requests than evictions, rejected tokens, calls of Forget,
// attempts that failed although the double had responded well, and fetches during which other
// credentials came into force:
//
//	requests <= first + after a failure + renewal + after a reset + not judged + questions
//	            + evictions + rejections + calls of Forget + unnoticed successes + repetitions
package soak
