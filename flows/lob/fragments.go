package lob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// The labels of fragments.
const (
	labelSystem = "subscriber.ias"
	labelUser   = "subscriber.ias.user"
	labelMCP    = "agw.mcp.server"
	labelAgent  = "agw.a2a.server"
)

// opFragment is the Op of errors that concern a fragment.
const opFragment = "find fragment"

// labelFor returns the label of the fragment that the token of s needs.
func labelFor(s tokensource.Subject) string {
	if s.UserToken != "" {
		return labelUser
	}
	return labelSystem
}

func fragmentKey(tenant, label string) cache.Key { return cache.NewKey("fragment", tenant, label) }

// fragment returns the name of the first fragment of tenant with label.
func (s *session) fragment(ctx context.Context, tenant, label string) (found, error) {
	return s.names.get(ctx, fragmentKey(tenant, label), func(ctx context.Context) (string, error) {
		list, _, err := s.fragments(ctx, tenant, label)
		if err != nil {
			return "", err
		}
		name, err := firstName(list)
		if err != nil {
			return "", noFragment(tokensource.Error{Op: opFragment}, label, tenant, err.Error())
		}
		return name, nil
	})
}

// fragments returns the fragments of tenant with label, and what an error about
// them must not show.
func (s *session) fragments(ctx context.Context, tenant, label string) (list []object, secrets []string, err error) {
	filter := fmt.Sprintf("Label['sap-managed-runtime-type'] HAS ('%s')", label)
	where := s.base + "/destination-configuration/v1/instanceDestinationFragments"
	got, err := s.ask(ctx, tenant, wire.Request{
		Op:  opFragment,
		URL: where + "?$filter=" + strings.ReplaceAll(url.QueryEscape(filter), "+", "%20"),
	})
	if answered(err, http.StatusNotFound) {
		return nil, nil, noFragment(*asError(err), label, tenant, "")
	}
	if err != nil {
		return nil, nil, err
	}
	list, err = parseFragments(got.body)
	if err != nil {
		return nil, nil, &tokensource.Error{Op: opFragment, URL: where, StatusCode: http.StatusOK, Kind: tokensource.Passing, Err: err}
	}
	return list, got.secrets, nil
}

// noFragment returns e with a [*FragmentError] as its cause.
func noFragment(e tokensource.Error, label, tenant, reason string) error {
	e.Kind, e.Err = tokensource.Permanent, &FragmentError{Label: label, Tenant: tenant, Reason: reason}
	return &e
}

// parseFragments returns the elements of a list of fragments; what is no object
// is nil.
func parseFragments(body []byte) ([]object, error) {
	raw, ok := parseList(body)
	if !ok {
		return nil, errors.New("the answer is not a list of fragments")
	}
	list := make([]object, len(raw))
	for i := range raw {
		list[i], _ = parseObject(raw[i])
	}
	return list, nil
}

// firstName returns the name of the first fragment that has a usable one.
func firstName(list []object) (string, error) {
	for _, o := range list {
		if name, err := fragmentName(o); err == nil {
			return name, nil
		}
	}
	if len(list) == 0 {
		return "", errors.New("the list is empty")
	}
	_, err := fragmentName(list[0])
	return "", fmt.Errorf("none of the %d in the list has a usable name; the first one: %w", len(list), err)
}

func fragmentName(o object) (string, error) {
	name := o.text("FragmentName", "fragmentName")
	switch {
	case o == nil:
		return "", errors.New("it is not a JSON object")
	case name == "":
		return "", errors.New("FragmentName is missing, empty or not a string")
	case !sendable(name):
		return "", errors.New("FragmentName has a character that no header may have")
	}
	return name, nil
}
