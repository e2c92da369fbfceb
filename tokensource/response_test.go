package tokensource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestParseResponse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want Response
	}{
		"an empty object": {`{}`, Response{}},
		"all members": {
			`{"access_token":"at","token_type":"Bearer","expires_in":60,"expires_at":"2026-01-02T03:05:05Z","id_token":"it"}`,
			Response{
				AccessToken: "at", TokenType: "Bearer", IDToken: "it",
				ExpiresIn: json.RawMessage(`60`), ExpiresAt: json.RawMessage(`"2026-01-02T03:05:05Z"`),
			},
		},
		"white space":                      {" \r\n\t{ \"access_token\" : \"at\" , \"expires_in\" : 60 }\n", Response{AccessToken: "at", ExpiresIn: json.RawMessage(`60`)}},
		"unknown members":                  {`{"access_token":"at","refresh_token":"rt","x":[{}]}`, Response{AccessToken: "at"}},
		"a gateway is not for it":          {`{"access_token":"at","GatewayURL":"https://x.example","gateway_url":"https://x.example"}`, Response{AccessToken: "at"}},
		"null members":                     {`{"access_token":null,"token_type":null,"id_token":null,"expires_in":null,"expires_at":null}`, Response{}},
		"letter case":                      {`{"Access_Token":"at","ACCESS_TOKEN":"at","Expires_In":60}`, Response{}},
		"a member twice":                   {`{"access_token":"a","access_token":"b"}`, Response{AccessToken: "b"}},
		"a member twice, then null":        {`{"access_token":"a","access_token":null}`, Response{}},
		"escapes":                          {`{"access\u005ftoken":"\u0061t"}`, Response{AccessToken: "at"}},
		"an id token that is not a string": {`{"access_token":"at","id_token":{"a":1}}`, Response{AccessToken: "at"}},
		"a huge number":                    {`{"expires_in":1e400}`, Response{ExpiresIn: json.RawMessage(`1e400`)}},
		"an expiry of another type":        {`{"expires_in":[60],"expires_at":{}}`, Response{ExpiresIn: json.RawMessage(`[60]`), ExpiresAt: json.RawMessage(`{}`)}},
		"an empty access token":            {`{"access_token":""}`, Response{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := []byte(test.body)
			got, err := ParseResponse(body)
			if err != nil {
				t.Fatalf("%s cannot be parsed: %v", test.body, err)
			}
			clear(body) // the caller may reuse it
			for _, field := range []string{"AccessToken", "TokenType", "IDToken", "ExpiresAt", "ExpiresIn", "GatewayURL"} {
				got, want := reflect.ValueOf(*got).FieldByName(field), reflect.ValueOf(test.want).FieldByName(field)
				if !reflect.DeepEqual(got.Interface(), want.Interface()) {
					t.Errorf("%s of %s is %q, want %q", field, test.body, got, want)
				}
			}
		})
	}
}

// The errors do not quote what may be a secret.
func TestParseResponseErrors(t *testing.T) {
	t.Parallel()
	const notAnObject = "the response is not a JSON object"
	for body, want := range map[string]string{
		``:                                     notAnObject,
		` `:                                    notAnObject,
		`null`:                                 notAnObject,
		`secret`:                               notAnObject,
		`"secret"`:                             notAnObject,
		`["secret"]`:                           notAnObject,
		`42`:                                   notAnObject,
		`{"access_token":"secret"`:             notAnObject,
		`{"access_token":"secret"}}`:           notAnObject,
		`{"access_token":"secret"}{}`:          notAnObject,
		`<html>secret</html>`:                  notAnObject,
		"\ufeff{}":                             notAnObject,
		"{\"access_token\":\"secret\xff\"}":    "the response is not UTF-8",
		`{"access_token":["secret"]}`:          "access_token is not a string",
		`{"access_token":42}`:                  "access_token is not a string",
		`{"access_token":false}`:               "access_token is not a string",
		`{"access_token":{"secret":1}}`:        "access_token is not a string",
		`{"access_token":"at","token_type":1}`: "token_type is not a string",
	} {
		t.Run(caseName(body), func(t *testing.T) {
			t.Parallel()
			r, err := ParseResponse([]byte(body))
			if err == nil || err.Error() != want {
				t.Errorf("the error is %v, want %s", err, want)
			}
			if r != nil {
				t.Error("there is a response besides the error")
			}
		})
	}
}

// However a response gets into a text, its tokens do not.
func TestResponseIsRedacted(t *testing.T) {
	t.Parallel()
	r := Response{
		AccessToken: "secret", TokenType: "secret", IDToken: "secret",
		ExpiresAt: json.RawMessage(`"secret"`), ExpiresIn: json.RawMessage(`"secret"`),
		GatewayURL: &url.URL{Scheme: "https", Host: "secret"},
	}
	type holder struct {
		Response Response
		Pointer  *Response
	}
	for name, v := range map[string]any{
		"value": r, "pointer": &r, "slice": []Response{r}, "map": map[string]any{"r": r},
		"struct": holder{r, &r}, "pointer to a struct": &holder{r, &r},
	} {
		texts := map[string]string{"Sprint": fmt.Sprint(v), "text log": logged(v, false), "JSON log": logged(v, true)}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10.3v"} {
			texts[verb] = fmt.Sprintf(verb, v)
		}
		marshalled, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s: json.Marshal: %v", name, err)
		}
		texts["json.Marshal"] = string(marshalled)
		for how, text := range texts {
			if strings.Contains(text, "secret") || strings.Contains(text, fmt.Sprintf("%x", "secret")) {
				t.Errorf("%s, %s: the text has a secret: %s", name, how, text)
			}
		}
	}
	for _, v := range []any{r, &r} { // a log handler need not know fmt or json
		if resolved := slog.AnyValue(v).Resolve(); resolved.Kind() != slog.KindString {
			t.Errorf("of a %T, a log handler gets a %v, want a string", v, resolved.Kind())
		}
	}
	if got, want := fmt.Sprint(r), "tokensource.Response{[redacted]}"; got != want {
		t.Errorf("a Response prints as %q, want %q", got, want)
	}
}

// logged returns v as a structured log shows it.
func logged(v any, asJSON bool) string {
	var buf bytes.Buffer
	var handler slog.Handler = slog.NewTextHandler(&buf, nil)
	if asJSON {
		handler = slog.NewJSONHandler(&buf, nil)
	}
	slog.New(handler).Info("response", "response", v, slog.Group("group", "response", v))
	return buf.String()
}

func FuzzParseResponse(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"at","token_type":"Bearer","expires_in":60}`,
		`{"access_token":"at","expires_at":"2026-01-02T03:05:05Z","id_token":"it"}`,
		`{"access_token":"` + jwtWithExp("1767323105") + `"}`,
		`{"access_token":["secret"]}`, `{"expires_in":"1e400"}`, `[]`, `null`, "\xff",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseResponse(body)
		if err != nil {
			if text := err.Error(); len(text) > 64 || r != nil {
				t.Errorf("the error %q could quote the response, or there is one besides it", text)
			}
			return
		}
		if !json.Valid(body) || bytes.TrimSpace(body)[0] != '{' {
			t.Errorf("%q was parsed, which is not a JSON object", body)
		}
		for name, raw := range map[string]json.RawMessage{"expires_in": r.ExpiresIn, "expires_at": r.ExpiresAt} {
			if raw != nil && (!json.Valid(raw) || string(raw) == "null") {
				t.Errorf("%s is %q, want a JSON value that is not null, or nil", name, raw)
			}
		}
		if r.GatewayURL != nil {
			t.Errorf("the gateway is %v, want none", r.GatewayURL)
		}
		s := completed(t, Settings{})
		l, ok := s.newLifetime(r, "", arrival)
		assertConsistent(t, s, l, ok)
	})
}
