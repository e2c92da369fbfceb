package cache_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/cache"
)

func TestSettingsDefaults(t *testing.T) {
	t.Parallel()
	want := cache.Settings{
		FallbackTTL:     300 * time.Second,
		ExpiryBuffer:    30 * time.Second,
		MaxSystemTokens: 32,
		MaxUserTokens:   256,
		MaxGatewayURLs:  64,
		FetchTimeout:    60 * time.Second,
	}
	if got := settings(t, cache.Settings{}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := settings(t, want); got != want {
		t.Errorf("applied to themselves, the defaults are %+v, want %+v", got, want)
	}
}

func TestSettingsKept(t *testing.T) {
	t.Parallel()
	want := cache.Settings{
		FallbackTTL:     2 * time.Second,
		ExpiryBuffer:    1 * time.Second,
		MaxSystemTokens: 1,
		MaxUserTokens:   2,
		MaxGatewayURLs:  3,
		FetchTimeout:    1,
	}
	if got := settings(t, want); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestNoExpiryBuffer(t *testing.T) {
	t.Parallel()
	s := settings(t, cache.Settings{ExpiryBuffer: cache.NoExpiryBuffer, FallbackTTL: 1})
	if s.ExpiryBuffer != 0 || s.FallbackTTL != 1 {
		t.Errorf("buffer is %v, fallback %v", s.ExpiryBuffer, s.FallbackTTL)
	}
}

func TestSettingsOutOfRange(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, field, value string
		s                  cache.Settings
	}{
		{"negative buffer", "ExpiryBuffer", "-1s", cache.Settings{ExpiryBuffer: -time.Second}},
		{"negative fallback", "FallbackTTL", "-1ns", cache.Settings{FallbackTTL: -1}},
		{"fallback is the buffer", "FallbackTTL", "30s", cache.Settings{FallbackTTL: 30 * time.Second}},
		{"fallback below the buffer", "FallbackTTL", "5m0s", cache.Settings{ExpiryBuffer: time.Hour}},
		{"fallback without a buffer", "FallbackTTL", "-5ns", cache.Settings{ExpiryBuffer: cache.NoExpiryBuffer, FallbackTTL: -5}},
		{"endless fallback", "FallbackTTL", "24h0m0.000000001s", cache.Settings{FallbackTTL: cache.MaxLifetime + 1}},
		{"system tokens", "MaxSystemTokens", "-1", cache.Settings{MaxSystemTokens: -1}},
		{"user tokens", "MaxUserTokens", "-2", cache.Settings{MaxUserTokens: -2}},
		{"gateway URLs", "MaxGatewayURLs", "-3", cache.Settings{MaxGatewayURLs: -3}},
		{"timeout", "FetchTimeout", "-1ns", cache.Settings{FetchTimeout: -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.s.WithDefaults()
			var setting *cache.SettingError
			if !errors.As(err, &setting) {
				t.Fatalf("error is %v, want a *SettingError", err)
			}
			if setting.Field != tt.field {
				t.Errorf("field is %s, want %s", setting.Field, tt.field)
			}
			if text := err.Error(); !strings.Contains(text, tt.field+" is "+tt.value+", must be ") {
				t.Errorf("error %q does not name the field and its value", text)
			}
		})
	}
}
