package tokensource

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/cache"
)

// The monotonic clock stands still while a machine is suspended, and the wall clock can be
// stepped back. Neither makes a foreign source's token valid again.
func TestFixedReadsBothClocks(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name      string
		mono      time.Duration
		wall      time.Duration
		wantError bool
	}{
		{"59 minutes later", 59 * time.Minute, 59 * time.Minute, false},
		{"an hour later", time.Hour, time.Hour, true},
		{"after two hours of suspension", time.Second, 2 * time.Hour, true},
		{"an hour later, with the wall clock two hours back", time.Hour, -time.Hour, true},
	} {
		token := &oauth2.Token{AccessToken: "one", Expiry: start.Add(time.Hour)}
		fixed, err := Fixed(oauth2.StaticTokenSource(token), "https://agw.example")
		if err != nil {
			t.Fatal(err)
		}
		now := cache.At(0, start)
		fixed.now = func() cache.Instant { return now }
		if _, err := fixed.AccessToken(t.Context()); err != nil {
			t.Fatalf("a new token: %v", err)
		}
		now = cache.At(c.mono, start.Add(c.wall))
		if _, err := fixed.AccessToken(t.Context()); errors.Is(err, ErrExpired) != c.wantError {
			t.Errorf("a token of an hour, %s: got error %v, want ErrExpired: %t", c.name, err, c.wantError)
		}
	}
}
