// Package transport sends the requests of a plain [http.Client] to the Agent
// Gateway, with the bearer token of whoever the request's context acts for.
//
// It guarantees:
//
//   - A bearer token goes to the origin (scheme, host and port) of the gateway that
//     it was issued with, and nowhere else, redirects included.
//   - It does not travel over plain http, except to localhost and loopback addresses.
//   - The caller's request is never changed, and neither it nor the response leads
//     back to the token.
//   - The request's body is closed exactly once, whatever happens.
//   - A token that the gateway refuses (status 401) is replaced once, within the same
//     call, if the request can be sent again.
//
// A request says in one of three ways where it goes:
//
//	https://agent-gateway.invalid/v1/…   the gateway of the request's subject
//	/v1/…                                the same
//	https://gateway.example/v1/…         the gateway by its name: taken as it is
//
// The first two are joined to the gateway's own path, see [Join]. No client can
// reach [PlaceholderHost] by mistake: names below .invalid never resolve (RFC 6761,
// section 6.4).
package transport
