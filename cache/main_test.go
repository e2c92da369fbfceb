package cache_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agwgo/agw/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// epoch is the wall clock's reading of now, a whole second, so that lifetimes
// computed from epoch seconds are exact.
const epoch = 1767323045 // 2026-01-02T03:04:05Z

var now = cache.At(time.Hour, time.Unix(epoch, 0))

// unsigned returns an unsecured JWT, dot included, with the given payload.
func unsigned(payload string) string {
	return encode(`{"alg":"none"}`) + "." + encode(payload) + "."
}

// withExp returns a JWT whose exp claim is the given JSON value.
func withExp(exp string) string { return unsigned(`{"sub":"u","exp":` + exp + `}`) }

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// settings returns s with its defaults.
func settings(t testing.TB, s cache.Settings) cache.Settings {
	t.Helper()
	s, err := s.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// in returns a response that expires after d.
func in(d time.Duration) cache.TokenResponse {
	raw, _ := json.Marshal(d.Seconds())
	return cache.TokenResponse{ExpiresIn: raw}
}
