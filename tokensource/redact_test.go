package tokensource_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
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
