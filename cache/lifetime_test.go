package cache_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

// fallback is no life that any case below asks for.
const fallback = 77 * time.Second

// skipped as the life of a case means that the value tells nothing.
const skipped time.Duration = 0

// checkLife checks how long a token lives that came with r, irrespective of any
// buffer.
func checkLife(t *testing.T, r cache.TokenResponse, want time.Duration) {
	t.Helper()
	if want == skipped {
		want = fallback
	}
	s := settings(t, cache.Settings{FallbackTTL: fallback, ExpiryBuffer: cache.NoExpiryBuffer})
	l := s.Lifetime(r, "", now)
	if l.Arrival != now {
		t.Errorf("arrival is %v, want %v", l.Arrival, now)
	}
	got := now.Until(l.Expiry)
	if diff := got - want; diff < -time.Microsecond || diff > time.Microsecond {
		t.Errorf("life is %v, want %v", got, want)
	}
	if l.Deadline != l.Expiry {
		t.Errorf("usable for %v of %v, want all of it without a buffer", l.Usable(), got)
	}
}

// noNumbers are JSON values that say nothing wherever a number of seconds is due.
var noNumbers = []string{
	`true`, `false`, `null`, `{}`, `{"seconds":60}`, `[]`, `[60]`,
	`""`, `" "`, `"soon"`, `"60 s"`, `"60s"`, `"1h"`, `"6 0"`, `"1,5"`, `"60;"`,
	`"NaN"`, `"nan"`, `"+NaN"`, `"Inf"`, `"+Inf"`, `"-inf"`, `"Infinity"`, `"-Infinity"`, `"infinity"`,
	`"0x3c"`, `"0X1p4"`, `"0b11"`, `"0o74"`, `"1_000"`, `"1__0"`, `"_60"`,
	`"e"`, `"e5"`, `"."`, `"-"`, `"+-1"`, `"--1"`, `"1-"`, `"1e"`, `"1.2.3"`, `"1e2e3"`,
	`"٦٠"`, `"60`, "\"6\x000\"",
	// What is no JSON at all, as a TokenResponse made by hand could have it.
	``, ` `, `NaN`, `Infinity`, `-Infinity`, `-`, `1_000`, `0x3c`, `60 s`, `None`, `+60`, `.5`,
}

func TestExpiresIn(t *testing.T) {
	t.Parallel()
	huge := "1" + strings.Repeat("0", 400)
	tests := map[string]time.Duration{
		`60`:                     time.Minute,
		` 60 `:                   time.Minute,
		`60.0`:                   time.Minute,
		`1.5`:                    1500 * time.Millisecond,
		`6e1`:                    time.Minute,
		`6E+1`:                   time.Minute,
		`600e-1`:                 time.Minute,
		`0.000001`:               time.Microsecond,
		`"60"`:                   time.Minute,
		`" 60 "`:                 time.Minute,
		"\"\\t60\\r\\n\"":        time.Minute,
		`"60.25"`:                60*time.Second + 250*time.Millisecond,
		`".5"`:                   500 * time.Millisecond,
		`"5."`:                   5 * time.Second,
		`"+60"`:                  time.Minute,
		`"6e1"`:                  time.Minute,
		`"0060"`:                 time.Minute,
		`"\u0036\u0030"`:         time.Minute,
		`-60`:                    -time.Minute,
		`"-60"`:                  -time.Minute,
		`" -1.5 "`:               -1500 * time.Millisecond,
		`86400`:                  cache.MaxLifetime,
		`86401`:                  cache.MaxLifetime,
		`3600000`:                cache.MaxLifetime, // milliseconds
		`9223372036854775808`:    cache.MaxLifetime,
		`-9223372036854775809`:   -cache.MaxLifetime,
		`1e400`:                  cache.MaxLifetime,
		`-1e400`:                 -cache.MaxLifetime,
		`"1e400"`:                cache.MaxLifetime,
		`"-1e400"`:               -cache.MaxLifetime,
		huge:                     cache.MaxLifetime,
		"-" + huge:               -cache.MaxLifetime,
		`"` + huge + `"`:         cache.MaxLifetime,
		huge + `.5`:              cache.MaxLifetime,
		`1e999999999`:            cache.MaxLifetime,
		`1.7976931348623157e308`: cache.MaxLifetime,
	}
	for _, raw := range noNumbers {
		tests[raw] = skipped
	}
	for raw, want := range tests {
		t.Run(name(raw), func(t *testing.T) {
			t.Parallel()
			checkLife(t, cache.TokenResponse{ExpiresIn: json.RawMessage(raw)}, want)
		})
	}
}

// A life of zero is told apart from one that is not told.
func TestExpiresInZero(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`0`, `-0`, `0.0`, `0e5`, `"0"`, `1e-400`} {
		l := settings(t, cache.Settings{}).Lifetime(cache.TokenResponse{ExpiresIn: json.RawMessage(raw)}, "", now)
		if l.Deadline != now || l.Expiry != now {
			t.Errorf("%s: usable for %v, want 0", raw, l.Usable())
		}
	}
}

func TestExpiresAtSeconds(t *testing.T) {
	t.Parallel()
	tests := map[string]time.Duration{
		`1767323105`:                   time.Minute,
		`1767323105.0`:                 time.Minute,
		`1767323105.5`:                 time.Minute + 500*time.Millisecond,
		`1.767323105e9`:                time.Minute,
		`"1767323105"`:                 time.Minute,
		`" 1767323105 "`:               time.Minute,
		`"1767323105.25"`:              time.Minute + 250*time.Millisecond,
		`1767322985`:                   -time.Minute,
		`0`:                            -cache.MaxLifetime,
		`-1`:                           -cache.MaxLifetime,
		`60`:                           -cache.MaxLifetime, // expires_in in the wrong place
		`1767323105000`:                cache.MaxLifetime,  // milliseconds
		`253402300799`:                 cache.MaxLifetime,  // the end of year 9999
		`253402300800`:                 cache.MaxLifetime,  // the year 10000
		`1e400`:                        cache.MaxLifetime,
		`-1e400`:                       -cache.MaxLifetime,
		`"1e400"`:                      cache.MaxLifetime,
		`18446744073709551616`:         cache.MaxLifetime,
		"1" + strings.Repeat("0", 400): cache.MaxLifetime,
	}
	for _, raw := range noNumbers {
		tests[raw] = skipped
	}
	for raw, want := range tests {
		t.Run(name(raw), func(t *testing.T) {
			t.Parallel()
			checkLife(t, cache.TokenResponse{ExpiresAt: json.RawMessage(raw)}, want)
		})
	}
}

func TestExpiresAtISO8601(t *testing.T) {
	t.Parallel()
	tests := map[string]time.Duration{
		"2026-01-02T03:05:05Z":              time.Minute,
		"2026-01-02T03:05:05":               time.Minute, // no offset: UTC
		"2026-01-02 03:05:05":               time.Minute,
		"2026-01-02 03:05:05Z":              time.Minute,
		"2026-01-02t03:05:05z":              time.Minute,
		" 2026-01-02T03:05:05Z ":            time.Minute,
		"2026-01-02T03:05:05+00:00":         time.Minute,
		"2026-01-02T03:05:05-00:00":         time.Minute,
		"2026-01-02T04:05:05+01:00":         time.Minute,
		"2026-01-01T22:05:05-05:00":         time.Minute,
		"2026-01-02T08:35:05+05:30":         time.Minute,
		"2026-01-02T04:05:05+0100":          time.Minute,
		"2026-01-02T04:05:05+01":            time.Minute,
		"2026-01-02T03:05Z":                 55 * time.Second,
		"2026-01-02T03:05":                  55 * time.Second,
		"2026-01-02T04:05+01:00":            55 * time.Second,
		"2026-01-02T03:05:05.5Z":            time.Minute + 500*time.Millisecond,
		"2026-01-02T03:05:05,5Z":            time.Minute + 500*time.Millisecond,
		"2026-01-02T03:05:05.123456":        time.Minute + 123456*time.Microsecond,
		"2026-01-02T03:05:05.000000001Z":    time.Minute,
		"2026-01-02T04:05:05.250+01:00":     time.Minute + 250*time.Millisecond,
		"2026-01-02T03:03:05Z":              -time.Minute,
		"0001-01-01T00:00:00Z":              -cache.MaxLifetime,
		"0000-01-01T00:00:00Z":              -cache.MaxLifetime,
		"2300-01-01T00:00:00Z":              cache.MaxLifetime, // beyond what nanoseconds in 64 bits can say
		"9999-12-31T23:59:59Z":              cache.MaxLifetime,
		"9999-12-31T23:59:59-23:59":         cache.MaxLifetime,
		"10000-01-01T00:00:00Z":             skipped,
		"+10000-01-01T00:00:00Z":            skipped,
		"-0001-01-01T00:00:00Z":             skipped,
		"2026-01-02":                        skipped,
		"2026-13-02T03:05:05Z":              skipped,
		"2026-02-30T03:05:05Z":              skipped,
		"2026-01-02T25:05:05Z":              skipped,
		"2026-01-02T03:05:05+99:00":         skipped,
		"2026-01-02T03:05:05 UTC":           skipped,
		"2026-01-02T03:05:05Z and more":     skipped,
		"2026/01/02 03:05:05":               skipped,
		"Fri, 02 Jan 2026 03:05:05 GMT":     skipped,
		"tomorrow":                          skipped,
		"tomorrow, perhaps":                 skipped,
		strings.Repeat("ı", 8):              skipped, // shorter in upper case
		strings.Repeat("ß", 8):              skipped,
		strings.Repeat("2026-01-02T", 9999): skipped,
	}
	for text, want := range tests {
		t.Run(name(text), func(t *testing.T) {
			t.Parallel()
			raw, _ := json.Marshal(text)
			checkLife(t, cache.TokenResponse{ExpiresAt: raw}, want)
		})
	}
}

func TestExpClaim(t *testing.T) {
	t.Parallel()
	tests := map[string]time.Duration{
		`1767323105`:             time.Minute,
		`1767323105.5`:           time.Minute + 500*time.Millisecond,
		`1.767323105e9`:          time.Minute,
		`"1767323105"`:           time.Minute,
		`" 1767323105 "`:         time.Minute,
		`1767322985`:             -time.Minute,
		`0`:                      -cache.MaxLifetime,
		`1767323105000`:          cache.MaxLifetime,
		`1e400`:                  cache.MaxLifetime,
		`-1e400`:                 -cache.MaxLifetime,
		`"2026-01-02T03:05:05Z"`: skipped,
	}
	for _, raw := range noNumbers {
		tests[raw] = skipped
	}
	for raw, want := range tests {
		t.Run(name(raw), func(t *testing.T) {
			t.Parallel()
			checkLife(t, cache.TokenResponse{AccessToken: withExp(raw)}, want)
			checkLife(t, cache.TokenResponse{IDToken: withExp(raw)}, want)
		})
	}
}

func TestJWTShapes(t *testing.T) {
	t.Parallel()
	claims := encode(`{"exp":1767323105}`)
	tests := map[string]struct {
		token string
		want  time.Duration
	}{
		"two parts":            {"h." + claims, time.Minute},
		"three parts":          {"h." + claims + ".s", time.Minute},
		"five parts":           {"h." + claims + ".i.c.t", time.Minute},
		"unsecured":            {"h." + claims + ".", time.Minute},
		"no header":            {"." + claims + ".s", time.Minute},
		"one part":             {claims, skipped},
		"four parts":           {"h." + claims + ".s.x", skipped},
		"six parts":            {"h." + claims + ".i.c.t.x", skipped},
		"many dots":            {strings.Repeat(".", 1<<16), skipped},
		"empty":                {"", skipped},
		"opaque":               {"0f8fad5b-d9cb-469f-a165-70867728950e", skipped},
		"empty payload":        {"h..s", skipped},
		"padding":              {"h." + encode(`{"exp":1767323105 }`) + "=.s", time.Minute},
		"double padding":       {"h." + encode(`{"exp":1767323105  }`) + "==.s", time.Minute},
		"padding within":       {"h.eyJ=leHAiOjE3NjczMjMxMDV9.s", skipped},
		"base64url alphabet":   {unsigned(`{"a":"~~~???","b":"þÿ","exp":1767323105}`), time.Minute},
		"no base64url":         {"h.!" + claims + ".s", skipped},
		"standard alphabet":    {"h.eyJhIjoifn5+Pz8/IiwiZXhwIjoxNzY3MzIzMTA1fQ.s", skipped},
		"no UTF-8":             {unsigned("{\"a\":\"\xff\xfe\",\"exp\":1767323105}"), skipped},
		"no JSON":              {unsigned(`exp=1767323105`), skipped},
		"cut JSON":             {unsigned(`{"exp":1767323105`), skipped},
		"more than JSON":       {unsigned(`{"exp":1767323105}{}`), skipped},
		"array":                {unsigned(`["exp",1767323105]`), skipped},
		"string":               {unsigned(`"exp"`), skipped},
		"number":               {unsigned(`1767323105`), skipped},
		"null":                 {unsigned(`null`), skipped},
		"no exp":               {unsigned(`{"iat":1767323105}`), skipped},
		"Exp":                  {unsigned(`{"Exp":1767323105}`), skipped},
		"exp within":           {unsigned(`{"ctx":{"exp":1767323105}}`), skipped},
		"exp twice":            {unsigned(`{"exp":1,"exp":1767323105}`), time.Minute},
		"nested without limit": {unsigned(strings.Repeat(`{"a":`, 20000) + `1` + strings.Repeat(`}`, 20000)), skipped},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkLife(t, cache.TokenResponse{AccessToken: tt.token}, tt.want)
			checkLife(t, cache.TokenResponse{IDToken: tt.token}, tt.want)
		})
	}
}

// The first source that tells something counts, whatever the later ones tell.
func TestOrderOfSources(t *testing.T) {
	t.Parallel()
	r := cache.TokenResponse{
		ExpiresAt:   cache.Seconds(epoch + 10),
		ExpiresIn:   cache.Seconds(20),
		AccessToken: withExp(fmt.Sprint(epoch + 30)),
		IDToken:     withExp(fmt.Sprint(epoch + 40)),
	}
	checkLife(t, r, 10*time.Second)
	r.ExpiresAt = json.RawMessage(`"later"`)
	checkLife(t, r, 20*time.Second)
	r.ExpiresIn = json.RawMessage(`true`)
	checkLife(t, r, 30*time.Second)
	r.AccessToken = withExp(`{}`)
	checkLife(t, r, 40*time.Second)
	r.IDToken = withExp(`null`)
	checkLife(t, r, skipped)

	past := cache.TokenResponse{ExpiresAt: cache.Seconds(epoch - 10), ExpiresIn: cache.Seconds(20)}
	checkLife(t, past, -10*time.Second)
}

// name shortens what would make a test's name unreadable.
func name(raw string) string { return fmt.Sprintf("%.40q", raw) }
