package tokensource

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/jsonobject"
)

// maxLifetime is the longest life that is believed of a token. A response that promises
// more (a date past the year 9999, milliseconds in place of seconds) is cut to it.
const maxLifetime = 24 * time.Hour

// A lifetime says for how long a token may be used. All of it is decided when the token
// arrives.
type lifetime struct {
	renewAt  cache.Instant // from here on, the token is renewed in the background
	bufferAt cache.Instant // from here on, callers wait a little for the renewal
	expiry   cache.Instant // from here on, the token is never used
}

// newLifetime decides how long the token of r, which arrived now, may be used. It is
// false if the token cannot be used at all; then only the expiry counts.
//
// The expiry is the first of these that can be understood: expires_at, expires_in, the
// exp claim of the access token, that of the id token, and else the fallback TTL. The
// expiry buffer begins that long before the expiry, except before that of the fallback.
// A token with less life than one and a half buffers would have next to no time before
// its buffer: that time is half a buffer, or half of the token's life if that is shorter.
//
// The exp of userToken, the JWT that was exchanged ("" for a system token), is an upper
// bound of the expiry. A token that ends there is not renewed: a new one would end there,
// too. So it is used to its end.
//
// Claims are read unverified. They only ever shorten the use of a token that the token
// service issued, and decide nothing else.
func (s *Settings) newLifetime(r *Response, userToken string, now cache.Instant) (lifetime, bool) {
	life, told := r.life(now)
	buffer := s.ExpiryBuffer
	if !told {
		life, buffer = s.FallbackTTL, 0
	}
	user, ok := jwtLife(userToken, now)
	capped := ok && user <= life
	if capped {
		life = user
	}
	end := now.Add(life)
	switch {
	case life <= 0:
		return lifetime{expiry: end}, false
	case capped:
		return lifetime{renewAt: end, bufferAt: end, expiry: end}, true
	}
	usable := max(life-buffer, min(life, buffer)/2)
	return lifetime{renewAt: renewalTime(now, usable), bufferAt: now.Add(usable), expiry: end}, usable > 0
}

// life returns how long the token lives from now on according to its response, and false
// if the response does not tell.
func (r *Response) life(now cache.Instant) (time.Duration, bool) {
	if sec, ok := parseSeconds(r.ExpiresAt); ok {
		return sinceEpoch(sec, now), true
	}
	if t, ok := parseISO8601(r.ExpiresAt); ok {
		return min(max(t.Sub(now.Time()), -maxLifetime), maxLifetime), true
	}
	if sec, ok := parseSeconds(r.ExpiresIn); ok {
		return toDuration(sec), true
	}
	if d, ok := jwtLife(r.AccessToken, now); ok {
		return d, true
	}
	return jwtLife(r.IDToken, now)
}

// jwtLife returns the time until the exp claim (RFC 7519, section 4.1.4) of token.
func jwtLife(token string, now cache.Instant) (time.Duration, bool) {
	sec, ok := parseSeconds(jwtClaims(token)["exp"])
	if !ok {
		return 0, false
	}
	return sinceEpoch(sec, now), true
}

// jwtClaims returns the claims of a JWT, unverified; nil if token is not a JWT: one of
// two parts (unsecured, without its last dot), three (JWS) or five (JWE, whose second
// part is not JSON, so that it has no claims here).
func jwtClaims(token string) jsonobject.Object {
	parts := strings.Split(token, ".")
	if n := len(parts); n != 2 && n != 3 && n != 5 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || !utf8.Valid(payload) {
		return nil
	}
	claims, _ := jsonobject.Parse(payload)
	return claims
}

// sinceEpoch returns the time from now to the given second of the Unix epoch.
func sinceEpoch(sec float64, now cache.Instant) time.Duration {
	return toDuration(sec - float64(now.Time().UnixNano())/float64(time.Second))
}

// toDuration converts seconds. It cuts them to what a token may live for, or be expired
// since, so that the conversion cannot overflow.
func toDuration(sec float64) time.Duration {
	const limit = float64(maxLifetime / time.Second)
	return time.Duration(min(max(sec, -limit), limit) * float64(time.Second))
}

// parseSeconds understands a JSON number, or a JSON string that holds a decimal number
// with or without spaces around it. A number too large for a float64 is the largest one.
// The words for infinities and not-a-number are not numbers.
func parseSeconds(raw json.RawMessage) (float64, bool) {
	text, ok := scalar(raw)
	if !ok || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, false
	}
	sec, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		return math.Copysign(math.MaxFloat64, sec), true
	}
	return sec, err == nil
}

// scalar returns the text of a JSON number, or of a JSON string without the spaces
// around it.
func scalar(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "", false
	}
	if c := raw[0]; c == '-' || '0' <= c && c <= '9' {
		return string(raw), true
	}
	var text string
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return strings.TrimSpace(text), true
}

// isoLayouts are the forms of ISO 8601 that services use. time.Parse takes a fraction
// after the seconds in each of them.
var isoLayouts = [...]string{
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04",
}

// parseISO8601 understands a JSON string that holds a date and time. Without an offset it
// is UTC.
func parseISO8601(raw json.RawMessage) (time.Time, bool) {
	text, ok := scalar(raw)
	text = strings.ToUpper(text) // first, because it can change the length
	if !ok || len(text) < len("2006-01-02T15:04") {
		return time.Time{}, false
	}
	if text[10] == ' ' {
		text = text[:10] + "T" + text[11:]
	}
	for _, layout := range isoLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
