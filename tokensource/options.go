package tokensource

import (
	"fmt"
	"log/slog"
	"time"
)

// Options configure a [Source]. The zero value means the defaults.
type Options struct {
	// Settings bound the cache and the time of a fetch.
	Settings Settings

	// RequireUser makes a call that names no user fail with ErrNoUserToken, instead of
	// acting with the system token.
	RequireUser bool

	// Logger is told what OnEvent is told: failures and rejected tokens at level Warn,
	// rotations at Info, the rest at Debug. Default: nothing is logged.
	Logger *slog.Logger

	// OnEvent is called for each event, in the goroutine in which it happens, possibly
	// by several at once. It must not block.
	OnEvent func(Event)
}

// Settings are the bounds of a token cache. A zero field means its default.
type Settings struct {
	// FallbackTTL is how long a token is used whose response says nothing about its
	// expiry. It must be longer than the expiry buffer, and at most 24 h. Default 300 s.
	FallbackTTL time.Duration

	// ExpiryBuffer is how long before its expiry a token is no longer used if another
	// one can be had, so that it does not expire on its way. At least 0 (see
	// NoExpiryBuffer). Default 30 s.
	ExpiryBuffer time.Duration

	// MaxSystemTokens, MaxUserTokens and MaxGatewayURLs are how many system tokens, user
	// tokens and gateway URLs are kept. At least 1 each. Defaults 32, 256 and 64.
	MaxSystemTokens, MaxUserTokens, MaxGatewayURLs int

	// FetchTimeout bounds one fetch, retries included. More than 0. Default 60 s.
	FetchTimeout time.Duration
}

// NoExpiryBuffer, as [Settings.ExpiryBuffer], means a buffer of zero, which the zero
// value cannot say.
const NoExpiryBuffer time.Duration = -1

// WithDefaults returns s with its zero fields replaced by the defaults, and NoExpiryBuffer
// by zero, or a [*ConfigError] for the first field that is out of range. Apply it once: a
// second time, an expiry buffer of zero would become the default.
func (s Settings) WithDefaults() (Settings, error) {
	setDefault(&s.FallbackTTL, 300*time.Second)
	setDefault(&s.ExpiryBuffer, 30*time.Second)
	setDefault(&s.MaxSystemTokens, 32)
	setDefault(&s.MaxUserTokens, 256)
	setDefault(&s.MaxGatewayURLs, 64)
	setDefault(&s.FetchTimeout, 60*time.Second)
	if s.ExpiryBuffer == NoExpiryBuffer {
		s.ExpiryBuffer = 0
	}
	for _, rule := range []struct {
		field string
		value any
		kept  bool
		rule  string
	}{
		{"ExpiryBuffer", s.ExpiryBuffer, s.ExpiryBuffer >= 0, "at least 0"},
		{"FallbackTTL", s.FallbackTTL, s.FallbackTTL > s.ExpiryBuffer, fmt.Sprintf("more than the expiry buffer (%v)", s.ExpiryBuffer)},
		{"FallbackTTL", s.FallbackTTL, s.FallbackTTL <= maxLifetime, fmt.Sprintf("at most %v", maxLifetime)},
		{"MaxSystemTokens", s.MaxSystemTokens, s.MaxSystemTokens >= 1, "at least 1"},
		{"MaxUserTokens", s.MaxUserTokens, s.MaxUserTokens >= 1, "at least 1"},
		{"MaxGatewayURLs", s.MaxGatewayURLs, s.MaxGatewayURLs >= 1, "at least 1"},
		{"FetchTimeout", s.FetchTimeout, s.FetchTimeout > 0, "more than 0"},
	} {
		if !rule.kept {
			return s, &ConfigError{Field: "Settings." + rule.field, Err: fmt.Errorf("%v, must be %s", rule.value, rule.rule)}
		}
	}
	return s, nil
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}
