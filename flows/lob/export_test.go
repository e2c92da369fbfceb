package lob

import (
	"encoding/json"
	"net/url"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

// What follows gives tests in package lob_test what is not exported.

// LoadFrom is Load with another environment.
func LoadFrom(env map[string]string) (*Credentials, error) {
	return load(func(name string) string { return env[name] })
}

// NewFlowWithClock is NewFlow with another clock.
func NewFlowWithClock(c *Credentials, opts flows.Options, now func() cache.Instant) (flows.Flow, error) {
	return newFlow(c, opts, now)
}

// TokenURL returns where the service token of a tenant is fetched.
func TokenURL(base *url.URL, zone, tenant string) (string, error) {
	auth, err := newAuthServer(base, zone)
	if err != nil {
		return "", err
	}
	return auth.tokenURL(tenant), nil
}

// ParseDestination returns the token and the gateway of a destination.
func ParseDestination(body []byte) (*tokensource.Response, error) {
	return parseDestination(&response{body: body})
}

// ParseClientID returns the client id of a destination.
func ParseClientID(body []byte) (string, error) { return parseClientID(&response{body: body}) }

// ParseFragments returns the first name, and the agents, of a list of fragments.
func ParseFragments(body []byte) (name string, agents []flows.Endpoint, err error) {
	list := &response{body: body}
	name, _ = firstName(list, "tenant", labelAgent)
	agents, err = parseEndpoints(list, "tenant", labelAgent)
	return name, agents, err
}

// ParseAuthToken returns one of the authTokens.
func ParseAuthToken(raw json.RawMessage) (token string, err error) {
	resp, _, err := parseToken(raw)
	if err != nil {
		return "", err
	}
	return resp.AccessToken, nil
}
