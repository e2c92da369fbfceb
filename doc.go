// Package agw gives a program a plain *http.Client that is at home behind the SAP
// Agent Gateway: each request gets the gateway's host and the bearer token of
// whoever it acts for.
//
//	gw, err := agw.New(agw.Config{})                  // finds the credentials a pod has
//	client := gw.Client()
//	ctx = tokensource.WithUserToken(ctx, userJWT)     // act for a user; without it: the system token
//	req, err := http.NewRequestWithContext(ctx, "POST", gw.URL("v1/mcp", ordID, tenantID), body)
//	resp, err := client.Do(req)
//
// # Guarantees
//
//   - The right identity. A request carries the token of its own subject, never of
//     another user or tenant, and never one that has expired.
//   - The right host. A token goes to the origin of the gateway that it came with; a
//     request to any other one fails, also after a redirect.
//   - Few token requests. One for each subject and token life, however many callers
//     wait for it, and renewed before anybody has to wait.
//   - The request and the response are the caller's own: nothing is buffered, no
//     stream is cut, no error is made up.
//
// This package only wires the others, which can be used piece by piece:
// [github.com/agwgo/agw/tokensource] decides when to fetch a token and says what is
// guaranteed; [github.com/agwgo/agw/flows/customer] and
// [github.com/agwgo/agw/flows/lob] know how; [github.com/agwgo/agw/transport] puts
// it into requests; [github.com/agwgo/agw/agwtest] stands in for all the services
// in tests.
package agw
