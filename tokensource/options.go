package tokensource

import (
	"log/slog"

	"github.com/agwgo/agw/cache"
)

// Options configure a [Source]. The zero value means the defaults.
type Options struct {
	// Settings bound the cache and the time of a fetch.
	Settings cache.Settings

	// RequireUser makes a call that names no user fail with ErrNoUserToken, instead of
	// acting under the technical token.
	RequireUser bool

	// Logger is told what OnEvent is told: failures and rejected tokens at level Warn,
	// rotations at Info, the rest at Debug. Default: nothing is logged.
	Logger *slog.Logger

	// OnEvent is called for each event, in the goroutine in which it happens, possibly
	// by several at once. It must not block.
	OnEvent func(Event)

	// Clock is for tests that move the time by hand. Default cache.Now.
	Clock cache.Clock
}
