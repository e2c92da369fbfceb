package cache

import (
	"encoding/json"
	"time"
)

// MaxLifetime is the longest life that is believed of a token. A response that
// promises more (a date past the year 9999, milliseconds in the place of
// seconds) is cut to it.
const MaxLifetime = 24 * time.Hour

// A Lifetime says for how long a token that has just arrived may be used.
type Lifetime struct {
	Arrival  Instant // when the token came
	Deadline Instant // until when it is used without a second thought
	Expiry   Instant // when it expires: nothing is ever used from here on
}

// Usable returns the time from arrival to deadline; zero or less for a token that
// must not be used at all.
func (l Lifetime) Usable() time.Duration { return l.Arrival.Until(l.Deadline) }

// Lifetime decides how long the token of r, which arrived now, may be used. The
// settings must come from [Settings.WithDefaults].
//
// The expiry is the first of these that can be understood: expires_at,
// expires_in, the exp claim of the access token, that of the id token. The
// deadline is the expiry less the expiry buffer. A response that tells nothing
// gives the token the fallback TTL, from which no buffer is subtracted.
//
// A token with less life than one and a half buffers would be left with next to
// nothing: it is used for half a buffer, or for half of its life if that is
// shorter.
//
// The exp of userToken, the JWT that was exchanged (or "" for a technical
// token), is an upper bound: an exchanged token never outlives it.
//
// Claims are read unverified. They only ever shorten the use of a token that the
// token service issued, and decide nothing else.
func (s Settings) Lifetime(r TokenResponse, userToken string, now Instant) Lifetime {
	life, told := r.life(now)
	buffer := s.ExpiryBuffer
	if !told {
		life, buffer = s.FallbackTTL, 0
	}
	if user, ok := jwtLife(userToken, now); ok && user < life {
		life, buffer = user, s.ExpiryBuffer
	}
	usable := min(life, max(life-buffer, min(life, buffer)/2)) // life itself, if it is over
	return Lifetime{Arrival: now, Deadline: now.Add(usable), Expiry: now.Add(life)}
}

// life returns how long the token lives from now on according to its response,
// and false if the response does not tell.
func (r *TokenResponse) life(now Instant) (time.Duration, bool) {
	if d, ok := lifeUntil(r.ExpiresAt, now); ok {
		return d, true
	}
	if sec, ok := parseSeconds(r.ExpiresIn); ok {
		return toDuration(sec), true
	}
	if d, ok := jwtLife(r.AccessToken, now); ok {
		return d, true
	}
	return jwtLife(r.IDToken, now)
}

// lifeUntil understands expires_at: epoch seconds or ISO 8601.
func lifeUntil(raw json.RawMessage, now Instant) (time.Duration, bool) {
	if sec, ok := parseSeconds(raw); ok {
		return sinceEpoch(sec, now), true
	}
	t, ok := parseISO8601(raw)
	if !ok {
		return 0, false
	}
	return min(max(t.Sub(now.Time()), -MaxLifetime), MaxLifetime), true
}

// jwtLife understands the exp claim (RFC 7519, section 4.1.4) of token.
func jwtLife(token string, now Instant) (time.Duration, bool) {
	sec, ok := parseSeconds(jwtClaim(token, "exp"))
	if !ok {
		return 0, false
	}
	return sinceEpoch(sec, now), true
}

// sinceEpoch returns the time from now to the given second of the Unix epoch.
func sinceEpoch(sec float64, now Instant) time.Duration {
	return toDuration(sec - float64(now.wall)/float64(time.Second))
}

// toDuration converts seconds, cutting what no token may live for or be expired
// since, so that the conversion cannot overflow.
func toDuration(sec float64) time.Duration {
	const limit = float64(MaxLifetime / time.Second)
	return time.Duration(min(max(sec, -limit), limit) * float64(time.Second))
}
