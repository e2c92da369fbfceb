// Package agwtest is a test double of everything on the other side of an agent
// that calls the SAP Agent Gateway, in the spirit of net/http/httptest: one
// call of [Start] brings up, in this process and on 127.0.0.1, over real TLS
// with certificates made in memory,
//
//   - the token service of SAP Cloud Identity Services, once with mutual TLS
//     and once without ([Server.TokenURL], [Server.TokenURLNoClientCert]),
//   - the authorization server and the Destination Service of SAP BTP
//     ([Server.AuthURL], [Server.DestinationURL]),
//   - the Agent Gateway ([Server.GatewayURL]), which tells each caller who it
//     believes the caller is ([Echo]), and
//   - a host that must never see a bearer token ([Server.ForeignURL]).
//
// # Guarantees
//
// The double is strict: it checks every field of a token request, the client
// certificate, signature, audience and expiry of each token, and answers what
// deviates with the error that the real service would give. A test that passes
// here has sent the right thing.
//
// It is honest: tokens are signed and carry client, user and tenant, and the
// gateway reports identities from verified tokens only. A token handed to the
// wrong user or tenant shows.
//
// It can be made to fail: each service takes [Fault] values for its next
// answers or a function that decides per request, tokens can be given any
// lifetime and any odd field, and be revoked; certificates, secrets and the CA
// can be rotated.
//
// It counts and records: [Server.Counts], [Server.Requests], [Service.Meter],
// [Service.OnAnswer].
//
// Nothing leaves the process, nothing but loopback is needed, and
// [Server.Close] leaves neither goroutine nor socket behind. All methods are
// safe for concurrent use.
//
// # Use
//
//	srv, err := agwtest.Start(agwtest.Options{})
//	if err != nil { … }
//	defer srv.Close()
//	err = srv.WriteBinding(dir)                // what a pod sees mounted
//	t.Setenv("SERVICE_BINDING_ROOT", dir)
//	gw, err := agw.New(agw.Config{RootCAs: srv.RootCAs()})
//	user := srv.UserToken(agwtest.User{Name: "alice"}) // keep it: the next one is another JWT
//
// For many tenants, set the variables of [Server.LoBEnv] instead, and give the
// gateway the transport that knows the host names of all tenants:
//
//	gw, err := agw.New(agw.Config{RootCAs: srv.RootCAs(), ServiceTransport: srv.Transport()})
//
// There, give [User] the tenant that the call is for: the Destination Service
// refuses the JWT of another one.
//
// A client that tries again hides a single failure. To see the error, inject as many
// faults as it has tries (Times of [Fault]), or decide with [Service.OnRequest].
//
// # Paths of the gateway
//
// Every authorized request is answered with an [Echo], but for handlers that
// were mounted ([Server.Handle]) and, below [Server.GatewayURL],
//
//	/sse?events=3&interval=10ms&hold=true   server-sent events, see Event
//	/trailers                               an echo with a trailer
//	/upgrade                                101, then an echo of bytes
//	/status/{code}                          that status, no body
//	/redirect?to=URL&status=307             a redirect
//
// # Trust
//
// Clients trust the double through [Server.RootCAs], or take
// [Server.Transport], which also reaches its tenant host names.
//
// The package imports neither testing nor any other package of this module, so
// that programs and tests alike can use it.
package agwtest
