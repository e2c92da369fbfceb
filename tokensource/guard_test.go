package tokensource_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

// A brokenHandler is a slog.Handler that panics.
type brokenHandler struct{ inEnabled bool }

func (h brokenHandler) Enabled(context.Context, slog.Level) bool {
	if h.inEnabled {
		panic("Enabled")
	}
	return true
}
func (brokenHandler) Handle(context.Context, slog.Record) error { panic("Handle") }
func (h brokenHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h brokenHandler) WithGroup(string) slog.Handler           { return h }

// Events happen in goroutines of the library, where a panic would end the program.
func TestPanicsOfLoggerAndHookAreRecovered(t *testing.T) {
	for name, handler := range map[string]brokenHandler{"in Handle": {}, "in Enabled": {inEnabled: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				flow := newFlow()
				src, err := tokensource.New(flow, tokensource.Options{
					Logger:  slog.New(handler),
					OnEvent: func(tokensource.Event) { panic("OnEvent") },
				})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := src.AccessToken(t.Context()); err != nil {
					t.Errorf("a call with a broken logger and a broken hook failed: %v", err)
				}
				time.Sleep(latestRenewal + time.Second)
				if _, err := src.AccessToken(t.Context()); err != nil { // which renews in the background
					t.Errorf("a call that starts a renewal failed: %v", err)
				}
				flow.setFetch(func(context.Context, tokensource.Subject) (*tokensource.Response, error) { panic("Fetch") })
				if _, err := src.AccessToken(tokensource.WithTenant(t.Context(), "acme")); err == nil {
					t.Error("a fetch that panicked succeeded")
				}
				synctest.Wait()
				if n := src.Stats().Panics; n == 0 {
					t.Error("Stats counts no panics, want those of the logger and the hook")
				}
			})
		})
	}
}
