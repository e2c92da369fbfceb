package agwtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Values of the label sap-managed-runtime-type that fragments are found by.
const (
	LabelSystem = "subscriber.ias"      // the fragment for technical tokens
	LabelUser   = "subscriber.ias.user" // the fragment for tokens of a user
	LabelMCP    = "agw.mcp.server"      // an MCP server of the tenant
	LabelA2A    = "agw.a2a.server"      // an A2A agent of the tenant
)

const (
	labelName     = "sap-managed-runtime-type"
	fragmentsPath = "/destination-configuration/v1/instanceDestinationFragments"
)

// Fragment is a destination fragment of a tenant.
type Fragment struct {
	// Name is the property FragmentName, left out when "".
	Name string
	// Properties are all others, such as URL.
	Properties map[string]string
}

func (f Fragment) object() map[string]string {
	object := map[string]string{}
	maps.Copy(object, f.Properties)
	if f.Name != "" {
		object["FragmentName"] = f.Name
	}
	return object
}

type fragmentKey struct{ tenant, label string }

// fragmentStore holds the lists that tests have set, as JSON. Every other
// tenant has the default ones.
type fragmentStore struct {
	mu   sync.RWMutex
	sets map[fragmentKey]string
}

// SetFragments replaces a tenant's fragments with a label. Without any, the
// list is empty.
func (s *Server) SetFragments(tenant, label string, fragments ...Fragment) {
	s.SetRawFragments(tenant, label, renderFragments(fragments))
}

// SetRawFragments has the Destination Service answer with body, which need not
// be what the contract says, to a search for that label. The fragments that it
// names, if it does, are known to the destinations.
func (s *Server) SetRawFragments(tenant, label, body string) {
	s.fragments.mu.Lock()
	defer s.fragments.mu.Unlock()
	if s.fragments.sets == nil {
		s.fragments.sets = map[fragmentKey]string{}
	}
	s.fragments.sets[fragmentKey{tenant, label}] = body
}

// DefaultFragments are the fragments that a tenant has unless they were set: one
// for each kind of token, named after the tenant, and an MCP server and an A2A
// agent for each of [Options.Dependencies].
func (s *Server) DefaultFragments(tenant, label string) []Fragment {
	switch label {
	case LabelSystem:
		return []Fragment{{Name: "ias-" + tenant}}
	case LabelUser:
		return []Fragment{{Name: "ias-user-" + tenant}}
	case LabelMCP:
		return s.endpointFragments(tenant, "mcp")
	case LabelA2A:
		return s.endpointFragments(tenant, "a2a")
	}
	return nil
}

func (s *Server) endpointFragments(tenant, kind string) []Fragment {
	var fragments []Fragment
	for _, d := range s.options.Dependencies {
		fragments = append(fragments, Fragment{
			Name:       kind + "-" + d.OrdID,
			Properties: map[string]string{"URL": s.TenantGatewayURL(tenant) + "/v1/" + kind + "/" + d.OrdID + "/" + d.GlobalTenantID},
		})
	}
	return fragments
}

func renderFragments(fragments []Fragment) string {
	objects := []map[string]string{}
	for _, f := range fragments {
		objects = append(objects, f.object())
	}
	body, err := json.Marshal(objects)
	if err != nil {
		return "[]"
	}
	return string(body)
}

// fragmentsBody is the answer to a search for one label.
func (s *Server) fragmentsBody(tenant, label string) string {
	s.fragments.mu.RLock()
	body, set := s.fragments.sets[fragmentKey{tenant, label}]
	s.fragments.mu.RUnlock()
	if set {
		return body
	}
	return renderFragments(s.DefaultFragments(tenant, label))
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

// serveFragments lists the fragments of the bearer's tenant.
func (s *Server) serveFragments(w http.ResponseWriter, r *http.Request) {
	c, problem := s.checkServiceToken(r)
	if problem != nil {
		problem.write(w)
		return
	}
	f, err := parseFilter(r.URL.Query().Get("$filter"))
	switch {
	case r.Method != http.MethodGet:
		(&serviceError{http.StatusMethodNotAllowed, "the method is not GET"}).write(w)
	case err != nil:
		(&serviceError{http.StatusBadRequest, err.Error()}).write(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(s.searchFragments(c.Tenant, f)))
	}
}

func (s *Server) searchFragments(tenant string, f filter) string {
	switch {
	case f.label != labelName:
		return "[]"
	case len(f.values) == 1:
		return s.fragmentsBody(tenant, f.values[0])
	}
	all := []json.RawMessage{}
	for _, value := range f.values {
		var list []json.RawMessage
		_ = json.Unmarshal([]byte(s.fragmentsBody(tenant, value)), &list)
		all = append(all, list...)
	}
	body, _ := json.Marshal(all)
	return string(body)
}
