// Package tokensource decides when a token is fetched, and hands out the right one to
// everybody who asks.
//
// A [Flow] knows how to obtain a token. A [Source] knows when. The context of a call says
// for whom it acts and how long it may wait:
//
//	src, err := tokensource.New(flow, tokensource.Options{})
//	ctx = tokensource.WithUserToken(ctx, jwt)         // for a user; else the system token
//	ctx = tokensource.WithTenant(ctx, "acme")         // in a tenant, for flows that have several
//	token, err := src.TokenContext(ctx)               // an *oauth2.Token
//
// # Guarantees
//
//   - The right token. A token is served to the subject (tenant and user) that it was
//     fetched for, together with the gateway that came with it. A blank user token is an
//     error: it never means the system token.
//   - No expired token. Both the monotonic and the wall clock must say that a token is
//     still good. An exchanged token never outlives the user's own, if that is a JWT with an
//     exp claim.
//   - One fetch. All callers that need the same token share one fetch. The fetch is
//     detached from them: a caller whose context ends leaves at once with the context's
//     error, without harm to the others. A panic in Fetch is an error to all of them.
//   - No waiting for a renewal while calls keep coming. The usable life of a token ends
//     where its expiry buffer begins. The first call after a random moment between 45 and
//     90 % of it starts a fetch in the background, and is served the old token: programs
//     that started together do not renew together. A call within the buffer waits for the
//     new token, for a second at most. A token that ends with the user's own is not
//     renewed, because a new one would end there, too.
//   - Failing renewals do no harm. If a renewal fails, the old token is served until it
//     really expires. Only a denial of the user (invalid_grant, access_denied) ends it
//     before. Refused credentials are read again.
//   - Patience with services. After a temporary failure a fetch asks again, at most twice,
//     100 ms later and growing, or as late as Retry-After says; if Retry-After is more than
//     5 s, the fetch fails at once. After a failed fetch its subject backs off for 1 s,
//     doubled with each further failure up to 30 s, or for what Retry-After says, up to ten
//     minutes. Until then callers without a token get the same error at once, and the error
//     says when the next attempt is due. (If credentials were refused, one call a second
//     reads them again.) A rejected token is dropped at most once in 10 s for each subject.
//   - Rotation. While another [Identity] is in force, one that differs in any field, no
//     token of the old one is served.
//   - Bounded memory. What is cached is bounded by [Settings], and so is what is remembered
//     of failures (1,024 subjects at least). From a full cache a token leaves that has not
//     been used lately, as a rule.
//   - No secrets in errors, events, logs and in what any type here prints.
//
// # States
//
// A subject is in one of five states. Time moves its token along the first line. A fetch
// that succeeds leads to fresh from every state.
//
//	          fetch ok            45 to 90 % of usable life    expiry - buffer           expiry
//	missing ───────────▶ fresh ─────────────────────▶ due ─────────────────▶ buffered ─────────▶ missing
//	  │  ▲                serve               serve, renew in            renew, wait a little,
//	  │  │ the backoff                        the background             or serve the old one
//	  │  │ is over
//	  ▼  │
//	failing ◀── a fetch fails and there is no token, or the service denies the user
//
//	fresh, due, buffered ──▶ missing    the gateway rejected the token (Invalidate),
//	any ───────────────────▶ missing    Forget, Purge, or another client
//
// If the renewal of a due or buffered token fails, and the service has not denied the user,
// the token is served as before, and the next attempt waits until the backoff is over.
package tokensource
