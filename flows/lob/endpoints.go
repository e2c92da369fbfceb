package lob

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/jsonobject"
	"github.com/agwgo/agw/internal/redact"
	"github.com/agwgo/agw/internal/route"
)

// parseEndpoints returns the endpoints that the fragments in the list describe, and what is
// wrong with each of the others, joined.
func parseEndpoints(list *response, tenant, label string) ([]flows.Endpoint, error) {
	fragments, err := parseFragments(list)
	if err != nil {
		return nil, err
	}
	endpoints, errs := make([]flows.Endpoint, 0, len(fragments)), []error(nil)
	for i, fragment := range fragments {
		e, err := parseEndpoint(fragment)
		if err == nil {
			if label == labelAgent {
				e.CardURL = route.Card(e.URL)
			}
			endpoints = append(endpoints, e)
			continue
		}
		if e.Name != "" {
			err = fmt.Errorf("%q: %w", redact.New(list.secrets...).Clean(e.Name), err)
		}
		errs = append(errs, fmt.Errorf("agw: fragment %d labeled %q in tenant %q: %w", i+1, label, tenant, err))
	}
	return endpoints, errors.Join(errs...)
}

// parseEndpoint returns the endpoint that a fragment describes. Next to an error, only its
// name counts. The errors do not quote the URL.
func parseEndpoint(fragment jsonobject.Object) (e flows.Endpoint, err error) {
	if e.Name, err = parseName(fragment); err != nil {
		return e, err
	}
	if e.URL = fragment.Text("URL", "url"); e.URL == "" {
		return e, errors.New("URL is missing, empty or not a string")
	}
	u, err := url.Parse(e.URL)
	switch {
	case err != nil:
		return e, errors.New("URL cannot be parsed")
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return e, errors.New("URL is not an absolute http or https URL: the subscription must set it to one that ends in an ORD id and a tenant id")
	case u.User != nil:
		return e, errors.New("URL has user info")
	}
	segments := strings.Split(strings.TrimRight(u.EscapedPath(), "/"), "/")
	if len(segments) < 3 { // of which the first one is what precedes the first slash
		return e, errors.New("the path of URL does not end in an ORD id and a tenant id")
	}
	// An escaped path is well-formed, so neither of these fails.
	e.ORDID, _ = url.PathUnescape(segments[len(segments)-2])
	e.TenantID, _ = url.PathUnescape(segments[len(segments)-1])
	if e.ORDID == "" {
		return e, errors.New("the ORD id in the path of URL is empty")
	}
	return e, nil
}
