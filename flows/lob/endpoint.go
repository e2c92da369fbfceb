package lob

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// An Endpoint is an MCP server or an agent that a tenant offers through its
// gateway.
type Endpoint struct {
	Name     string // of the fragment that describes it
	ORDID    string // Open Resource Discovery id, such as "sap.s4:apiAccess:salesOrder:v1"
	TenantID string // global tenant id
	URL      string
}

// MCPServers returns the MCP servers of the tenant that ctx names, or else of the
// flow's own, in the order of the Destination Service; see [Flow.Agents] for the
// errors.
func (f *Flow) MCPServers(ctx context.Context) ([]Endpoint, error) {
	return f.endpoints(ctx, labelMCP)
}

// Agents returns the agents (A2A servers) of the tenant that ctx names, or else of
// the flow's own, in the order of the Destination Service. Nothing is remembered:
// each call asks anew.
//
// If some of them cannot be used, the others are returned next to an error that
// joins what is wrong with each. A tenant that has none gets an empty slice. With any
// other error the slice is nil.
func (f *Flow) Agents(ctx context.Context) ([]Endpoint, error) {
	return f.endpoints(ctx, labelAgent)
}

func (f *Flow) endpoints(ctx context.Context, label string) (endpoints []Endpoint, err error) {
	subject, _ := tokensource.SubjectFromContext(ctx)
	tenant, err := f.Tenant(ctx, subject.Tenant)
	if err != nil {
		return nil, err
	}
	var list []object
	var secrets []string
	err = f.try(ctx, func(s *session) (err error) {
		list, secrets, err = s.fragments(ctx, tenant, label)
		return err
	})
	if err != nil {
		return nil, err
	}
	return parseEndpoints(list, label, tenant, secrets...)
}

// parseEndpoints returns the usable ones of list, and what is wrong with the others,
// which shows nothing of the secrets.
func parseEndpoints(list []object, label, tenant string, secrets ...string) ([]Endpoint, error) {
	endpoints, errs := make([]Endpoint, 0, len(list)), []error(nil)
	for i, o := range list {
		e, err := parseEndpoint(o, secrets)
		if err != nil {
			err = fmt.Errorf("agw: fragment %d labeled %q in tenant %q: %w", i+1, label, tenant, err)
			errs = append(errs, err)
			continue
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, errors.Join(errs...)
}

// parseEndpoint reads the ids off the end of the URL's path.
func parseEndpoint(o object, secrets []string) (e Endpoint, err error) {
	if e.Name, err = fragmentName(o); err != nil {
		return Endpoint{}, err
	}
	e.URL = o.text("URL", "url")
	if e.URL == "" {
		err = errors.New("URL is missing, empty or not a string")
	} else {
		e.ORDID, e.TenantID, err = parseEndpointURL(e.URL)
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q: %w", wire.Clean(e.Name, secrets...), err)
	}
	return e, nil
}

// parseEndpointURL returns the last two segments of the path of raw.
func parseEndpointURL(raw string) (ordID, tenantID string, err error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil: // its text quotes the URL
		return "", "", errors.New("URL cannot be parsed")
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return "", "", errors.New("URL is not an absolute http or https URL")
	case u.User != nil:
		return "", "", errors.New("URL has user info")
	}
	segments := strings.Split(strings.TrimRight(u.EscapedPath(), "/"), "/")
	if len(segments) < 3 { // the first one is what precedes the first slash
		return "", "", errors.New("the path of URL does not end in an ORD id and a tenant id")
	}
	// EscapedPath is well-formed, so neither of these fails.
	ordID, _ = url.PathUnescape(segments[len(segments)-2])
	tenantID, _ = url.PathUnescape(segments[len(segments)-1])
	if ordID == "" {
		return "", "", errors.New("the ORD id in the path of URL is empty")
	}
	return ordID, tenantID, nil
}
