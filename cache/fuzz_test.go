package cache_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

// checkBounds checks what holds for every lifetime.
func checkBounds(t *testing.T, l cache.Lifetime) {
	t.Helper()
	life := l.Arrival.Until(l.Expiry)
	if l.Arrival != now || life < -cache.MaxLifetime || life > cache.MaxLifetime {
		t.Errorf("life is %v", life)
	}
	if l.Expiry.Before(l.Deadline) {
		t.Errorf("usable for %v of %v", l.Usable(), life)
	}
	if (l.Usable() > 0) != (life > 0) && life != 1 { // of 1 ns there is no half
		t.Errorf("usable for %v of %v", l.Usable(), life)
	}
	if l.Expiry != now.Add(life) || l.Deadline != now.Add(l.Usable()) {
		t.Error("the clocks disagree about a lifetime")
	}
}

func FuzzParseTokenResponse(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"at","token_type":"Bearer","expires_in":60}`,
		`{"access_token":"at","expires_at":"2026-01-02T03:05:05Z","id_token":"it"}`,
		`{"access_token":"` + withExp("1767323105") + `"}`,
		`{"access_token":["secret"]}`, `{"expires_in":"1e400"}`, `[]`, `null`, "\xff",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := cache.ParseTokenResponse(body)
		if err != nil {
			if len(err.Error()) > 64 {
				t.Errorf("error %q could hold the answer", err)
			}
			return
		}
		if !json.Valid(body) {
			t.Error("accepted what is no JSON")
		}
		if raw := r.ExpiresIn; raw != nil && !json.Valid(raw) {
			t.Errorf("expires_in is %q", raw)
		}
		checkBounds(t, settings(t, cache.Settings{}).Lifetime(r, "", now))
	})
}

func FuzzLifetime(f *testing.F) {
	f.Add(`60`, `1767323105`, 30, 300)
	f.Add(`"2026-01-02T03:05:05.5+01:00"`, `" 60 "`, 0, 1)
	f.Add(`"ıııııııı"`, `"1e400"`, 60, 61)
	f.Add(`"NaN"`, `-1e400`, 1, 2)
	f.Fuzz(func(t *testing.T, expiresAt, expiresIn string, buffer, ttl int) {
		s, err := cache.Settings{
			ExpiryBuffer: time.Duration(buffer) * time.Second,
			FallbackTTL:  time.Duration(ttl) * time.Second,
		}.WithDefaults()
		if err != nil {
			return
		}
		for _, r := range []cache.TokenResponse{
			{ExpiresAt: json.RawMessage(expiresAt), ExpiresIn: json.RawMessage(expiresIn)},
			{ExpiresIn: json.RawMessage(expiresIn)},
			{AccessToken: withExp(expiresIn)},
			{IDToken: withExp(expiresIn)},
		} {
			technical := s.Lifetime(r, "", now)
			checkBounds(t, technical)
			user := s.Lifetime(r, withExp(expiresAt), now)
			checkBounds(t, user)
			if technical.Expiry.Before(user.Expiry) || technical.Deadline.Before(user.Deadline) {
				t.Error("the user's own token made a token live longer")
			}
		}
	})
}

func FuzzJWTClaim(f *testing.F) {
	f.Add(withExp("1767323105"), `{"exp":"1767323105"}`)
	f.Add("h.eyJleHAiOjE3NjczMjMxMDV9", `{"exp":1e400}`)
	f.Add("h.eyJleHAiOjE3NjczMjMxMDV9==.i.c.t", `{"exp":{"exp":1}}`)
	f.Add("....", "\xff")
	f.Fuzz(func(t *testing.T, token, payload string) {
		s := settings(t, cache.Settings{})
		for _, jwt := range []string{token, "h." + encode(payload) + ".s"} {
			checkBounds(t, s.Lifetime(cache.TokenResponse{AccessToken: jwt}, "", now))
			checkBounds(t, s.Lifetime(cache.TokenResponse{IDToken: jwt}, token, now))
		}
		if parts := strings.Count(token, ".") + 1; parts == 1 || parts == 4 || parts > 5 {
			if l := s.Lifetime(cache.TokenResponse{AccessToken: token}, "", now); l.Usable() != s.FallbackTTL {
				t.Errorf("a token of %d parts told how long it lives", parts)
			}
		}
	})
}
