package cache

import (
	"fmt"
	"time"
)

// The defaults of [Settings].
const (
	DefaultFallbackTTL     = 300 * time.Second
	DefaultExpiryBuffer    = 30 * time.Second
	DefaultMaxSystemTokens = 32
	DefaultMaxUserTokens   = 256
	DefaultMaxGatewayURLs  = 64
	DefaultFetchTimeout    = 60 * time.Second
)

// NoExpiryBuffer, as [Settings.ExpiryBuffer], means a buffer of zero, which the
// zero value cannot say.
const NoExpiryBuffer time.Duration = -1

// Settings are the bounds of a token cache. A zero field means its default.
type Settings struct {
	// FallbackTTL is how long a token is used whose response says nothing about
	// its expiry. It must be longer than the expiry buffer. Default 300 s.
	FallbackTTL time.Duration

	// ExpiryBuffer is how long before its expiry a token is no longer used if
	// another one can be had, so that it does not expire on its way. At least 0
	// (see NoExpiryBuffer). Default 30 s.
	ExpiryBuffer time.Duration

	// MaxSystemTokens, MaxUserTokens and MaxGatewayURLs are how many technical
	// tokens, user tokens and gateway URLs are kept. At least 1 each. Defaults 32,
	// 256 and 64.
	MaxSystemTokens, MaxUserTokens, MaxGatewayURLs int

	// FetchTimeout bounds one token fetch, retries included. More than 0.
	// Default 60 s.
	FetchTimeout time.Duration
}

// A SettingError says which setting is out of range.
type SettingError struct {
	Field string // name of the field of Settings
	Value any    // what it was set to
	Rule  string // what it must be
}

// Error names the field, its value and the rule that it breaks.
func (e *SettingError) Error() string {
	return fmt.Sprintf("cache: setting %s is %v, must be %s", e.Field, e.Value, e.Rule)
}

// WithDefaults returns s with its zero fields replaced by the defaults, or a
// [*SettingError] for the first field that is out of range.
func (s Settings) WithDefaults() (Settings, error) {
	orDefault(&s.FallbackTTL, DefaultFallbackTTL)
	orDefault(&s.ExpiryBuffer, DefaultExpiryBuffer)
	orDefault(&s.MaxSystemTokens, DefaultMaxSystemTokens)
	orDefault(&s.MaxUserTokens, DefaultMaxUserTokens)
	orDefault(&s.MaxGatewayURLs, DefaultMaxGatewayURLs)
	orDefault(&s.FetchTimeout, DefaultFetchTimeout)
	if s.ExpiryBuffer == NoExpiryBuffer {
		s.ExpiryBuffer = 0
	}
	return s, s.check()
}

// check returns an error for the first setting that is out of range.
func (s Settings) check() error {
	switch {
	case s.ExpiryBuffer < 0:
		return &SettingError{"ExpiryBuffer", s.ExpiryBuffer, "at least 0"}
	case s.FallbackTTL <= s.ExpiryBuffer:
		return &SettingError{"FallbackTTL", s.FallbackTTL, fmt.Sprintf("more than the expiry buffer (%v)", s.ExpiryBuffer)}
	case s.FallbackTTL > MaxLifetime:
		return &SettingError{"FallbackTTL", s.FallbackTTL, fmt.Sprintf("at most %v", MaxLifetime)}
	case s.MaxSystemTokens < 1:
		return &SettingError{"MaxSystemTokens", s.MaxSystemTokens, "at least 1"}
	case s.MaxUserTokens < 1:
		return &SettingError{"MaxUserTokens", s.MaxUserTokens, "at least 1"}
	case s.MaxGatewayURLs < 1:
		return &SettingError{"MaxGatewayURLs", s.MaxGatewayURLs, "at least 1"}
	case s.FetchTimeout <= 0:
		return &SettingError{"FetchTimeout", s.FetchTimeout, "more than 0"}
	default:
		return nil
	}
}

func orDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}
