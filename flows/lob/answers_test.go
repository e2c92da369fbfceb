package lob_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestBadFragments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		what   string
		answer answer
		texts  []string
		none   bool // ErrNoFragment
	}{
		{"empty list", answer{200, `[]`}, []string{"the list is empty"}, true},
		{"404", answer{404, `{"ErrorMessage":"nothing here"}`}, []string{"status 404", "nothing here"}, true},
		{"nameless only", answer{200, `[{"URL":"https://x.example"},{"FragmentName":" "}]`}, []string{"none of the 2", "FragmentName is missing"}, true},
		{"no objects", answer{200, `[null,7,"x"]`}, []string{"none of the 3", "not a JSON object"}, true},
		{"name is a number", answer{200, `[{"FragmentName":7}]`}, []string{"FragmentName is missing, empty or not a string"}, true},
		{"name with a line break", answer{200, `[{"FragmentName":"a\r\nX-Tenant: evil"}]`}, []string{"no header may have"}, true},
		{"name that is not ASCII", answer{200, `[{"FragmentName":"früh"}]`}, []string{"no header may have"}, true},
		{"not JSON", answer{200, `hello`}, []string{"not a JSON"}, false},
		{"truncated", answer{200, `[{"FragmentName":"a"}`}, []string{"not a JSON"}, false},
		{"not a list", answer{200, `{"FragmentName":"a"}`}, []string{"not a list of fragments"}, false},
		{"not UTF-8", answer{200, "[{\"FragmentName\":\"a\xff\"}]"}, []string{"not a list of fragments"}, false},
		{"422", answer{422, `"an IAS token"`}, []string{"status 422", "an IAS token"}, false},
		{"reset", answer{}, []string{"find fragment"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			f.fragments = func(int, sent) answer { return tt.answer }
			f.start(t, lob.Options{})
			_, err := f.fetch("acme", "")
			expectError(t, err, append(tt.texts, "find fragment")...)
			if e := typed(t, err); (e.Kind == tokensource.Permanent) != (tt.none || tt.answer.status == 422) {
				t.Errorf("kind %v", e.Kind)
			}
			if errors.Is(err, lob.ErrNoFragment) != tt.none {
				t.Errorf("%v: is ErrNoFragment: %v, want %v", err, !tt.none, tt.none)
			}
			var fe *lob.FragmentError
			if tt.none && (!errors.As(err, &fe) || fe.Label != systemLabel || fe.Tenant != "acme") {
				t.Errorf("%v does not tell label and tenant", err)
			}
			if tt.none {
				expectError(t, err, systemLabel, `"acme"`)
			}
			expectTrace(t, f, "auth fragments")
		})
	}
}

func TestNamelessFragmentsSpoilNothing(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.fragments = func(int, sent) answer {
		return answer{200, `[{"x":1},null,{"FragmentName":"good"},{"FragmentName":"later"}]`}
	}
	f.start(t, lob.Options{})
	f.mustFetch(t, "acme", "")
	if name := f.last()[2].Header.Get("X-Fragment-Name"); name != "good@instance" {
		t.Errorf("fragment %q", name)
	}
}

func TestBadDestinations(t *testing.T) {
	t.Parallel()
	errorEntry := func(text string) string { return `{"type":"","value":"","error":"` + text + `"}` }
	tests := []struct {
		what    string
		body    string
		texts   []string
		noToken bool // ErrNoDestinationToken
		passing bool
	}{
		{"no URL", destination(`""`), []string{"property URL is missing"}, false, false},
		{"URL is null", destination(`null`), []string{"property URL is missing"}, false, false},
		{"URL is no URL", destination(`"gateway.example.com"`), []string{"property URL", "not an absolute"}, false, false},
		{"URL with a password", destination(`"https://u:` + gatewayJWT + `@x.example"`), []string{"property URL"}, false, false},
		{"no configuration", `{"authTokens":[]}`, []string{"destinationConfiguration is missing"}, false, true},
		{"not an object", `[1]`, []string{"not a JSON object"}, false, true},
		{"no tokens", `{"destinationConfiguration":{"URL":"` + gatewayURL + `"}}`, []string{"authTokens is missing"}, true, false},
		{"empty tokens", withTokens(`[]`), []string{"authTokens is missing, empty"}, true, false},
		{"tokens no list", withTokens(`{"a":1}`), []string{"not a list"}, true, false},
		{"entry no object", withTokens(`[null]`), []string{"authTokens[0]", "not a JSON object"}, true, false},
		{"error entry", withTokens(`[` + errorEntry("the user is locked") + `]`), []string{"authTokens[0]", "the user is locked"}, true, true},
		{"error echoes", withTokens(`[` + errorEntry("refused "+userJWT+" and "+serviceJWT+"acme and "+secret) + `]`), []string{"refused"}, true, true},
		{"long error", withTokens(`[` + errorEntry(strings.Repeat("long ", 100)) + `]`), []string{"long long"}, true, true},
		{"Basic", withTokens(`[` + header("Basic "+gatewayJWT) + `]`), []string{"not Bearer"}, true, false},
		{"bare token", withTokens(`[` + header(gatewayJWT) + `]`), []string{"not Bearer"}, true, false},
		{"scheme only", withTokens(`[` + header("Bearer ") + `]`), []string{"http_header has no"}, true, false},
		{"two words", withTokens(`[` + header("Bearer a b") + `]`), []string{"no well-formed bearer token"}, true, false},
		{"line break", withTokens(`[` + header("Bearer a\r\nX: y") + `]`), []string{"no well-formed bearer token"}, true, false},
		{"no header", withTokens(`[{"type":"bearer","value":"` + gatewayJWT + `"}]`), []string{"http_header has no value"}, true, false},
		{"header no object", withTokens(`[{"http_header":"Bearer ` + gatewayJWT + `"}]`), []string{"http_header has no value"}, true, false},
		{"other case", withTokens(`[{"HTTP_Header":{"value":"Bearer ` + gatewayJWT + `"}}]`), []string{"http_header has no value"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			f.destination = func(int, sent) answer { return answer{200, tt.body} }
			f.start(t, lob.Options{})
			_, err := f.fetch("acme", userJWT)
			expectError(t, err, append(tt.texts, "get destination")...)
			e := typed(t, err)
			if errors.Is(err, lob.ErrNoDestinationToken) != tt.noToken {
				t.Errorf("%v: is ErrNoDestinationToken: %v", err, !tt.noToken)
			}
			if e.Temporary() != tt.passing || len(e.Description) > 200 {
				t.Errorf("%v: passing %v, %d bytes", err, e.Temporary(), len(e.Description))
			}
			expectTrace(t, f, "auth fragments destination")
		})
	}
}

func TestFirstUsableToken(t *testing.T) {
	t.Parallel()
	good, bad := header("BEARER "+gatewayJWT), `{"error":"broken"}`
	for _, tokens := range []string{
		`[` + good + `,` + bad + `]`, `[` + bad + `,` + good + `]`, `[` + header("Basic x") + `,null,` + good + `]`,
	} {
		f := newFake()
		f.destination = func(int, sent) answer { return answer{200, withTokens(tokens)} }
		f.start(t, lob.Options{})
		if resp := f.mustFetch(t, "acme", ""); resp.AccessToken != gatewayJWT {
			t.Errorf("%s: got %q", tokens, resp.AccessToken)
		}
	}
}

func TestExpiryOfTheEntry(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.destination = func(int, sent) answer {
		return answer{200, withTokens(`[` + strings.Replace(header("Bearer "+gatewayJWT), `"600"`, `"-1"`, 1) + `]`)}
	}
	src, err := tokensource.New(f.start(t, lob.Options{}), tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = src.Grant(tokensource.WithTenant(t.Context(), "acme"))
	if !errors.Is(err, tokensource.ErrExpired) {
		t.Errorf("got %v", err)
	}
}

func TestBadUserToken(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.start(t, lob.Options{})
	for _, user := range []string{userJWT + "\r\nX-Tenant: evil", userJWT + " x", "é" + userJWT} {
		_, err := f.fetch("acme", user)
		expectError(t, err, "the user token")
		if typed(t, err).Temporary() {
			t.Errorf("%v is passing", err)
		}
	}
	expectTrace(t, f, "")
}
