package tokensource_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

// printings returns value as printed in all usual ways, by their name.
func printings(value any) map[string]string {
	texts := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		texts[verb] = fmt.Sprintf(verb, value)
	}
	if b, err := json.Marshal(value); err == nil {
		texts["JSON"] = string(b)
	}
	var text, structured strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "value", value)
	jsonLogger(&structured).Info("x", "value", value)
	texts["slog text"], texts["slog JSON"] = text.String(), structured.String()
	return texts
}

// assertHides fails the test if a printing of one of the values shows secret.
func assertHides(t *testing.T, secret string, values ...any) {
	t.Helper()
	for _, value := range values {
		for how, text := range printings(value) {
			if strings.Contains(text, secret) || strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(secret))) {
				t.Errorf("a %T printed by %s shows the secret %q: %s", value, how, secret, text)
			}
		}
	}
}

// assertShows fails the test if a printing of value does not have all parts.
func assertShows(t *testing.T, value any, parts ...string) {
	t.Helper()
	for how, text := range printings(value) {
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("a %T printed by %s does not show %q: %s", value, how, part, text)
			}
		}
	}
}

func TestSubjectPrintsNoSecret(t *testing.T) {
	t.Parallel()
	subject := tokensource.UserSubject(secret).In("acme")
	assertHides(t, secret, subject, &subject, struct{ S tokensource.Subject }{subject}, []tokensource.Subject{subject},
		map[tokensource.Subject]int{subject: 1}, map[string]any{"s": subject})
	assertShows(t, subject, "acme", "user")
	assertShows(t, tokensource.SystemSubject(), "system")
	assertShows(t, tokensource.Subject{}, "nobody")
}

func TestContextPrintsNoSecret(t *testing.T) {
	t.Parallel()
	ctx := tokensource.WithTenant(tokensource.WithUserToken(t.Context(), secret), "acme")
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	type contextKey struct{}
	for _, ctx := range []context.Context{ctx, child, context.WithoutCancel(ctx), context.WithValue(ctx, contextKey{}, "x")} {
		assertHides(t, secret, ctx, struct{ Ctx context.Context }{ctx}, struct{ ctx context.Context }{ctx}, []context.Context{ctx})
	}
	for _, verb := range []string{"%v", "%+v", "%s"} {
		if text := fmt.Sprintf(verb, ctx); !strings.Contains(text, "acme") || !strings.Contains(text, "user") {
			t.Errorf("a context printed by %s does not show its subject: %s", verb, text)
		}
	}
}

func TestTokenPrintsNoSecret(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(time.Hour)
			resp.AccessToken = secret
			return resp, nil
		})
		token := bed.token(asUser(t.Context(), secret))
		assertHides(t, secret, token, *token, struct{ T *tokensource.Token }{token}, []*tokensource.Token{token}, map[string]any{"t": *token})
		assertShows(t, token, "https://agw.example", token.Fingerprint(), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))

		withoutGateway, err := tokensource.NewToken(secret, time.Time{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		assertHides(t, secret, withoutGateway)
		assertShows(t, withoutGateway, "gateway:none")
		var none *tokensource.Token
		printings(none) // must not panic
	})
}

func TestResponsePrintsNoSecret(t *testing.T) {
	t.Parallel()
	resp := &tokensource.Response{AccessToken: secret, IDToken: secret}
	assertHides(t, secret, resp, *resp, struct{ R *tokensource.Response }{resp}, []tokensource.Response{*resp})
}

func TestSourcePrintsNoSecret(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := responseLivingFor(time.Hour)
			resp.AccessToken = secret
			return resp, nil
		})
		user := bed.source.For(tokensource.UserSubject(secret).In("acme"))
		bed.calls.Add(1)
		token, err := user.AccessToken(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fixed := newFixed(t, oauth2.StaticTokenSource(token.OAuth2()))
		if _, err := fixed.AccessToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		assertHides(t, secret, bed.source, *bed.source, user, *user, fixed, bed.source.Stats(), bed.events.all())
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if text := fmt.Sprintf(verb, user); text != `source{flow:scripted default:{tenant:"acme" user}}` {
				t.Errorf("a source printed by %s: got %s, want its flow and its default subject", verb, text)
			}
		}
		var none *tokensource.Source
		printings(none) // must not panic
		printings(&tokensource.Source{})
	})
}

// A request prints its context by the fields, which have no methods there.
func TestRequestPrintsNoSecret(t *testing.T) {
	t.Parallel()
	ctx := tokensource.WithUserToken(t.Context(), secret)
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	for _, ctx := range []context.Context{ctx, child} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://agw.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		assertHides(t, secret, req, *req)
	}
}
