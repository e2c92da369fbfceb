package agwtest

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const fragmentsPath = "/destination-configuration/v1/instanceDestinationFragments"

// The label of fragments that are searched for, and its values.
const (
	labelName   = "sap-managed-runtime-type"
	labelSystem = "subscriber.ias"      // the fragment for system tokens
	labelUser   = "subscriber.ias.user" // the fragment for tokens of users
	labelMCP    = "agw.mcp.server"      // an MCP server of the tenant
	labelA2A    = "agw.a2a.server"      // an A2A agent of the tenant
)

// fragmentSets holds the lists that tests have set, as JSON. All others are the
// default ones.
type fragmentSets struct {
	mu   sync.RWMutex
	sets map[fragmentKey]string
}

type fragmentKey struct{ tenant, label string }

// SetFragments has the Destination Service respond with body when a tenant's
// fragments are searched for with a value of the label sap-managed-runtime-type:
// "subscriber.ias" (the fragment for system tokens), "subscriber.ias.user" (for
// tokens of users), "agw.mcp.server" or "agw.a2a.server" (with the URL of a
// server or agent). By the contract, body is a JSON array of objects such as
//
//	{"FragmentName": "ias", "URL": "https://…"}
//
// It is not checked, so that it can break the contract. A token can be requested
// with the fragments that body names.
//
// Unless they are set, a tenant has one fragment for each kind of token, and an
// MCP server and an A2A agent for each of [Options.Dependencies].
func (s *Server) SetFragments(tenant, label, body string) {
	s.fragmentSets.mu.Lock()
	defer s.fragmentSets.mu.Unlock()
	if s.fragmentSets.sets == nil {
		s.fragmentSets.sets = map[fragmentKey]string{}
	}
	s.fragmentSets.sets[fragmentKey{tenant, label}] = body
}

// fragmentsBody is the response to a search for one label.
func (s *Server) fragmentsBody(tenant, label string) string {
	s.fragmentSets.mu.RLock()
	body, set := s.fragmentSets.sets[fragmentKey{tenant, label}]
	s.fragmentSets.mu.RUnlock()
	if set {
		return body
	}
	fragments := []map[string]string{}
	endpoints := func(kind string) {
		for _, d := range s.options.Dependencies {
			fragments = append(fragments, map[string]string{
				"FragmentName": kind + "-" + d.ORDID,
				"URL":          s.TenantGatewayURL(tenant) + "/v1/" + kind + "/" + d.ORDID + "/" + d.GlobalTenantID,
			})
		}
	}
	switch label {
	case labelSystem:
		fragments = append(fragments, map[string]string{"FragmentName": "ias-" + tenant})
	case labelUser:
		fragments = append(fragments, map[string]string{"FragmentName": "ias-user-" + tenant})
	case labelMCP:
		endpoints("mcp")
	case labelA2A:
		endpoints("a2a")
	}
	list, _ := json.Marshal(fragments)
	return string(list)
}

// hasFragment reports whether a tenant has a fragment of that name and label.
func (s *Server) hasFragment(tenant, label, name string) bool {
	var list []json.RawMessage
	_ = json.Unmarshal([]byte(s.fragmentsBody(tenant, label)), &list)
	return slices.ContainsFunc(list, func(raw json.RawMessage) bool {
		var object struct{ FragmentName string } // in any case
		return json.Unmarshal(raw, &object) == nil && object.FragmentName == name
	})
}

// serveFragments lists the fragments of the bearer token's tenant.
func (s *Server) serveFragments(w http.ResponseWriter, r *http.Request) {
	c, problem := s.checkServiceToken(r)
	if problem != nil {
		problem.write(w)
		return
	}
	label, values, err := parseFilter(r.URL.Query().Get("$filter"))
	switch {
	case r.Method != http.MethodGet:
		(&serviceError{http.StatusMethodNotAllowed, "the method is not GET"}).write(w)
	case err != nil:
		(&serviceError{http.StatusBadRequest, err.Error()}).write(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(s.searchFragments(c.Tenant, label, values)))
	}
}

func (s *Server) searchFragments(tenant, label string, values []string) string {
	switch {
	case label != labelName:
		return "[]"
	case len(values) == 1:
		return s.fragmentsBody(tenant, values[0])
	}
	all := []json.RawMessage{}
	for _, value := range values {
		var list []json.RawMessage
		_ = json.Unmarshal([]byte(s.fragmentsBody(tenant, value)), &list)
		all = append(all, list...)
	}
	body, _ := json.Marshal(all)
	return string(body)
}

// quoted is a string of a filter that is not empty.
const quoted = `'(?:[^']|'')+'`

var (
	quotedString = regexp.MustCompile(quoted)
	// filterSyntax has a group for the label and one for the list of values.
	filterSyntax = regexp.MustCompile("^[ \t]*" + strings.Join([]string{
		`[Ll][Aa][Bb][Ee][Ll]`, `\[`, `(` + quoted + `)`, `\]`,
		`[Hh][Aa][Ss]`, `\(`, `(` + quoted + `(?:[ \t]*,[ \t]*` + quoted + `)*)`, `\)`,
	}, `[ \t]*`) + "[ \t]*$")
)

var errFilter = errors.New("$filter is not of the form Label['name'] HAS ('value', …)")

// parseFilter parses the $filter of the fragments endpoint, which searches for
// fragments whose label has one of the values,
//
//	Label['name'] HAS ('value', …)
//
// with white space between any two symbols, keywords in any case and quotes
// within strings doubled, as OData writes them.
func parseFilter(text string) (label string, values []string, err error) {
	groups := filterSyntax.FindStringSubmatch(text)
	if groups == nil {
		return "", nil, errFilter
	}
	unquote := func(quoted string) string { return strings.ReplaceAll(quoted[1:len(quoted)-1], "''", "'") }
	for _, quoted := range quotedString.FindAllString(groups[2], -1) {
		values = append(values, unquote(quoted))
	}
	return unquote(groups[1]), values, nil
}
