package lob

import (
	"encoding/json"
	"net/url"

	"github.com/agwgo/agw/tokensource"
)

// What follows lets tests in package lob_test reach what is not exported.

// LoadFrom is Load with another environment.
func LoadFrom(env map[string]string) (*Credentials, error) {
	return load(func(name string) string { return env[name] })
}

// TokenURL returns where the service token of a tenant is fetched.
func TokenURL(base *url.URL, zone, tenant string) (string, error) {
	server, err := newAuthServer(base, zone)
	if err != nil {
		return "", err
	}
	return server.tokenURL(tenant), nil
}

// ParseDestination returns what is wrong with a destination, or its token and
// gateway.
func ParseDestination(body []byte) (*tokensource.Response, error) {
	resp, p := parseDestination(body)
	if p != nil {
		return nil, p.report("", nil)
	}
	return resp, nil
}

// ParseClientID returns the client id of a destination.
func ParseClientID(body []byte) (string, error) {
	id, p := parseClientID(body)
	if p != nil {
		return "", p.report("", nil)
	}
	return id, nil
}

// ParseFragments returns the first name and the endpoints of a list of fragments.
func ParseFragments(body []byte) (name string, endpoints []Endpoint, err error) {
	list, err := parseFragments(body)
	if err != nil {
		return "", nil, err
	}
	name, _ = firstName(list)
	endpoints, err = parseEndpoints(list, "label", "tenant")
	return name, endpoints, err
}

// ParseAuthToken returns one of the authTokens.
func ParseAuthToken(raw json.RawMessage) (token string, ok bool) {
	r, p := parseToken(raw)
	return r.AccessToken, p == nil
}
