// Package wire sends one request to a token service, or to a service that takes
// the place of one, and returns either the JSON that it answered or an error that
// says how to go on.
//
//   - A service never gets more requests at a time than a [Pacer] allows, and none
//     at all while it asks to be left alone.
//   - Only status 200 with a JSON object or array is success. Redirects are not
//     followed, cookies not kept, and nothing larger than [MaxBody] is read.
//   - Every error is a [*tokensource.Error] and shows nothing of what was sent: what
//     a server says is cut to 200 bytes and cleaned of [Request.Secrets].
//
// Requests are sent once. Retries, caching and sharing are the business of those
// who call.
package wire
