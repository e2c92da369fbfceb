// Package agwtest is a test double of all services that an agent talks to when
// it calls the SAP Agent Gateway. In the spirit of net/http/httptest, one call
// of [Start] brings them up in this process, on 127.0.0.1, over real TLS with
// certificates made in memory:
//
//   - the token service of SAP Cloud Identity Services, with mutual TLS
//     ([Server.TokenURL]) and without (the URL in [Server.CustomerEnv]),
//   - the authorization server and the Destination Service of SAP BTP (the URLs
//     in [Server.DestinationBinding]),
//   - the Agent Gateway ([Server.GatewayURL]), which tells each caller who it
//     believes the caller is ([Echo]), and
//   - a foreign host that must never see a bearer token ([Server.ForeignURL]).
//
// # Guarantees
//
// The double is strict. It checks every field of a token request, the client
// certificate, and signature, audience and expiry of each token. A wrong
// request gets the error that the real service would respond with. A test that
// passes here has sent the right thing.
//
// Tokens are signed and carry client, user and tenant, and the gateway reports
// identities from verified tokens only. A token that is used for the wrong user
// or tenant shows.
//
// It can be made to fail: each service takes [Fault] values for its next
// responses, or a function that decides for each request. Tokens can be given
// any lifetime and any odd field, and be revoked. Client certificates and
// secrets can be rotated.
//
// It counts and records: [Server.Counts], [Server.Requests], [Service.Meter],
// [Service.OnResponse].
//
// Nothing leaves the process, and [Server.Close] leaves neither goroutine nor
// socket behind. All methods are safe for concurrent use.
//
// # Use
//
//	srv, err := agwtest.Start(agwtest.Options{})
//	if err != nil { … }
//	defer srv.Close()
//	err = srv.WriteBinding(dir)                // what a pod sees mounted
//	t.Setenv("SERVICE_BINDING_ROOT", dir)
//	gw, err := agw.New(agw.Config{RootCAs: srv.RootCAs()})
//	user := srv.UserToken(agwtest.User{Name: "alice"}) // keep it: each call makes another JWT
//
// For many tenants, set the variables of [Server.LoBEnv] instead, and give the
// gateway the transport that knows the host names of all tenants:
//
//	gw, err := agw.New(agw.Config{RootCAs: srv.RootCAs(), ServiceTransport: srv.Transport()})
//
// There, [User] needs the tenant that the call is for: the Destination Service
// refuses the JWT of another one.
//
// A client that retries hides a single failure. To see the error, inject as
// many faults as the client makes attempts (Times of [Fault]), or decide with
// [Service.OnRequest].
//
// # Paths of the gateway
//
// Every authorized request gets an [Echo], except below the patterns of
// [Server.Handle] and, relative to [Server.GatewayURL], at
//
//	/sse?events=3&interval=10ms&hold=true   server-sent events
//	/trailers                               an Echo with a trailer
//	/upgrade                                status 101, then an echo of bytes
//	/status/{code}                          that status, no body
//	/redirect?to=URL&status=307             a redirect
//
// The id of a server-sent event is its number, from 1, and its data a JSON
// object with this number (Number) and the fields of [Caller]. With hold, or
// without events, the stream stays open until [Service.Release] or
// [Server.Close].
//
// # Trust
//
// Clients trust the double through [Server.RootCAs] or [Server.CAPEM], or use
// [Server.Transport], which also reaches its tenants' host names.
//
// The package imports neither testing nor any other package of this module, so
// that both programs and tests can use it.
package agwtest
