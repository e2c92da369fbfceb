// Package tokensource decides when a token is fetched, and hands out the right one
// to everybody who asks.
//
// A [Flow] knows how to obtain a token; a [Source] knows when. A Source is an
// [oauth2.TokenSource] and, for callers that have a context, a
// [ContextTokenSource]: the context says for whom a call acts (see
// [WithUserToken], [WithTenant]) and for how long it may wait.
//
// # Guarantees
//
//   - The right token. A token is served to the subject (tenant and user) that it was
//     fetched for, together with the gateway that came with it. A user's token that is
//     blank is an error, never the technical token.
//   - No expired token. Both the monotonic and the wall clock must say that it is
//     still good. An exchanged token never outlives the user's own.
//   - One fetch. All callers that miss the same token share one fetch. It is detached
//     from them: whoever has to leave leaves at once, with its context's error, and
//     harms nobody. A panic in a flow is an error to all of them.
//   - No waiting for a renewal. In the last fifth of its usable life, at most five
//     minutes, a token is served as before while one fetch renews it in the
//     background, at a moment that differs from process to process.
//   - No outage from a passing failure. If the renewal fails because of the network,
//     a 429 or a 5xx, the old token is served until it really expires. If the
//     service refuses for good (invalid_grant, invalid_client), it is dropped.
//   - No hammering. A fetch is tried at most three times, 100 ms apart and growing, or
//     as far apart as the service's Retry-After says; if that is more than 5 s, the
//     fetch fails at once. After a failed fetch its subject rests for 1 s, doubled
//     with each further failure up to 30 s (or for what Retry-After says, up to ten
//     minutes): callers get the same error at once, and it says when the next attempt
//     is due. Rejected tokens are dropped at most once in 10 s for each subject.
//   - Bounded memory. What is cached, and what is remembered of failures, is bounded
//     by [cache.Settings], the least recently used leaving first.
//   - No secrets in errors, events, logs and what any type here prints.
//
// # States
//
// The token of a subject is in one of six states. Time moves it along the first
// line; a fetch that succeeds makes it fresh, from wherever it was.
//
//	          fetch ok                 4/5 of its life         expiry - buffer           expiry
//	missing ───────────▶ fresh ─────────────────────▶ due ─────────────────▶ buffered ─────────▶ missing
//	  │  ▲                serve               serve, renew in            renew, wait briefly,
//	  │  │                                     the background             or serve the old one
//	  │  │ the rest is over
//	  ▼  │
//	resting ◀── a fetch fails with nothing left to serve; or the service refuses for good
//
//	fresh, due, buffered ──▶ missing    the gateway refused the token (Invalidate),
//	fresh, due, buffered ──▶ rejected   or did so again within 10 s: serve what there is,
//	rejected ──────────────▶ missing    until the 10 s are over
//	any ───────────────────▶ missing    Forget, Purge, or rotated credentials
//
// Due and buffered tokens whose renewal failed for a passing reason stay where they
// are, and are served; the next attempt waits until the rest is over.
package tokensource
