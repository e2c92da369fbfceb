package lob_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestBadFragments(t *testing.T) {
	t.Parallel()
	const temporary, permanent = tokensource.Temporary, tokensource.Permanent
	tests := []struct {
		name     string
		response httpResponse
		texts    []string
		none     bool // ErrNoFragment
		kind     tokensource.Kind
	}{
		{"empty list", httpResponse{200, `[]`}, []string{"the list is empty"}, true, permanent},
		{"404", httpResponse{404, `{"ErrorMessage":"nothing here"}`}, []string{"status 404", "nothing here"}, true, permanent},
		{"nameless only", httpResponse{200, `[{"URL":"https://x.example"},{"FragmentName":" "}]`}, []string{"none of the 2", "FragmentName is missing"}, true, permanent},
		{"no objects", httpResponse{200, `[null,7,"x"]`}, []string{"none of the 3", "not a JSON object"}, true, permanent},
		{"name is a number", httpResponse{200, `[{"FragmentName":7}]`}, []string{"FragmentName is missing, empty or not a string"}, true, permanent},
		{"name with a line break", httpResponse{200, `[{"FragmentName":"a\r\nX-Tenant: evil"}]`}, []string{"no header may have"}, true, permanent},
		{"name that is not ASCII", httpResponse{200, `[{"FragmentName":"früh"}]`}, []string{"no header may have"}, true, permanent},
		{"not JSON", httpResponse{200, `hello`}, nil, false, temporary},
		{"truncated", httpResponse{200, `[{"FragmentName":"a"}`}, nil, false, temporary},
		{"not a list", httpResponse{200, `{"FragmentName":"a"}`}, []string{"the list of fragments", "not a JSON array"}, false, temporary},
		{"not UTF-8", httpResponse{200, "[{\"FragmentName\":\"a\xff\"}]"}, []string{"the list of fragments", "not UTF-8"}, false, temporary},
		{"422", httpResponse{422, `"an IAS token"`}, []string{"status 422", "an IAS token"}, false, permanent},
		{"reset", httpResponse{}, nil, false, temporary},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServices()
			s.fragments = func(int, request) httpResponse { return tt.response }
			err := fetchError(t, s.newFlow(t, flows.Options{}), "acme", "")
			assertError(t, err, append(tt.texts, "find fragment", destURL+fragmentsPath)...)
			if e := requestError(t, err); e.Kind != tt.kind {
				t.Errorf("%v: is %v, want %v", err, e.Kind, tt.kind)
			}
			if got := errors.Is(err, lob.ErrNoFragment); got != tt.none {
				t.Errorf("%v: is an ErrNoFragment: %v, want %v", err, got, tt.none)
			}
			if tt.none {
				assertError(t, err, `no fragment labeled "`+systemLabel+`" in tenant "acme"`)
			}
			assertSequence(t, "fragments that cannot be used", s, "auth fragments")
		})
	}
}

func TestNamelessFragmentsAreSkipped(t *testing.T) {
	t.Parallel()
	s := newServices()
	s.fragments = func(int, request) httpResponse {
		return httpResponse{200, `[{"x":1},null,{"FragmentName":"good"},{"FragmentName":"later"}]`}
	}
	mustFetch(t, s.newFlow(t, flows.Options{}), "acme", "")
	if name := s.received()[2].Header.Get("X-Fragment-Name"); name != "good@instance" {
		t.Errorf("X-Fragment-Name is %q, want good@instance", name)
	}
}

func FuzzFragments(f *testing.F) {
	f.Add([]byte(`[{"FragmentName":"a","URL":"https://x.example/v1/mcp/ord/t"}]`))
	f.Add([]byte(`[{"fragmentName":"a","url":"sap.s4:x/y/z"},null,{}]`))
	f.Add([]byte(`{"FragmentName":"a"}`))
	f.Add([]byte("[{\"FragmentName\":\"a\\u0000\\r\\n\"}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		name, agents, err := lob.ParseFragments(body)
		if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimSpace(name) != name {
			t.Errorf("the name %q cannot be part of a header", name)
		}
		for _, e := range agents {
			u, err := url.Parse(e.URL)
			if err != nil || u.Host == "" || u.User != nil || e.Name == "" || e.ORDID == "" {
				t.Errorf("endpoint %+v is not complete", e)
			}
			if card, err := url.Parse(e.CardURL); err != nil || card.Host != u.Host || card.Scheme != u.Scheme {
				t.Errorf("the card of the agent at %q is at %q", e.URL, e.CardURL)
			}
		}
		if err == nil && name == "" && len(agents) > 0 {
			t.Errorf("%d agents, none of which has a name", len(agents))
		}
	})
}
