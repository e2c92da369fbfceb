package tokensource

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

// The tests of this file are about responses that arrive at this moment. It is a whole
// second, so that lifetimes computed from epoch seconds are exact.
const arrivalEpoch = 1767323045 // 2026-01-02T03:04:05Z

var arrival = cache.At(time.Hour, time.Unix(arrivalEpoch, 0))

const day = 24 * time.Hour

// completed returns s with its defaults.
func completed(t testing.TB, s Settings) *Settings {
	t.Helper()
	s, err := s.WithDefaults()
	if err != nil {
		t.Fatalf("the settings of the test are invalid: %v", err)
	}
	return &s
}

func base64url(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// unsecuredJWT returns an unsecured JWT with the given payload.
func unsecuredJWT(payload string) string {
	return base64url(`{"alg":"none"}`) + "." + base64url(payload) + "."
}

// jwtWithExp returns a JWT whose exp claim is the given JSON value.
func jwtWithExp(exp string) string { return unsecuredJWT(`{"sub":"u","exp":` + exp + `}`) }

// jwtExpiringIn returns a JWT that expires so many seconds after arrival.
func jwtExpiringIn(sec int) string { return jwtWithExp(fmt.Sprint(arrivalEpoch + sec)) }

// seconds returns n as a JSON number.
func seconds(n int64) json.RawMessage { return fmt.Append(nil, n) }

// responseLivingFor returns a response with an expires_in of d.
func responseLivingFor(d time.Duration) *Response {
	raw, _ := json.Marshal(d.Seconds())
	return &Response{ExpiresIn: raw}
}

// caseName shortens raw to what is readable as the name of a test.
func caseName(raw string) string { return fmt.Sprintf("%.40q", raw) }

// assertConsistent checks what holds for every lifetime of a token that arrived at
// arrival.
func assertConsistent(t *testing.T, s *Settings, l lifetime, ok bool) {
	t.Helper()
	life := arrival.Until(l.expiry)
	if life < -day || life > day {
		t.Errorf("the token lives for %v, want at most %v (or expired since then)", life, day)
	}
	if l.expiry != arrival.Add(life) {
		t.Error("the clocks disagree about the expiry")
	}
	if want := life > 0 && (life > 1 || s.ExpiryBuffer == 0); ok != want { // of 1 ns there is no half
		t.Errorf("a token that lives for %v can be used: %v, want %v", life, ok, want)
	}
	if !ok {
		return
	}
	usable := arrival.Until(l.bufferAt)
	if usable <= 0 || usable > life || usable < min(life, s.ExpiryBuffer)/2 {
		t.Errorf("a token that lives for %v reaches its buffer after %v", life, usable)
	}
	if renewal := arrival.Until(l.renewAt); renewal < usable*45/100-1 || renewal > usable {
		t.Errorf("a token with a usable life of %v is renewed after %v, want between 45 %% of it and its end", usable, renewal)
	}
	if l.bufferAt != arrival.Add(usable) || l.renewAt != arrival.Add(arrival.Until(l.renewAt)) {
		t.Error("the clocks disagree about the renewal")
	}
}

// assertUnusable checks the lifetime of a token that expired so long ago on arrival.
func assertUnusable(t *testing.T, l lifetime, ok bool, life time.Duration) {
	t.Helper()
	if ok {
		t.Errorf("a token with %v left can be used", life)
	}
	if want := (lifetime{expiry: arrival.Add(life)}); l != want {
		t.Errorf("a token with %v left has the lifetime %+v, want only its expiry: %+v", life, l, want)
	}
}

func TestExpiryBuffer(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for _, test := range []struct {
		name         string
		buffer, life time.Duration
		want         time.Duration // until the buffer begins
	}{
		{"an hour", 30 * second, 3600 * second, 3570 * second},
		{"a day", 30 * second, day, day - 30*second},
		{"more than a day", 30 * second, 10 * day, day - 30*second},
		{"just above one and a half buffers", 30 * second, 46 * second, 16 * second},
		{"one and a half buffers", 30 * second, 45 * second, 15 * second},
		{"between one buffer and one and a half", 30 * second, 40 * second, 15 * second},
		{"just above a buffer", 30 * second, 31 * second, 15 * second},
		{"a buffer", 30 * second, 30 * second, 15 * second},
		{"less than a buffer", 30 * second, 20 * second, 10 * second},
		{"next to nothing", 30 * second, 2 * time.Millisecond, time.Millisecond},
		{"nothing", 30 * second, 0, 0},
		{"expired", 30 * second, -10 * second, 0},
		{"expired long ago", 30 * second, -10 * day, 0},
		{"a minute with a buffer of an hour", 3600 * second, 60 * second, 30 * second},
		{"no buffer", NoExpiryBuffer, 60 * second, 60 * second},
		{"no buffer, expired", NoExpiryBuffer, -60 * second, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := completed(t, Settings{ExpiryBuffer: test.buffer, FallbackTTL: 2 * time.Hour})
			l, ok := s.newLifetime(responseLivingFor(test.life), "", arrival)
			assertConsistent(t, s, l, ok)
			if test.life <= 0 {
				assertUnusable(t, l, ok, max(test.life, -day))
				return
			}
			if got := arrival.Until(l.bufferAt); got != test.want {
				t.Errorf("the buffer begins after %v, want %v", got, test.want)
			}
			if got, want := arrival.Until(l.expiry), min(test.life, day); got != want {
				t.Errorf("the token expires after %v, want %v", got, want)
			}
		})
	}
}

// The expiry that a service tells is exact, and needs a buffer. The fallback is a guess
// that is meant to be short enough already.
func TestEveryExpiryButTheFallbackHasABuffer(t *testing.T) {
	t.Parallel()
	exp := fmt.Sprint(arrivalEpoch + 600)
	for name, test := range map[string]struct {
		response     *Response
		buffer, life time.Duration
	}{
		"expires_at, seconds":  {&Response{ExpiresAt: seconds(arrivalEpoch + 600)}, 570 * time.Second, 600 * time.Second},
		"expires_at, ISO 8601": {&Response{ExpiresAt: []byte(`"2026-01-02T03:14:05Z"`)}, 570 * time.Second, 600 * time.Second},
		"expires_in":           {&Response{ExpiresIn: seconds(600)}, 570 * time.Second, 600 * time.Second},
		"access token":         {&Response{AccessToken: jwtWithExp(exp)}, 570 * time.Second, 600 * time.Second},
		"id token":             {&Response{IDToken: jwtWithExp(exp)}, 570 * time.Second, 600 * time.Second},
		"fallback":             {&Response{AccessToken: "opaque"}, 300 * time.Second, 300 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := completed(t, Settings{})
			l, ok := s.newLifetime(test.response, "", arrival)
			assertConsistent(t, s, l, ok)
			if got := arrival.Until(l.bufferAt); got != test.buffer {
				t.Errorf("the buffer begins after %v, want %v", got, test.buffer)
			}
			if got := arrival.Until(l.expiry); got != test.life {
				t.Errorf("the token expires after %v, want %v", got, test.life)
			}
		})
	}
}

// A token that ends with the user token has no expiry buffer, because it is not renewed.
func TestExchangedTokenNeverOutlivesTheUserToken(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for _, test := range []struct {
		name         string
		response     *Response
		userToken    string
		buffer, life time.Duration
	}{
		{"the user token lives longer", responseLivingFor(600 * second), jwtExpiringIn(601), 570 * second, 600 * second},
		{"the user token lives as long", responseLivingFor(600 * second), jwtExpiringIn(600), 600 * second, 600 * second},
		{"the user token expires first", responseLivingFor(600 * second), jwtExpiringIn(500), 500 * second, 500 * second},
		{"the user token has less than a buffer left", responseLivingFor(600 * second), jwtExpiringIn(20), 20 * second, 20 * second},
		{"the user token has little more than a buffer left", responseLivingFor(600 * second), jwtExpiringIn(40), 40 * second, 40 * second},
		{"the user token has expired", responseLivingFor(600 * second), jwtExpiringIn(-5), 0, -5 * second},
		{"the user token expires now", responseLivingFor(600 * second), jwtExpiringIn(0), 0, 0},
		{"fallback, the user token lives longer", &Response{}, jwtExpiringIn(301), 300 * second, 300 * second},
		{"fallback, the user token expires first", &Response{}, jwtExpiringIn(200), 200 * second, 200 * second},
		{"the access token has expired", responseLivingFor(-5 * second), jwtExpiringIn(500), 0, -5 * second},
		{"the user token is opaque", responseLivingFor(600 * second), "opaque", 570 * second, 600 * second},
		{"the user token has no exp", responseLivingFor(600 * second), unsecuredJWT(`{"sub":"u"}`), 570 * second, 600 * second},
		{"the exp of the user token is not a number", responseLivingFor(600 * second), jwtWithExp(`"soon"`), 570 * second, 600 * second},
		{"the exp of the user token is absurd", responseLivingFor(600 * second), jwtWithExp(`1e400`), 570 * second, 600 * second},
		{"no user token", responseLivingFor(600 * second), "", 570 * second, 600 * second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := completed(t, Settings{})
			l, ok := s.newLifetime(test.response, test.userToken, arrival)
			assertConsistent(t, s, l, ok)
			if test.life <= 0 {
				assertUnusable(t, l, ok, test.life)
				return
			}
			if got := arrival.Until(l.bufferAt); got != test.buffer {
				t.Errorf("the buffer begins after %v, want %v", got, test.buffer)
			}
			if got := arrival.Until(l.expiry); got != test.life {
				t.Errorf("the token expires after %v, want %v", got, test.life)
			}
		})
	}
}

// A token does not lose by living longer.
func TestUsableLifeGrowsWithLife(t *testing.T) {
	t.Parallel()
	s := completed(t, Settings{})
	longest := time.Duration(0)
	for life := 500 * time.Millisecond; life < 300*time.Second; life += 500 * time.Millisecond {
		l, ok := s.newLifetime(responseLivingFor(life), "", arrival)
		usable := arrival.Until(l.bufferAt)
		if !ok || usable < longest {
			t.Fatalf("a token that lives for %v reaches its buffer after %v, one that lives shorter after %v", life, usable, longest)
		}
		longest = usable
	}
}

// fallback is a life that no case below asks for.
const fallback = 77 * time.Second

// notTold as the life of a case means that the value tells nothing.
const notTold time.Duration = 0

// assertLife checks how long a token lives that came with r, irrespective of any buffer.
func assertLife(t *testing.T, r *Response, want time.Duration) {
	t.Helper()
	if want == notTold {
		want = fallback
	}
	s := completed(t, Settings{FallbackTTL: fallback, ExpiryBuffer: NoExpiryBuffer})
	l, ok := s.newLifetime(r, "", arrival)
	assertConsistent(t, s, l, ok)
	got := arrival.Until(l.expiry)
	if diff := got - want; diff < -time.Microsecond || diff > time.Microsecond {
		t.Errorf("the token lives for %v, want %v", got, want)
	}
	if ok != (want > 0) {
		t.Errorf("a token that lives for %v can be used: %v", got, ok)
	}
	if ok && l.bufferAt != l.expiry {
		t.Errorf("the buffer begins after %v of %v, want no buffer", arrival.Until(l.bufferAt), got)
	}
}

// notNumbers are JSON values that tell nothing where a number of seconds is expected.
var notNumbers = []string{
	`true`, `false`, `null`, `{}`, `{"seconds":60}`, `[]`, `[60]`,
	`""`, `" "`, `"soon"`, `"60 s"`, `"60s"`, `"1h"`, `"6 0"`, `"1,5"`, `"60;"`,
	`"NaN"`, `"nan"`, `"+NaN"`, `"Inf"`, `"+Inf"`, `"-inf"`, `"Infinity"`, `"-Infinity"`, `"infinity"`,
	`"0x3c"`, `"0X1p4"`, `"0b11"`, `"0o74"`, `"1_000"`, `"1__0"`, `"_60"`,
	`"e"`, `"e5"`, `"."`, `"-"`, `"+-1"`, `"--1"`, `"1-"`, `"1e"`, `"1.2.3"`, `"1e2e3"`,
	`"٦٠"`, `"60`, "\"6\x000\"",
	// What is not JSON at all, as a Response made by hand could have it.
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
		`86400`:                  day,
		`86401`:                  day,
		`3600000`:                day, // milliseconds
		`9223372036854775808`:    day,
		`-9223372036854775809`:   -day,
		`1e400`:                  day,
		`-1e400`:                 -day,
		`"1e400"`:                day,
		`"-1e400"`:               -day,
		huge:                     day,
		"-" + huge:               -day,
		`"` + huge + `"`:         day,
		huge + `.5`:              day,
		`1e999999999`:            day,
		`1.7976931348623157e308`: day,
	}
	for _, raw := range notNumbers {
		tests[raw] = notTold
	}
	for raw, want := range tests {
		t.Run(caseName(raw), func(t *testing.T) {
			t.Parallel()
			assertLife(t, &Response{ExpiresIn: json.RawMessage(raw)}, want)
		})
	}
}

// A life of zero is not the same as one that is not told.
func TestExpiresInZero(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`0`, `-0`, `0.0`, `0e5`, `"0"`, `1e-400`} {
		t.Run(caseName(raw), func(t *testing.T) {
			t.Parallel()
			l, ok := completed(t, Settings{}).newLifetime(&Response{ExpiresIn: json.RawMessage(raw)}, "", arrival)
			assertUnusable(t, l, ok, 0)
		})
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
		`0`:                            -day,
		`-1`:                           -day,
		`60`:                           -day, // expires_in in the wrong place
		`1767323105000`:                day,  // milliseconds
		`253402300799`:                 day,  // the end of the year 9999
		`253402300800`:                 day,  // the year 10000
		`1e400`:                        day,
		`-1e400`:                       -day,
		`"1e400"`:                      day,
		`18446744073709551616`:         day,
		"1" + strings.Repeat("0", 400): day,
	}
	for _, raw := range notNumbers {
		tests[raw] = notTold
	}
	for raw, want := range tests {
		t.Run(caseName(raw), func(t *testing.T) {
			t.Parallel()
			assertLife(t, &Response{ExpiresAt: json.RawMessage(raw)}, want)
		})
	}
}

func TestExpiresAtISO8601(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
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
		"0001-01-01T00:00:00Z":              -day,
		"0000-01-01T00:00:00Z":              -day,
		"2300-01-01T00:00:00Z":              day, // beyond what nanoseconds in 64 bits can say
		"9999-12-31T23:59:59Z":              day,
		"9999-12-31T23:59:59-23:59":         day,
		"10000-01-01T00:00:00Z":             notTold,
		"+10000-01-01T00:00:00Z":            notTold,
		"-0001-01-01T00:00:00Z":             notTold,
		"2026-01-02":                        notTold,
		"2026-13-02T03:05:05Z":              notTold,
		"2026-02-30T03:05:05Z":              notTold,
		"2026-01-02T25:05:05Z":              notTold,
		"2026-01-02T03:05:05+99:00":         notTold,
		"2026-01-02T03:05:05 UTC":           notTold,
		"2026-01-02T03:05:05Z and more":     notTold,
		"2026/01/02 03:05:05":               notTold,
		"Fri, 02 Jan 2026 03:05:05 GMT":     notTold,
		"tomorrow":                          notTold,
		"tomorrow, perhaps":                 notTold,
		strings.Repeat("ı", 8):              notTold, // shorter in upper case
		strings.Repeat("ß", 8):              notTold,
		strings.Repeat("2026-01-02T", 9999): notTold,
	} {
		t.Run(caseName(text), func(t *testing.T) {
			t.Parallel()
			raw, _ := json.Marshal(text)
			assertLife(t, &Response{ExpiresAt: raw}, want)
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
		`0`:                      -day,
		`1767323105000`:          day,
		`1e400`:                  day,
		`-1e400`:                 -day,
		`"2026-01-02T03:05:05Z"`: notTold,
	}
	for _, raw := range notNumbers {
		tests[raw] = notTold
	}
	for raw, want := range tests {
		t.Run(caseName(raw), func(t *testing.T) {
			t.Parallel()
			assertLife(t, &Response{AccessToken: jwtWithExp(raw)}, want)
			assertLife(t, &Response{IDToken: jwtWithExp(raw)}, want)
		})
	}
}

func TestFormsOfAJWT(t *testing.T) {
	t.Parallel()
	claims := base64url(`{"exp":1767323105}`)
	for name, test := range map[string]struct {
		token string
		want  time.Duration
	}{
		"two parts":             {"h." + claims, time.Minute},
		"three parts":           {"h." + claims + ".s", time.Minute},
		"five parts":            {"h." + claims + ".i.c.t", time.Minute},
		"unsecured":             {"h." + claims + ".", time.Minute},
		"no header":             {"." + claims + ".s", time.Minute},
		"one part":              {claims, notTold},
		"four parts":            {"h." + claims + ".s.x", notTold},
		"six parts":             {"h." + claims + ".i.c.t.x", notTold},
		"many dots":             {strings.Repeat(".", 1<<16), notTold},
		"empty":                 {"", notTold},
		"opaque":                {"0f8fad5b-d9cb-469f-a165-70867728950e", notTold},
		"empty payload":         {"h..s", notTold},
		"padding":               {"h." + base64url(`{"exp":1767323105 }`) + "=.s", time.Minute},
		"double padding":        {"h." + base64url(`{"exp":1767323105  }`) + "==.s", time.Minute},
		"padding within":        {"h.eyJ=leHAiOjE3NjczMjMxMDV9.s", notTold},
		"base64url alphabet":    {unsecuredJWT(`{"a":"~~~???","b":"þÿ","exp":1767323105}`), time.Minute},
		"not base64url":         {"h.!" + claims + ".s", notTold},
		"standard alphabet":     {"h.eyJhIjoifn5+Pz8/IiwiZXhwIjoxNzY3MzIzMTA1fQ.s", notTold},
		"not UTF-8":             {unsecuredJWT("{\"a\":\"\xff\xfe\",\"exp\":1767323105}"), notTold},
		"byte order mark":       {unsecuredJWT("\ufeff" + `{"exp":1767323105}`), notTold},
		"not JSON":              {unsecuredJWT(`exp=1767323105`), notTold},
		"cut JSON":              {unsecuredJWT(`{"exp":1767323105`), notTold},
		"more than JSON":        {unsecuredJWT(`{"exp":1767323105}{}`), notTold},
		"array":                 {unsecuredJWT(`["exp",1767323105]`), notTold},
		"string":                {unsecuredJWT(`"exp"`), notTold},
		"number":                {unsecuredJWT(`1767323105`), notTold},
		"null":                  {unsecuredJWT(`null`), notTold},
		"no exp":                {unsecuredJWT(`{"iat":1767323105}`), notTold},
		"exp with a capital":    {unsecuredJWT(`{"Exp":1767323105}`), notTold},
		"exp of another object": {unsecuredJWT(`{"ctx":{"exp":1767323105}}`), notTold},
		"exp twice":             {unsecuredJWT(`{"exp":1,"exp":1767323105}`), time.Minute},
		"nested very deeply":    {unsecuredJWT(strings.Repeat(`{"a":`, 20000) + `1` + strings.Repeat(`}`, 20000)), notTold},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assertLife(t, &Response{AccessToken: test.token}, test.want)
			assertLife(t, &Response{IDToken: test.token}, test.want)
			if life, ok := jwtLife(test.token, arrival); life != test.want || ok != (test.want != notTold) {
				t.Errorf("as a user token it lives for %v (told: %v), want %v", life, ok, test.want)
			}
		})
	}
}

// The first source that tells something counts, whatever the later ones tell.
func TestOrderOfExpirySources(t *testing.T) {
	t.Parallel()
	r := Response{
		ExpiresAt:   seconds(arrivalEpoch + 10),
		ExpiresIn:   seconds(20),
		AccessToken: jwtExpiringIn(30),
		IDToken:     jwtExpiringIn(40),
	}
	for _, step := range []struct {
		name  string
		spoil func()
		want  time.Duration
	}{
		{"expires_at counts first", func() {}, 10 * time.Second},
		{"then expires_in", func() { r.ExpiresAt = json.RawMessage(`"later"`) }, 20 * time.Second},
		{"then the access token", func() { r.ExpiresIn = json.RawMessage(`true`) }, 30 * time.Second},
		{"then the id token", func() { r.AccessToken = jwtWithExp(`{}`) }, 40 * time.Second},
		{"then the fallback", func() { r.IDToken = jwtWithExp(`null`) }, notTold},
		{"an expires_at in the past counts", func() { r.ExpiresAt, r.ExpiresIn = seconds(arrivalEpoch-10), seconds(20) }, -10 * time.Second},
	} {
		step.spoil()
		t.Run(step.name, func(t *testing.T) { assertLife(t, &r, step.want) })
	}
}

// Dates count by the wall clock, whatever the monotonic clock says.
func TestDatesCountByTheWallClock(t *testing.T) {
	t.Parallel()
	s := completed(t, Settings{ExpiryBuffer: NoExpiryBuffer})
	for _, mono := range []time.Duration{0, time.Minute, 1000 * time.Hour} {
		now := cache.At(mono, time.Unix(arrivalEpoch, 0))
		l, ok := s.newLifetime(&Response{ExpiresAt: seconds(arrivalEpoch + 60)}, "", now)
		if want := now.Add(time.Minute); !ok || l.expiry != want {
			t.Errorf("with a monotonic reading of %v, a date a minute ahead is %v ahead", mono, now.Until(l.expiry))
		}
	}
}

func FuzzLifetime(f *testing.F) {
	f.Add(`60`, `1767323105`, 30, 300)
	f.Add(`"2026-01-02T03:05:05.5+01:00"`, `" 60 "`, 0, 1)
	f.Add(`"ıııııııı"`, `"1e400"`, 60, 61)
	f.Add(`"NaN"`, `-1e400`, 1, 2)
	f.Add(`1e-9`, `0.000000001`, -1, 2)
	f.Fuzz(func(t *testing.T, expiresAt, expiresIn string, buffer, ttl int) {
		s, err := Settings{
			ExpiryBuffer: time.Duration(buffer) * time.Second,
			FallbackTTL:  time.Duration(ttl) * time.Second,
		}.WithDefaults()
		if err != nil {
			return
		}
		for _, r := range []*Response{
			{ExpiresAt: json.RawMessage(expiresAt), ExpiresIn: json.RawMessage(expiresIn)},
			{ExpiresIn: json.RawMessage(expiresIn)},
			{AccessToken: jwtWithExp(expiresIn)},
			{IDToken: jwtWithExp(expiresIn)},
		} {
			system, systemOK := s.newLifetime(r, "", arrival)
			assertConsistent(t, &s, system, systemOK)
			user, userOK := s.newLifetime(r, jwtWithExp(expiresAt), arrival)
			assertConsistent(t, &s, user, userOK)
			if system.expiry.Before(user.expiry) || userOK && (!systemOK || system.bufferAt.Before(user.bufferAt)) {
				t.Error("the user token made an access token live longer")
			}
		}
	})
}

func FuzzJWTClaims(f *testing.F) {
	f.Add(jwtWithExp("1767323105"), `{"exp":"1767323105"}`)
	f.Add("h.eyJleHAiOjE3NjczMjMxMDV9", `{"exp":1e400}`)
	f.Add("h.eyJleHAiOjE3NjczMjMxMDV9==.i.c.t", `{"exp":{"exp":1}}`)
	f.Add("....", "\xff")
	f.Fuzz(func(t *testing.T, token, payload string) {
		s := completed(t, Settings{})
		for _, jwt := range []string{token, "h." + base64url(payload) + ".s"} {
			l, ok := s.newLifetime(&Response{AccessToken: jwt}, "", arrival)
			assertConsistent(t, s, l, ok)
			l, ok = s.newLifetime(&Response{IDToken: jwt}, token, arrival)
			assertConsistent(t, s, l, ok)
		}
		if parts := strings.Count(token, ".") + 1; (parts == 1 || parts == 4 || parts > 5) && jwtClaims(token) != nil {
			t.Errorf("a token of %d parts has claims: %q", parts, token)
		}
		for name, raw := range jwtClaims("h." + base64url(payload) + ".s") {
			if !json.Valid(raw) || !json.Valid([]byte(payload)) {
				t.Errorf("claim %q is %q, which is not JSON", name, raw)
			}
		}
	})
}

func BenchmarkLifetime(b *testing.B) {
	jwt := unsecuredJWT(`{"exp":1767326645,"sub":"` + strings.Repeat("x", 1000) + `"}`)
	for name, test := range map[string]struct {
		response  *Response
		userToken string
	}{
		"expires_in":         {&Response{ExpiresIn: seconds(3600)}, ""},
		"expires_at":         {&Response{ExpiresAt: []byte(`"2026-01-02T04:04:05Z"`)}, ""},
		"JWT":                {&Response{AccessToken: jwt}, ""},
		"with a user's JWT":  {&Response{ExpiresIn: seconds(3600)}, jwt},
		"nothing understood": {&Response{AccessToken: "opaque"}, ""},
	} {
		b.Run(name, func(b *testing.B) {
			s := completed(b, Settings{})
			b.ReportAllocs()
			for b.Loop() {
				s.newLifetime(test.response, test.userToken, arrival)
			}
		})
	}
}
