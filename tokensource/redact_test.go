package tokensource_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

func logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// tellsNothing fails the test if any way of printing values shows secret.
func tellsNothing(t *testing.T, secret string, values ...any) {
	t.Helper()
	for _, v := range values {
		for form, text := range printed(v) {
			if strings.Contains(text, secret) {
				t.Errorf("%s of a %T shows the secret: %s", form, v, text)
			}
		}
	}
}

func printed(v any) map[string]string {
	forms := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		forms[verb] = fmt.Sprintf(verb, v)
	}
	if b, err := json.Marshal(v); err == nil {
		forms["json"] = string(b)
	}
	var text, structured strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", v)
	logger(&structured).Info("x", "v", v)
	forms["slog text"], forms["slog json"] = text.String(), structured.String()
	return forms
}

// Nothing that a user can print shows a token.
func TestTypesTellNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, h *harness) {
		h.does(func(context.Context, tokensource.Subject) (*tokensource.Response, error) {
			resp := response(time.Hour)
			resp.AccessToken = secret
			return resp, nil
		})
		ctx := user(t.Context(), secret)
		g := h.mustGrant(ctx)
		subject := tokensource.Subject{Tenant: "acme", UserToken: secret}
		resp := &tokensource.Response{TokenResponse: cache.TokenResponse{AccessToken: secret, IDToken: secret}}
		f := fixed(t, oauth2.StaticTokenSource(g.Token()))
		if _, err := f.Grant(t.Context()); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://agw.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		tellsNothing(t, secret, req, *req, struct{ Ctx context.Context }{ctx},
			g, *g, struct{ G *tokensource.Grant }{g}, []*tokensource.Grant{g}, map[string]any{"g": *g},
			subject, &subject, struct{ S tokensource.Subject }{subject}, map[tokensource.Subject]int{subject: 1},
			resp, *resp, h.Source, *h.Source, h.For(subject), f, ctx, h.Stats(), h.events.list())
		for _, text := range printed(subject) {
			if !strings.Contains(text, "acme") || !strings.Contains(text, "user") {
				t.Errorf("a subject prints as %s", text)
			}
		}
		for _, text := range printed(g) {
			if !strings.Contains(text, "https://agw.example") || !strings.Contains(text, g.Fingerprint()) {
				t.Errorf("a grant prints as %s", text)
			}
		}
	})
}

// A grant without a gateway, and none at all, print as well.
func TestPrintNothing(t *testing.T) {
	t.Parallel()
	var none *tokensource.Grant
	printed(none)
	g, err := tokensource.NewGrant(secret, time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range printed(g) {
		if !strings.Contains(text, "gateway:none") {
			t.Errorf("a grant without a gateway prints as %s", text)
		}
	}
	for _, text := range printed(tokensource.Subject{}) {
		if !strings.Contains(text, "technical") {
			t.Errorf("the zero subject prints as %s", text)
		}
	}
}
