package lob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/agwgo/agw/internal/header"
	"github.com/agwgo/agw/internal/jsonobject"
	"github.com/agwgo/agw/tokensource"
)

// ErrNoDestinationToken: the destination came without an access token that could be used.
var ErrNoDestinationToken = errors.New("agw: the destination has no usable token")

const (
	opDestination = "get destination" // the Op of errors about the destination

	// skipTokenRetrieval is the query of a request for a destination without its tokens. It
	// needs neither a user nor a fragment.
	skipTokenRetrieval = "?$skipTokenRetrieval=true"
)

// fetch obtains the access token of s. A fragment whose name was known before, and that the
// Destination Service does not know any more, is looked up once again.
func (f *flow) fetch(ctx context.Context, c *client, s tokensource.Subject) (*tokensource.Response, error) {
	label := labelSystem
	if s.UserToken() != "" {
		label = labelUser
	}
	name, err := f.fragmentName(ctx, c, s.Tenant(), label)
	if err != nil {
		return nil, err
	}
	resp, err := f.destination(ctx, c, s, name.text)
	if name.entry == nil || !hasStatus(err, opDestination, http.StatusNotFound) {
		return resp, err
	}
	f.remembered.drop(name)
	if name, err = f.fragmentName(ctx, c, s.Tenant(), label); err != nil {
		return nil, err
	}
	return f.destination(ctx, c, s, name.text)
}

// destination asks for the destination as the fragment of that name completes it.
func (f *flow) destination(ctx context.Context, c *client, s tokensource.Subject, fragment string) (*tokensource.Response, error) {
	h := http.Header{"X-Fragment-Name": {fragment + "@instance"}}
	if s.UserToken() != "" {
		h.Set("X-User-Token", s.UserToken())
	}
	resp, err := f.ask(ctx, c, s.Tenant(), opDestination, c.destinationURL, h)
	if err != nil {
		return nil, err
	}
	return parseDestination(resp)
}

// clientID asks, as the provider, for the client id that access tokens are issued to.
func (f *flow) clientID(ctx context.Context, c *client) (string, error) {
	id, err := f.lookUp(ctx, c, "", opDestination, c.destinationURL, c.key("client id"), func(ctx context.Context) (string, error) {
		resp, err := f.ask(ctx, c, "", opDestination, c.destinationURL+skipTokenRetrieval, nil)
		if err != nil {
			return "", err
		}
		return parseClientID(resp)
	})
	return id.text, err
}

// parseDestination returns the access token and the gateway of a destination.
func parseDestination(resp *response) (*tokensource.Response, error) {
	destination, properties, err := parseProperties(resp)
	if err != nil {
		return nil, err
	}
	token, err := firstToken(resp, destination["authTokens"])
	if err != nil {
		return nil, err
	}
	raw := properties.Text("URL", "url")
	if raw == "" {
		return nil, resp.unusable(tokensource.Permanent, "", errors.New("the destination's property URL is missing or empty"))
	}
	if token.GatewayURL, err = tokensource.ParseGatewayURL(raw); err != nil {
		return nil, resp.unusable(tokensource.Permanent, "", fmt.Errorf("the destination's property URL: %w: the subscription must set it to that of the tenant's gateway", err))
	}
	return token, nil
}

// parseClientID returns the client id of a destination.
func parseClientID(resp *response) (string, error) {
	_, properties, err := parseProperties(resp)
	if err != nil {
		return "", err
	}
	id := properties.Text("clientId")
	if id == "" {
		return "", resp.unusable(tokensource.Permanent, "", errors.New("the destination's property clientId is missing or empty"))
	}
	return id, nil
}

// parseProperties returns a destination, and its properties.
func parseProperties(resp *response) (destination, properties jsonobject.Object, err error) {
	destination, err = jsonobject.Parse(resp.body)
	if err != nil {
		return nil, nil, resp.unusable(tokensource.Temporary, "", fmt.Errorf("the destination: %w", err))
	}
	properties, err = jsonobject.Parse(destination["destinationConfiguration"])
	if err != nil {
		return nil, nil, resp.unusable(tokensource.Temporary, "", errors.New("destinationConfiguration is missing or not an object"))
	}
	return destination, properties, nil
}

// firstToken returns the first usable one of the authTokens of a destination. If there is
// none, the error is about the first one.
func firstToken(resp *response, authTokens json.RawMessage) (*tokensource.Response, error) {
	list, _ := jsonobject.ParseArray(authTokens)
	var first error
	for i, raw := range list {
		token, description, err := parseToken(raw)
		if err == nil {
			return token, nil
		}
		if first == nil {
			first = resp.unusableToken(i, description, err)
		}
	}
	if first == nil {
		first = resp.unusable(tokensource.Permanent, "", fmt.Errorf("%w: authTokens is missing, empty or not a list", ErrNoDestinationToken))
	}
	return nil, first
}

// unusableToken returns the error of authTokens[i]. If it denies the user a token, nothing
// is wrong with the destination.
func (r *response) unusableToken(i int, description string, err error) error {
	kind := tokensource.Permanent
	if description != "" {
		kind = tokensource.Temporary
	}
	code, description := errorCode(description)
	if code == "invalid_grant" || code == "access_denied" {
		kind, err = tokensource.Denied, fmt.Errorf("authTokens[%d]: the identity service refuses to issue the token", i)
	} else {
		err = fmt.Errorf("%w: authTokens[%d]: %w", ErrNoDestinationToken, i, err)
	}
	e := r.unusable(kind, description, err)
	e.Code = code
	return e
}

// rfcCode finds the error codes of RFC 6749, sections 4.1.2.1 and 5.2.
var rfcCode = regexp.MustCompile(`\b(invalid_(request|client|grant|scope)|un(authorized_client|supported_(grant|response)_type)|access_denied|server_error|temporarily_unavailable)\b`)

// errorCode returns the first error code in a description, or "". If it is in front, rest
// is what follows.
func errorCode(description string) (code, rest string) {
	code = rfcCode.FindString(description)
	rest, _ = strings.CutPrefix(description, code)
	return code, strings.TrimLeft(rest, ": ")
}

// parseToken returns one of the authTokens. The access token is what its header has after
// the scheme Bearer (RFC 6750, section 2.1; its case does not matter). The description is
// what the Destination Service says if it could not obtain the token itself, else "".
func parseToken(raw json.RawMessage) (token *tokensource.Response, description string, err error) {
	entry, err := jsonobject.Parse(raw)
	if err != nil {
		return nil, "", errors.New("it is not a JSON object")
	}
	if description := entry.Text("error"); description != "" {
		return nil, description, errors.New("the Destination Service could not obtain the token")
	}
	httpHeader, _ := jsonobject.Parse(entry["http_header"])
	scheme, accessToken, _ := strings.Cut(httpHeader.Text("value"), " ")
	accessToken = strings.TrimSpace(accessToken)
	switch {
	case scheme == "":
		return nil, "", errors.New("http_header has no value")
	case !strings.EqualFold(scheme, "Bearer"):
		return nil, "", errors.New("the scheme in http_header is not Bearer")
	case !header.IsToken(accessToken):
		return nil, "", errors.New("http_header has no well-formed bearer token")
	}
	return &tokensource.Response{AccessToken: accessToken, ExpiresIn: entry["expires_in"]}, "", nil
}
