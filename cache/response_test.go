package cache_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/agwgo/agw/cache"
)

func TestParseTokenResponse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want cache.TokenResponse
	}{
		"empty": {`{}`, cache.TokenResponse{}},
		"whole": {
			`{"access_token":"at","token_type":"Bearer","expires_in":60,"expires_at":"2026-01-02T03:05:05Z","id_token":"it"}`,
			cache.TokenResponse{
				AccessToken: "at", TokenType: "Bearer", IDToken: "it",
				ExpiresIn: json.RawMessage(`60`), ExpiresAt: json.RawMessage(`"2026-01-02T03:05:05Z"`),
			},
		},
		"spaces":             {" \r\n\t{ \"access_token\" : \"at\" }\n", cache.TokenResponse{AccessToken: "at"}},
		"unknown members":    {`{"access_token":"at","refresh_token":"rt","x":[{}]}`, cache.TokenResponse{AccessToken: "at"}},
		"null members":       {`{"access_token":null,"token_type":null,"id_token":null}`, cache.TokenResponse{}},
		"letter case":        {`{"Access_Token":"at","ACCESS_TOKEN":"at"}`, cache.TokenResponse{}},
		"the last one":       {`{"access_token":"a","access_token":"b"}`, cache.TokenResponse{AccessToken: "b"}},
		"escapes":            {`{"access\u005ftoken":"\u0061t"}`, cache.TokenResponse{AccessToken: "at"}},
		"id token no string": {`{"access_token":"at","id_token":{"a":1}}`, cache.TokenResponse{AccessToken: "at"}},
		"huge number":        {`{"expires_in":1e400}`, cache.TokenResponse{ExpiresIn: json.RawMessage(`1e400`)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := cache.ParseTokenResponse([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("the response differs from what is in %s", tt.body)
			}
		})
	}
}

func TestParseTokenResponseErrors(t *testing.T) {
	t.Parallel()
	const noObject, noUTF8 = "the answer is not a JSON object", "the answer is not UTF-8"
	tests := map[string]string{
		``:                                     noObject,
		` `:                                    noObject,
		`null`:                                 noObject,
		`secret`:                               noObject,
		`"secret"`:                             noObject,
		`["secret"]`:                           noObject,
		`42`:                                   noObject,
		`{"access_token":"secret"`:             noObject,
		`{"access_token":"secret"}}`:           noObject,
		`{"access_token":"secret"}{}`:          noObject,
		`<html>secret</html>`:                  noObject,
		"\ufeff{}":                             noObject,
		"{\"access_token\":\"secret\xff\"}":    noUTF8,
		`{"access_token":["secret"]}`:          "access_token is not a string",
		`{"access_token":42}`:                  "access_token is not a string",
		`{"access_token":{"secret":1}}`:        "access_token is not a string",
		`{"access_token":"at","token_type":1}`: "token_type is not a string",
	}
	for body, want := range tests {
		t.Run(name(body), func(t *testing.T) {
			t.Parallel()
			r, err := cache.ParseTokenResponse([]byte(body))
			if err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
			if !reflect.ValueOf(r).IsZero() {
				t.Error("there is a response besides the error")
			}
		})
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 60: "60", -1: "-1", 1 << 62: "4611686018427387904"} {
		if got := cache.Seconds(n); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// However a response gets into a text, its tokens do not.
func TestTokenResponseIsRedacted(t *testing.T) {
	t.Parallel()
	r := cache.TokenResponse{
		AccessToken: "secret", TokenType: "secret", IDToken: "secret",
		ExpiresAt: json.RawMessage(`"secret"`), ExpiresIn: json.RawMessage(`"secret"`),
	}
	type holder struct {
		Response cache.TokenResponse
		Pointer  *cache.TokenResponse
	}
	var texts []string
	for _, v := range []any{r, &r, []cache.TokenResponse{r}, map[string]any{"r": r}, holder{r, &r}, &holder{r, &r}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10.3v"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
		marshalled, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		texts = append(texts, fmt.Sprint(v), string(marshalled), logged(v, false), logged(v, true))
	}
	for _, text := range texts {
		if strings.Contains(text, "secret") || strings.Contains(text, fmt.Sprintf("%x", "secret")) {
			t.Errorf("%s has a secret", text)
		}
	}
	if got := fmt.Sprint(r); got != "cache.TokenResponse{[redacted]}" {
		t.Errorf("printed as %s", got)
	}
}

// logged returns v as a structured log shows it.
func logged(v any, asJSON bool) string {
	var buf bytes.Buffer
	var handler slog.Handler = slog.NewTextHandler(&buf, nil)
	if asJSON {
		handler = slog.NewJSONHandler(&buf, nil)
	}
	slog.New(handler).Info("answer", "response", v, slog.Group("group", "response", v))
	return buf.String()
}
