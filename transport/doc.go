// Package transport sends the requests of a plain [http.Client] to the Agent Gateway, with
// the access token of the subject that the request's context names.
//
// It guarantees:
//
//   - A token is sent to the origin (scheme, host and port) of the gateway that it was
//     issued with, and to no other, redirects included.
//   - A token does not travel over plain http, except to localhost and loopback addresses,
//     or if [Options] allow it.
//   - The caller's request is not modified. Neither it nor the response leads to the token.
//   - The request's body is closed exactly once, also after an error.
//   - A token that the gateway rejects (status 401) is replaced once, within the same call,
//     if the request can be sent again.
//
// # URLs
//
// The URL of a request says in one of three ways where the request goes:
//
//	https://agent-gateway.invalid/v1/…   to the gateway of the request's subject
//	/v1/…                                to the same
//	https://gateway.example/v1/…         to this gateway, which must be that of the subject
//
// The path of the first two is joined to that of the gateway's own URL; the escaping of both
// is kept. If /v1/mcp is part of the gateway's path and the path of the request begins with
// it, it is not repeated. A path with a ".." segment is an error ([ErrPathEscapes]). The
// path of the third is taken as it is. Query and fragment are kept, user info is dropped.
// Whoever uses one of the first two gets a relative Location in the same form, and need not
// know the gateway to follow it.
//
// [PlaceholderHost] cannot be reached by accident: names below .invalid never resolve
// (RFC 6761, section 6.4).
package transport
