package lob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// opDestination is the Op of errors that concern the destination.
const opDestination = "get destination"

// fetch obtains the token of s. A fragment that was known before, and which the
// Destination Service knows no longer, is looked up once more.
func (s *session) fetch(ctx context.Context, subject tokensource.Subject) (*tokensource.Response, error) {
	label := labelFor(subject)
	f, err := s.fragment(ctx, subject.Tenant, label)
	if err != nil {
		return nil, err
	}
	resp, err := s.destination(ctx, subject, f.value)
	if !f.known || !answered(err, http.StatusNotFound) {
		return resp, err
	}
	s.names.drop(f.answer)
	if f, err = s.fragment(ctx, subject.Tenant, label); err != nil {
		return nil, err
	}
	return s.destination(ctx, subject, f.value)
}

// destination asks for the destination as the fragment completes it.
func (s *session) destination(ctx context.Context, subject tokensource.Subject, fragment string) (*tokensource.Response, error) {
	header := http.Header{"X-Fragment-Name": {fragment + "@instance"}}
	if subject.UserToken != "" {
		header.Set("X-User-Token", subject.UserToken)
	}
	got, err := s.ask(ctx, subject.Tenant, wire.Request{Op: opDestination, URL: s.where, Header: header})
	if err != nil {
		return nil, err
	}
	resp, problem := parseDestination(got.body)
	if problem != nil {
		return nil, problem.report(s.where, got.secrets)
	}
	return resp, nil
}

// clientID asks, as the provider, for the client id that tokens are issued to.
func (s *session) clientID(ctx context.Context) (string, error) {
	f, err := s.names.get(ctx, cache.NewKey("client id"), func(ctx context.Context) (string, error) {
		got, err := s.ask(ctx, "", wire.Request{Op: opDestination, URL: s.where + "?$skipTokenRetrieval=true"})
		if err != nil {
			return "", err
		}
		id, problem := parseClientID(got.body)
		if problem != nil {
			return "", problem.report(s.where, got.secrets)
		}
		return id, nil
	})
	if err != nil {
		return "", err
	}
	return f.value, nil
}

// A problem is what makes a destination unusable.
type problem struct {
	kind tokensource.Kind
	said string // the Destination Service's own words, or ""
	err  error
}

// report returns p as the error of an answer from where.
func (p *problem) report(where string, secrets []string) error {
	return &tokensource.Error{
		Op: opDestination, URL: where, StatusCode: http.StatusOK,
		Description: wire.Clean(p.said, secrets...), Kind: p.kind, Err: p.err,
	}
}

// parseDestination returns the token and the gateway of a destination.
func parseDestination(body []byte) (*tokensource.Response, *problem) {
	top, props, p := parseProperties(body)
	if p != nil {
		return nil, p
	}
	token, p := firstToken(top["authTokens"])
	if p != nil {
		return nil, p
	}
	raw := props.text("URL", "url")
	if raw == "" {
		return nil, &problem{err: errors.New("the destination's property URL is missing or empty")}
	}
	gateway, err := tokensource.ParseGatewayURL(raw)
	if err != nil {
		return nil, &problem{err: fmt.Errorf("the destination's property URL: %w", err)}
	}
	return &tokensource.Response{TokenResponse: token, GatewayURL: gateway}, nil
}

// parseClientID returns the client id of a destination.
func parseClientID(body []byte) (string, *problem) {
	_, props, p := parseProperties(body)
	if p != nil {
		return "", p
	}
	id := props.text("clientId")
	if id == "" {
		return "", &problem{err: errors.New("the destination's property clientId is missing or empty")}
	}
	return id, nil
}

// parseProperties returns a destination, and its properties.
func parseProperties(body []byte) (top, props object, p *problem) {
	top, ok := parseObject(body)
	if !ok {
		return nil, nil, &problem{kind: tokensource.Passing, err: errors.New("the answer is not a JSON object")}
	}
	props, ok = parseObject(top["destinationConfiguration"])
	if !ok {
		return nil, nil, &problem{kind: tokensource.Passing, err: errors.New("destinationConfiguration is missing or not an object")}
	}
	return top, props, nil
}

// firstToken returns the first usable one of the authTokens of a destination. If
// there is none, the problem is that of the first one.
func firstToken(authTokens json.RawMessage) (cache.TokenResponse, *problem) {
	list, _ := parseList(authTokens)
	var first *problem
	for i, raw := range list {
		token, p := parseToken(raw)
		if p == nil {
			return token, nil
		}
		if first == nil {
			p.err = fmt.Errorf("%w: authTokens[%d]: %w", ErrNoDestinationToken, i, p.err)
			first = p
		}
	}
	if first == nil {
		first = &problem{err: fmt.Errorf("%w: authTokens is missing, empty or not a list", ErrNoDestinationToken)}
	}
	return cache.TokenResponse{}, first
}

// errTokenRetrieval: the Destination Service did not get a token either.
var errTokenRetrieval = errors.New("the Destination Service could not obtain the token")

// parseToken returns one of the authTokens. The token is what its header has after
// the scheme Bearer (RFC 6750, section 2.1), whatever the case of that.
func parseToken(raw json.RawMessage) (cache.TokenResponse, *problem) {
	entry, ok := parseObject(raw)
	if !ok {
		return cache.TokenResponse{}, &problem{err: errors.New("it is not a JSON object")}
	}
	if said := entry.text("error"); said != "" {
		return cache.TokenResponse{}, &problem{kind: tokensource.Passing, said: said, err: errTokenRetrieval}
	}
	header, _ := parseObject(entry["http_header"])
	scheme, token, _ := strings.Cut(header.text("value"), " ")
	token = strings.TrimSpace(token)
	switch {
	case scheme == "":
		return cache.TokenResponse{}, &problem{err: errors.New("http_header has no value")}
	case !strings.EqualFold(scheme, "Bearer"):
		return cache.TokenResponse{}, &problem{err: errors.New("the scheme in http_header is not Bearer")}
	case token == "" || !visible(token):
		return cache.TokenResponse{}, &problem{err: errors.New("http_header has no well-formed bearer token")}
	}
	return cache.TokenResponse{AccessToken: token, ExpiresIn: entry["expires_in"]}, nil
}
