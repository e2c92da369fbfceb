package tokensource

import (
	"errors"
	"math"
	"testing"
	"time"
)

var defaultSettings = Settings{
	FallbackTTL:     300 * time.Second,
	ExpiryBuffer:    30 * time.Second,
	MaxSystemTokens: 32,
	MaxUserTokens:   256,
	MaxGatewayURLs:  64,
	FetchTimeout:    60 * time.Second,
}

func TestWithDefaults(t *testing.T) {
	t.Parallel()
	smallest := Settings{FallbackTTL: 2, ExpiryBuffer: 1, MaxSystemTokens: 1, MaxUserTokens: 1, MaxGatewayURLs: 1, FetchTimeout: 1}
	largest := Settings{
		FallbackTTL: 24 * time.Hour, ExpiryBuffer: 24*time.Hour - 1,
		MaxSystemTokens: math.MaxInt32, MaxUserTokens: math.MaxInt32, MaxGatewayURLs: math.MaxInt32, FetchTimeout: 1 << 62,
	}
	withoutBuffer := defaultSettings
	withoutBuffer.ExpiryBuffer, withoutBuffer.FallbackTTL = 0, 1
	oneUser := defaultSettings
	oneUser.MaxUserTokens = 1
	for name, test := range map[string]struct{ given, want Settings }{
		"the zero value":      {Settings{}, defaultSettings},
		"the defaults":        {defaultSettings, defaultSettings},
		"one field":           {Settings{MaxUserTokens: 1}, oneUser},
		"the smallest bounds": {smallest, smallest},
		"the largest bounds":  {largest, largest},
		"without a buffer":    {Settings{ExpiryBuffer: NoExpiryBuffer, FallbackTTL: 1}, withoutBuffer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given := test.given
			got, err := given.WithDefaults()
			if err != nil {
				t.Fatalf("%+v is refused: %v", test.given, err)
			}
			if got != test.want {
				t.Errorf("%+v became %+v, want %+v", test.given, got, test.want)
			}
			if given != test.given {
				t.Errorf("%+v was modified to %+v", test.given, given)
			}
		})
	}
}

func TestSettingsOutOfRange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		settings Settings
		field    string
		text     string
	}{
		{"negative buffer", Settings{ExpiryBuffer: -time.Second},
			"Settings.ExpiryBuffer", "agw: Settings.ExpiryBuffer: -1s, must be at least 0"},
		{"buffer a little below NoExpiryBuffer", Settings{ExpiryBuffer: NoExpiryBuffer - 1},
			"Settings.ExpiryBuffer", "agw: Settings.ExpiryBuffer: -2ns, must be at least 0"},
		{"negative fallback", Settings{FallbackTTL: -1},
			"Settings.FallbackTTL", "agw: Settings.FallbackTTL: -1ns, must be more than the expiry buffer (30s)"},
		{"fallback as long as the buffer", Settings{FallbackTTL: 30 * time.Second},
			"Settings.FallbackTTL", "agw: Settings.FallbackTTL: 30s, must be more than the expiry buffer (30s)"},
		{"default fallback, longer buffer", Settings{ExpiryBuffer: time.Hour},
			"Settings.FallbackTTL", "agw: Settings.FallbackTTL: 5m0s, must be more than the expiry buffer (1h0m0s)"},
		{"negative fallback without a buffer", Settings{ExpiryBuffer: NoExpiryBuffer, FallbackTTL: -5},
			"Settings.FallbackTTL", "agw: Settings.FallbackTTL: -5ns, must be more than the expiry buffer (0s)"},
		{"fallback of more than a day", Settings{FallbackTTL: 24*time.Hour + 1},
			"Settings.FallbackTTL", "agw: Settings.FallbackTTL: 24h0m0.000000001s, must be at most 24h0m0s"},
		{"system tokens", Settings{MaxSystemTokens: -1},
			"Settings.MaxSystemTokens", "agw: Settings.MaxSystemTokens: -1, must be at least 1"},
		{"user tokens", Settings{MaxUserTokens: -2},
			"Settings.MaxUserTokens", "agw: Settings.MaxUserTokens: -2, must be at least 1"},
		{"gateway URLs", Settings{MaxGatewayURLs: -3},
			"Settings.MaxGatewayURLs", "agw: Settings.MaxGatewayURLs: -3, must be at least 1"},
		{"timeout", Settings{FetchTimeout: -1},
			"Settings.FetchTimeout", "agw: Settings.FetchTimeout: -1ns, must be more than 0"},
		{"the first of several", Settings{FetchTimeout: -1, MaxUserTokens: -1, ExpiryBuffer: -5},
			"Settings.ExpiryBuffer", "agw: Settings.ExpiryBuffer: -5ns, must be at least 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := test.settings.WithDefaults()
			var config *ConfigError
			if !errors.As(err, &config) {
				t.Fatalf("the error is %v (%T), want a *ConfigError", err, err)
			}
			if config.Field != test.field || config.Source != "" {
				t.Errorf("the error is about field %q of %q, want %q of \"\" (Go code)", config.Field, config.Source, test.field)
			}
			if got := err.Error(); got != test.text {
				t.Errorf("the text is\n%q, want\n%q", got, test.text)
			}
		})
	}
}
