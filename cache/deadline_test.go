package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

const (
	second = time.Second
	day    = cache.MaxLifetime
)

func TestDeadline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		buffer, life time.Duration
		want         time.Duration
	}{
		{"an hour", 30 * second, 3600 * second, 3570 * second},
		{"a day", 30 * second, day, day - 30*second},
		{"more than a day", 30 * second, 10 * day, day - 30*second},
		{"just above the plateau", 30 * second, 46 * second, 16 * second},
		{"one and a half buffers", 30 * second, 45 * second, 15 * second},
		{"on the plateau", 30 * second, 40 * second, 15 * second},
		{"just above a buffer", 30 * second, 31 * second, 15 * second},
		{"a buffer", 30 * second, 30 * second, 15 * second},
		{"less than a buffer", 30 * second, 20 * second, 10 * second},
		{"next to nothing", 30 * second, 2 * time.Millisecond, time.Millisecond},
		{"nothing", 30 * second, 0, 0},
		{"expired", 30 * second, -10 * second, -10 * second},
		{"expired long ago", 30 * second, -10 * day, -day},
		{"a minute of an hour's buffer", 3600 * second, 60 * second, 30 * second},
		{"no buffer", cache.NoExpiryBuffer, 60 * second, 60 * second},
		{"no buffer, expired", cache.NoExpiryBuffer, -60 * second, -60 * second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := settings(t, cache.Settings{ExpiryBuffer: tt.buffer, FallbackTTL: 2 * time.Hour})
			l := s.Lifetime(in(tt.life), "", now)
			if got := l.Usable(); got != tt.want {
				t.Errorf("usable for %v, want %v", got, tt.want)
			}
			if got, want := now.Until(l.Expiry), min(max(tt.life, -day), day); got != want {
				t.Errorf("expires in %v, want %v", got, want)
			}
		})
	}
}

// The buffer is subtracted from every source but the fallback.
func TestBufferOfSources(t *testing.T) {
	t.Parallel()
	exp := fmt.Sprint(epoch + 600)
	tests := map[string]struct {
		r    cache.TokenResponse
		want time.Duration
	}{
		"expires_at":     {cache.TokenResponse{ExpiresAt: cache.Seconds(epoch + 600)}, 570 * second},
		"expires_at ISO": {cache.TokenResponse{ExpiresAt: []byte(`"2026-01-02T03:14:05Z"`)}, 570 * second},
		"expires_in":     {cache.TokenResponse{ExpiresIn: cache.Seconds(600)}, 570 * second},
		"access token":   {cache.TokenResponse{AccessToken: withExp(exp)}, 570 * second},
		"id token":       {cache.TokenResponse{IDToken: withExp(exp)}, 570 * second},
		"fallback":       {cache.TokenResponse{AccessToken: "opaque"}, cache.DefaultFallbackTTL},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := settings(t, cache.Settings{}).Lifetime(tt.r, "", now)
			if got := l.Usable(); got != tt.want {
				t.Errorf("usable for %v, want %v", got, tt.want)
			}
		})
	}
}

// A token that was exchanged for a user's JWT never outlives that JWT.
func TestUserTokenCap(t *testing.T) {
	t.Parallel()
	expIn := func(sec int) string { return withExp(fmt.Sprint(epoch + sec)) }
	tests := []struct {
		name           string
		r              cache.TokenResponse
		user           string
		usable, expiry time.Duration
	}{
		{"user lives longer", in(600 * second), expIn(601), 570 * second, 600 * second},
		{"user lives as long", in(600 * second), expIn(600), 570 * second, 600 * second},
		{"user dies first", in(600 * second), expIn(500), 470 * second, 500 * second},
		{"user has little left", in(600 * second), expIn(20), 10 * second, 20 * second},
		{"user is on the plateau", in(600 * second), expIn(40), 15 * second, 40 * second},
		{"user has expired", in(600 * second), expIn(-5), -5 * second, -5 * second},
		{"fallback, user lives longer", cache.TokenResponse{}, expIn(301), 300 * second, 300 * second},
		{"fallback, user dies first", cache.TokenResponse{}, expIn(200), 170 * second, 200 * second},
		{"token has expired", in(-5 * second), expIn(500), -5 * second, -5 * second},
		{"user is opaque", in(600 * second), "opaque", 570 * second, 600 * second},
		{"user has no exp", in(600 * second), unsigned(`{"sub":"u"}`), 570 * second, 600 * second},
		{"user's exp is no number", in(600 * second), withExp(`"soon"`), 570 * second, 600 * second},
		{"user's exp is absurd", in(600 * second), withExp(`1e400`), 570 * second, 600 * second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := settings(t, cache.Settings{}).Lifetime(tt.r, tt.user, now)
			if got := l.Usable(); got != tt.usable {
				t.Errorf("usable for %v, want %v", got, tt.usable)
			}
			if got := now.Until(l.Expiry); got != tt.expiry {
				t.Errorf("expires in %v, want %v", got, tt.expiry)
			}
		})
	}
}

// More life never means less use: a token cannot lose by coming earlier.
func TestDeadlineGrowsWithLife(t *testing.T) {
	t.Parallel()
	s := settings(t, cache.Settings{})
	last := -day
	for life := -60 * second; life < 300*second; life += 500 * time.Millisecond {
		l := s.Lifetime(in(life), "", now)
		if l.Usable() < last {
			t.Fatalf("a life of %v is used for %v, a shorter one for %v", life, l.Usable(), last)
		}
		last = l.Usable()
	}
}
