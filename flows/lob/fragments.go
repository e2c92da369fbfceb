package lob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/header"
	"github.com/agwgo/agw/internal/jsonobject"
	"github.com/agwgo/agw/tokensource"
)

// ErrNoFragment: the Destination Service has no fragment that the call needs for its
// tenant, which usually means that the tenant has not subscribed.
var ErrNoFragment = errors.New("agw: no fragment")

// The labels of fragments.
const (
	labelSystem = "subscriber.ias"      // completes the destination to that of system tokens
	labelUser   = "subscriber.ias.user" // and of users' tokens
	labelMCP    = "agw.mcp.server"      // describes an MCP server
	labelAgent  = "agw.a2a.server"      // describes an A2A agent
)

// opFragment is the Op of errors about fragments.
const opFragment = "find fragment"

// fragmentName returns the name of the tenant's first fragment with that label.
func (f *flow) fragmentName(ctx context.Context, c *client, tenant, label string) (found, error) {
	return f.lookUp(ctx, c, tenant, opFragment, c.fragmentsURL, c.key("fragment", tenant, label), func(ctx context.Context) (string, error) {
		list, err := f.fragments(ctx, c, tenant, label)
		if err != nil {
			return "", err
		}
		return firstName(list, tenant, label)
	})
}

// fragments asks for the tenant's fragments with that label.
func (f *flow) fragments(ctx context.Context, c *client, tenant, label string) (*response, error) {
	filter := fmt.Sprintf("Label['sap-managed-runtime-type'] HAS ('%s')", label)
	escaped := strings.ReplaceAll(url.QueryEscape(filter), "+", "%20")
	list, err := f.ask(ctx, c, tenant, opFragment, c.fragmentsURL+"?$filter="+escaped, nil)
	if hasStatus(err, opFragment, http.StatusNotFound) {
		e := *asError(err)
		e.Kind, e.Err = tokensource.Permanent, noFragment(tenant, label)
		return nil, &e
	}
	return list, err
}

func noFragment(tenant, label string) error {
	return fmt.Errorf("%w labeled %q in tenant %q (check its subscription)", ErrNoFragment, label, tenant)
}

// parseFragments returns the elements of a list of fragments. Those that are not objects
// are nil.
func parseFragments(list *response) ([]jsonobject.Object, error) {
	elements, err := jsonobject.ParseArray(list.body)
	if err != nil {
		return nil, list.unusable(tokensource.Temporary, "", fmt.Errorf("the list of fragments: %w", err))
	}
	fragments := make([]jsonobject.Object, len(elements))
	for i, raw := range elements {
		fragments[i], _ = jsonobject.Parse(raw)
	}
	return fragments, nil
}

// firstName returns the name of the first fragment in the list that has a usable one.
func firstName(list *response, tenant, label string) (string, error) {
	fragments, err := parseFragments(list)
	if err != nil {
		return "", err
	}
	var first error
	for _, fragment := range fragments {
		name, err := parseName(fragment)
		if err == nil {
			return name, nil
		}
		if first == nil {
			first = err
		}
	}
	err = noFragment(tenant, label)
	if first == nil {
		err = fmt.Errorf("%w: the list is empty", err)
	} else {
		err = fmt.Errorf("%w: none of the %d in the list has a usable name; the first one: %w", err, len(fragments), first)
	}
	return "", list.unusable(tokensource.Permanent, "", err)
}

// parseName returns the name of a fragment. It must be fit for a header.
func parseName(fragment jsonobject.Object) (string, error) {
	name := fragment.Text("FragmentName", "fragmentName")
	switch {
	case fragment == nil:
		return "", errors.New("it is not a JSON object")
	case name == "":
		return "", errors.New("FragmentName is missing, empty or not a string")
	case !header.IsText(name):
		return "", errors.New("FragmentName has a character that no header may have")
	}
	return name, nil
}
