package tokenservice

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                  0,
		"0":                                 0,
		"3":                                 3 * time.Second,
		" 3 ":                               3 * time.Second,
		"007":                               7 * time.Second,
		"599":                               599 * time.Second,
		"601":                               maxRetryAfter,
		"9223372036854775807":               maxRetryAfter,
		strings.Repeat("9", 100):            maxRetryAfter,
		"-3":                                0,
		"+3":                                0,
		"3.5":                               0,
		"3s":                                0,
		"soon":                              0,
		"0x10":                              0,
		"Wed, 02 Jan 2030 03:04:15 GMT":     10 * time.Second,
		"Wednesday, 02-Jan-30 03:04:15 GMT": 10 * time.Second,
		"Wed Jan  2 03:04:15 2030":          10 * time.Second,
		"Wed, 02 Jan 2030 03:04:05 GMT":     0,
		"Wed, 02 Jan 2030 03:04:04 GMT":     0,
		"Wed, 02 Jan 2999 03:04:05 GMT":     maxRetryAfter,
		"Wed, 02 Jan 1970 03:04:05 GMT":     0,
		"Wed, 32 Jan 2030 03:04:05 GMT":     0,
	} {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("Retry-After: %q at %v: got %v, want %v", value, now, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"3", "-1", "99999999999999999999", "Wed, 02 Jan 2030 03:04:15 GMT", "Wed, 02 Jan 0000 00:00:00 GMT"} {
		f.Add(value, int64(0))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		got := parseRetryAfter(value, time.Unix(now, 0))
		if got < 0 || got > maxRetryAfter {
			t.Fatalf("Retry-After: %q is %v, want 0 to %v", value, got, maxRetryAfter)
		}
		_, err := http.ParseTime(strings.TrimSpace(value))
		digits := strings.Trim(strings.TrimSpace(value), "0123456789") == ""
		if got != 0 && err != nil && !digits {
			t.Fatalf("Retry-After: %q is neither seconds nor a date, but taken for %v", value, got)
		}
	})
}
