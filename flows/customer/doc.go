// Package customer obtains tokens for an agent of one customer from SAP Cloud Identity
// Services, as an OAuth client that authenticates by its TLS client certificate (RFC
// 8705).
//
// [Load] finds the [Credentials]. Give them to agw.New as agw.Config.Credentials, or make
// a flow and a source of them:
//
//	creds, err := customer.Load()
//	flow, err := creds.NewFlow(flows.Options{})
//	src, err := tokensource.New(flow, tokensource.Options{})
//
// # Guarantees
//
//   - Credentials that are found are used. If they are broken, the error names the file
//     or variable and the field; no others are looked for instead.
//   - What can be known to be wrong without asking the token service is an error of
//     NewFlow: a URL, a certificate that has expired, a key that is not the certificate's.
//   - If the credentials have a certificate, every token request presents it.
//   - Credentials are rotated in place. Before each token request the file is read again.
//     If its content has changed, and two readings 100 ms apart are alike, the next
//     handshake presents the new certificate, and cached tokens of the same client stay
//     valid. A file that has become unreadable or wrong changes nothing.
//   - The credentials are of one tenant. A call that names a tenant fails.
//   - There are no secrets in errors, and in what any type here prints.
//
// # Where credentials come from
//
//  1. A binding in the layout of servicebinding.io: the first directory, by name, below
//     $SERVICE_BINDING_ROOT (default /bindings) whose file "type" says
//     integration-credentials and that has a file "credentials", a JSON object with
//     tokenServiceUrl, clientid, certificate, privateKey, gatewayUrl and
//     integrationDependencies. If the variable is set but empty, no files are read.
//  2. INTEGRATION_CLIENT_ID, INTEGRATION_AUTH_URL and INTEGRATION_GATEWAY_URL, all three,
//     where something else, such as a service mesh, presents the certificate.
//     INTEGRATION_DEPENDENCIES, a JSON array, is needed for lists of endpoints only.
package customer
