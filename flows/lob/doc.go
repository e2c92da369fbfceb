// Package lob obtains tokens for an agent that serves many tenants (a line of business,
// LoB), through the Destination Service of SAP BTP.
//
// A token of a tenant takes three requests. The first obtains a service token: the access
// token with which the agent calls the Destination Service on behalf of that tenant. The
// second asks for the name of the fragment, a set of properties that the tenant's
// subscription has put into the Destination Service. The third asks for the destination
// as the fragment completes it: the access token, and the URL of the tenant's gateway.
// Service tokens and names of fragments are remembered, so the next token of the tenant
// takes one request.
//
//	creds, err := lob.Load()
//	flow, err := creds.NewFlow(flows.Options{})
//	src, err := tokensource.New(flow, tokensource.Options{})
//	ctx = tokensource.WithTenant(ctx, "acme")
//	token, err := src.AccessToken(ctx)
//
// It guarantees:
//
//   - A tenant is one DNS label (RFC 1035, section 2.3.1, as relaxed by RFC 1123, section
//     2.1). That is checked before anything is sent. The client secret goes to the host of
//     the binding, or to one that differs from it in that label only.
//   - Service token, fragment, access token and gateway are of one tenant, and what is
//     remembered is never used for another one.
//   - Everybody who needs the same service token or the same name of a fragment shares one
//     request for it.
//   - A service token that the Destination Service refuses is replaced once, and a fragment
//     that it does not know any more is looked up once again, within the same call.
//   - A user whom the Destination Service refuses costs no service token: it is asked once
//     more, with the same service token and without the user, to tell which of the two it
//     refuses.
//   - Requests have none of the values of a caller's context. Whatever is asked for, an
//     error comes within the FetchTimeout, and says which service did not respond.
//   - When the files of the binding change, the new ones are in force with the next fetch.
//     A renewed secret of the same client keeps all that is remembered. Of another client,
//     or at other URLs, nothing that was obtained before is used.
//   - What is remembered is bounded.
//   - No error shows a secret, nor does anything of this package when it is printed.
package lob
