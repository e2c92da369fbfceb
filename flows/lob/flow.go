package lob

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/internal/wire"
	"github.com/agwgo/agw/tokensource"
)

// Options configure a [Flow]. The zero value means the defaults.
type Options struct {
	// TenantFunc and Tenant are the flow's own tenant, for requests that name none.
	// The function is asked first; if it returns "", Tenant counts. It is called for
	// every request, possibly by several at once, and must be quick. Where there is no
	// tenant at all, a request fails with [ErrNoTenant].
	TenantFunc func(ctx context.Context) (string, error)
	Tenant     string

	// RootCAs are the authorities that the services' certificates may come from.
	// Default: those of Base, or else the system's.
	RootCAs *x509.CertPool

	// Base sends the requests. An [*http.Transport] is cloned; anything else is used
	// as it is, and RootCAs has no effect on it. Default: a transport of the flow's own.
	Base http.RoundTripper

	// MaxConcurrentRequests is how many requests to one service (scheme, host and
	// port) are under way at most. Default 32.
	MaxConcurrentRequests int

	// DangerouslyAllowPlainHTTP lets the binding have plain http URLs that lead to
	// other machines: secrets and tokens travel in the clear.
	DangerouslyAllowPlainHTTP bool

	// Settings, Logger, OnEvent and Clock are those of the service tokens, whose events
	// have the flow "lob-service". One service token is kept for each tenant: up to
	// MaxSystemTokens + MaxUserTokens of them, and at least 1024, so that no tenant with
	// a cached token lacks one. Twice as many names of fragments are kept.
	Settings cache.Settings
	Logger   *slog.Logger
	OnEvent  func(tokensource.Event)
	Clock    cache.Clock
}

// options are Options that have been checked and completed.
type options struct {
	Options
	settings cache.Settings // with their defaults
}

func (o *Options) complete() (*options, error) {
	c := &options{}
	if o != nil {
		c.Options = *o
	}
	var err error
	if c.settings, err = c.Settings.WithDefaults(); err != nil {
		return nil, err
	}
	if c.MaxConcurrentRequests < 0 {
		return nil, fmt.Errorf("agw: Options.MaxConcurrentRequests is %d, must be at least 0", c.MaxConcurrentRequests)
	}
	if c.Tenant != "" {
		if err := checkTenant(c.Tenant); err != nil {
			return nil, fmt.Errorf("agw: Options.Tenant: %w", err)
		}
	}
	if c.Clock == nil {
		c.Clock = cache.Now
	}
	return c, nil
}

// serviceSettings returns the settings of the service tokens.
func (o *options) serviceSettings() cache.Settings {
	s := o.Settings
	s.MaxSystemTokens = max(minServiceTokens, o.settings.MaxSystemTokens+o.settings.MaxUserTokens)
	return s
}

// A Flow is a [tokensource.Flow] and a [tokensource.Reloader]. It must be made by
// [NewFlow], is safe for concurrent use, and prints without secrets.
type Flow struct {
	options   *options
	client    *wire.Client
	landscape string
	files     string // the directory of the binding, or ""

	reloading sync.Mutex // one at a time
	session   atomic.Pointer[session]
}

var (
	_ tokensource.Flow     = (*Flow)(nil)
	_ tokensource.Reloader = (*Flow)(nil)
)

// NewFlow returns a flow for creds, which it copies; opts may be nil. It checks all
// of both and sends nothing. What is wrong with a binding is a [*BindingError], or
// several of them joined.
func NewFlow(creds *Credentials, opts *Options) (*Flow, error) {
	o, err := opts.complete()
	switch {
	case err != nil:
		return nil, err
	case creds == nil:
		return nil, fmt.Errorf("%w: the credentials of the LoB flow are nil", tokensource.ErrNoCredentials)
	case strings.TrimSpace(creds.Landscape) == "":
		return nil, ErrNoLandscape
	}
	f := &Flow{
		options: o, landscape: strings.TrimSpace(creds.Landscape), files: creds.files,
		client: wire.NewClient(wire.Config{Base: o.Base, RootCAs: o.RootCAs, Pacer: wire.NewPacer(o.MaxConcurrentRequests)}),
	}
	s, err := newSession(creds.Binding, f.landscape, f.client, o)
	if err != nil {
		return nil, err
	}
	f.session.Store(s)
	return f, nil
}

// Identity implements [tokensource.Flow].
func (f *Flow) Identity() *tokensource.Identity { return f.session.Load().identity }

// Tenant implements [tokensource.Flow]. It returns requested or else the flow's own
// tenant; a [*TenantError] if that is not one DNS label, and [ErrNoTenant] if there
// is none.
func (f *Flow) Tenant(ctx context.Context, requested string) (string, error) {
	tenant, err := requested, error(nil)
	if tenant == "" && f.options.TenantFunc != nil {
		if tenant, err = f.options.TenantFunc(ctx); err != nil {
			return "", fmt.Errorf("agw: Options.TenantFunc: %w", err)
		}
	}
	if tenant == "" {
		tenant = f.options.Tenant
	}
	if tenant == "" {
		return "", ErrNoTenant
	}
	if err := checkTenant(tenant); err != nil {
		return "", err
	}
	return tenant, nil
}

// Fetch implements [tokensource.Flow].
func (f *Flow) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	if err := checkTenant(s.Tenant); err != nil {
		return nil, &tokensource.Error{Op: opDestination, Err: err}
	}
	if !visible(s.UserToken) {
		return nil, &tokensource.Error{Op: opDestination, Err: errors.New("the user token has a character that no bearer token has")}
	}
	return f.session.Load().fetch(ctx, s)
}

// ClientID returns the client id that tokens are issued to, which the destination
// names. It is remembered for five minutes, and longer if it cannot be asked for.
func (f *Flow) ClientID(ctx context.Context) (id string, err error) {
	err = f.try(ctx, func(s *session) (err error) {
		id, err = s.clientID(ctx)
		return err
	})
	return id, err
}

// try does something that no Source watches over, with the binding as it is now (or
// as it was, if it cannot be read). If credentials are refused and have changed
// meanwhile, it is done once more with the new ones.
func (f *Flow) try(ctx context.Context, do func(*session) error) error {
	_ = f.Reload(ctx, false)
	s := f.session.Load()
	err := do(s)
	if !refused(err) || f.Reload(ctx, true) != nil || f.session.Load() == s {
		return err
	}
	return do(f.session.Load())
}

// Reload implements [tokensource.Reloader]. It reads the files of the binding, if it
// comes from files; if they have changed, nothing of the old binding is used any
// longer.
func (f *Flow) Reload(context.Context, bool) error {
	if f.files == "" {
		return nil
	}
	f.reloading.Lock()
	defer f.reloading.Unlock()
	b, failed := files(f.files).read()
	switch {
	case failed != nil:
		return fmt.Errorf("agw: Destination Service binding: %w", failed)
	case b == *f.session.Load().binding:
		return nil
	}
	s, err := newSession(b, f.landscape, f.client, f.options)
	if err == nil {
		f.session.Store(s)
	}
	return err
}

// Forget drops what is remembered of a tenant: its service token and the names of its
// fragments.
func (f *Flow) Forget(tenant string) {
	if checkTenant(tenant) == nil {
		f.session.Load().forget(tenant)
	}
}

// Purge drops the service tokens and the names of the fragments of all tenants, and
// the client id.
func (f *Flow) Purge() { f.session.Load().purge() }

// CloseIdleConnections closes the connections that no request is using.
func (f *Flow) CloseIdleConnections() { f.client.CloseIdleConnections() }

// Format prints the binding without its secret, whatever the verb.
func (f *Flow) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.describe()) }

// LogValue returns what Format prints.
func (f *Flow) LogValue() slog.Value { return slog.StringValue(f.describe()) }

func (f *Flow) describe() string {
	if f == nil {
		return "lob.Flow{none}"
	}
	return "lob.Flow{" + f.session.Load().binding.describe() + "}"
}
