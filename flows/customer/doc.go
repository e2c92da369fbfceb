// Package customer obtains tokens for an agent of one customer from SAP Cloud
// Identity Services, as an OAuth client that authenticates by its TLS client
// certificate (RFC 8705).
//
// [Load] finds the [Credentials], [NewFlow] makes a flow of them, and a
// [tokensource.Source] of that flow says when a token is fetched:
//
//	creds, err := customer.Load()
//	flow, err := customer.NewFlow(creds, nil)
//	src, err := tokensource.New(flow, tokensource.Options{})
//
// # Guarantees
//
//   - Found means used. Credentials that are there but broken are an error that
//     names the file or variable and the field; no others are looked for instead.
//   - Checked at once. Everything that can be known to be wrong without asking the
//     token service is an error of [NewFlow]: a URL, a certificate that has expired,
//     a key that is not the certificate's. (Only whether a gateway may be reached
//     over plain http is up to the transport, and shows with the first request.)
//   - The certificate is presented. There is no request without a client certificate
//     unless the credentials have none.
//   - Rotated in place. A credentials file that has changed is read again before the
//     next token is fetched, and the new certificate is in the next handshake. A file
//     that has become unreadable or wrong changes nothing.
//   - No secrets in errors, and in what any type here prints.
//
// # Where credentials come from
//
//  1. A binding in the layout of servicebinding.io: the first directory, by name,
//     below $SERVICE_BINDING_ROOT (default /bindings) whose file "type" says
//     integration-credentials and that has a file "credentials", a JSON object with
//     tokenServiceUrl, clientid, certificate, privateKey, gatewayUrl and
//     integrationDependencies. If the variable is set but empty, there are no files.
//  2. INTEGRATION_CLIENT_ID, INTEGRATION_AUTH_URL and INTEGRATION_GATEWAY_URL, all
//     three, where something else, such as a service mesh, presents the certificate.
//     INTEGRATION_DEPENDENCIES, a JSON array, is needed for lists of endpoints only.
package customer
