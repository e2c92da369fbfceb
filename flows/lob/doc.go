// Package lob obtains tokens for an agent that serves many tenants (a line of
// business, LoB), through the SAP BTP Destination Service.
//
// A token for a tenant takes three requests: a service token of that tenant, the
// name of the fragment (a named set of properties that completes a destination)
// that its subscription has put into the Destination Service, and the destination,
// which holds the token and the URL of the tenant's gateway. The first two are
// remembered, so the next token of the tenant takes one request.
//
// Guarantees:
//
//   - A tenant is one DNS label (RFC 1035, section 2.3.1, as relaxed by RFC 1123),
//     which is checked before anything is sent: a secret never goes to a host that
//     differs from the binding's in more than that label.
//   - Service token, fragment, token and gateway URL are those of one tenant, and
//     what is remembered is never used for another one.
//   - Whoever needs the same service token or fragment name at the same time shares
//     one request for it.
//   - A service token that the Destination Service refuses is replaced once, and a
//     fragment that it no longer knows is looked up once again, within the same call.
//   - What is remembered is bounded, and replaced as a whole when the files of the
//     binding change.
//   - No error and no printed form of a type of this package holds a secret.
//
// A [Flow] is for a [tokensource.Source], which caches its tokens and decides when
// to fetch them:
//
//	creds, err := lob.Load()
//	flow, err := lob.NewFlow(creds, nil)
//	src, err := tokensource.New(flow, tokensource.Options{})
//	ctx = tokensource.WithTenant(ctx, "acme")
//	token, err := src.TokenContext(ctx)
package lob
