package lob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/flight"
	"github.com/agwgo/agw/internal/mount"
	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/internal/tokenservice"
	"github.com/agwgo/agw/tokensource"
)

const flowName = "lob" // of the identity, and in errors

// minServiceTokens is how many service tokens are kept at least, one for each tenant.
const minServiceTokens = 1024

// flow is the [flows.Flow] of Credentials.
type flow struct {
	options      flows.Options // checked
	fetchTimeout time.Duration
	now          func() cache.Instant

	service       *tokenservice.Client
	requests      flight.Group[*tokenservice.Request, []byte] // to the Destination Service, none of which is shared
	serviceTokens *tokensource.Source
	remembered    *lookups // names of fragments, and the client id

	reloading sync.Mutex // held while the files are read and compared
	inForce   atomic.Pointer[client]
}

var (
	_ flows.Credentials    = (*Credentials)(nil)
	_ flows.Flow           = (*flow)(nil)
	_ tokensource.Reloader = (*flow)(nil)
)

// NewFlow implements [flows.Credentials]. It copies the credentials. Dependencies of opts
// must be nil: the Destination Service has the list of each tenant.
//
// The flow's service tokens are cached by a source of its own, with the Settings, Logger
// and OnEvent of opts.Tokens; its events have the flow "lob-service". It keeps up to
// MaxSystemTokens + MaxUserTokens service tokens, and at least 1024, so that no tenant with
// a cached token lacks one. Twice as many names of fragments are kept.
func (c *Credentials) NewFlow(opts flows.Options) (flows.Flow, error) {
	f, err := newFlow(c, opts, cache.Now)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func newFlow(c *Credentials, opts flows.Options, now func() cache.Instant) (*flow, error) {
	if err := opts.Check(); err != nil {
		return nil, err
	}
	switch {
	case opts.Tenant != "" && checkTenant(opts.Tenant) != nil:
		return nil, &tokensource.ConfigError{Field: "Tenant", Err: checkTenant(opts.Tenant)}
	case opts.Dependencies != nil:
		return nil, &tokensource.ConfigError{Field: "Dependencies", Err: errors.New(
			"it is for customers' credentials only: leave it nil, the Destination Service has the list of each tenant")}
	case c == nil:
		return nil, &tokensource.ConfigError{Field: "Credentials", Err: errors.New("nil")}
	}
	first, err := newClient(*c, opts.DangerouslyAllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	settings, _ := opts.Tokens.Settings.WithDefaults() // checked
	f := &flow{
		options: opts, fetchTimeout: settings.FetchTimeout, now: now,
		service: tokenservice.New(opts, nil, pace.New(opts.MaxConcurrentRequests)),
	}
	f.inForce.Store(first)

	tokens := opts.Tokens
	tokens.RequireUser = false
	tokens.Settings.MaxSystemTokens = max(minServiceTokens, settings.MaxSystemTokens+settings.MaxUserTokens)
	f.serviceTokens, err = tokensource.New(&serviceFlow{f}, tokens)
	if err != nil {
		return nil, err
	}
	f.remembered = newLookups(2*tokens.Settings.MaxSystemTokens, f.fetchTimeout, now)
	return f, nil
}

// Identity implements [tokensource.Flow].
func (f *flow) Identity() *tokensource.Identity { return f.inForce.Load().identity }

// Tenant implements [tokensource.Flow]. It returns requested or else the flow's own tenant;
// a [*TenantError] if that is not one DNS label, and [ErrNoTenant] if there is none.
func (f *flow) Tenant(ctx context.Context, requested string) (string, error) {
	tenant := requested
	if tenant == "" && f.options.TenantFunc != nil {
		var err error
		if tenant, err = f.tenantOf(ctx); err != nil {
			return "", &tokensource.ConfigError{Field: "TenantFunc", Err: err}
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

// tenantOf asks TenantFunc. A panic is an error: one bad context must not end the program.
// It shows the type of the panic's value only, which could hold anything.
func (f *flow) tenantOf(ctx context.Context) (tenant string, err error) {
	defer func() {
		if r := recover(); r != nil {
			tenant, err = "", fmt.Errorf("panic with a %T", r)
		}
	}()
	return f.options.TenantFunc(ctx)
}

// Fetch implements [tokensource.Flow]. If another client comes into force meanwhile, it
// fails, and the Source begins anew.
func (f *flow) Fetch(ctx context.Context, s tokensource.Subject) (*tokensource.Response, error) {
	err := s.Err()
	if err == nil {
		err = checkTenant(s.Tenant())
	}
	if err != nil {
		return nil, &tokensource.Error{Op: opDestination, Err: err}
	}
	ctx, cancel := f.bounded(ctx)
	defer cancel()
	return f.fetch(ctx, f.inForce.Load(), s)
}

// ClientID implements [flows.Flow]. The client id is remembered for five minutes, and for
// up to an hour while it cannot be asked for.
func (f *flow) ClientID(ctx context.Context) (id string, err error) {
	err = f.withClient(ctx, func(ctx context.Context, c *client) (err error) {
		id, err = f.clientID(ctx, c)
		return err
	})
	return id, err
}

// MCPServers implements [flows.Flow]. Each call asks anew.
func (f *flow) MCPServers(ctx context.Context) ([]flows.Endpoint, error) {
	return f.endpoints(ctx, labelMCP)
}

// Agents implements [flows.Flow]. Each call asks anew.
func (f *flow) Agents(ctx context.Context) ([]flows.Endpoint, error) {
	return f.endpoints(ctx, labelAgent)
}

func (f *flow) endpoints(ctx context.Context, label string) (endpoints []flows.Endpoint, err error) {
	subject, _ := tokensource.SubjectFromContext(ctx)
	tenant, err := f.Tenant(ctx, subject.Tenant())
	if err != nil {
		return nil, err
	}
	var list *response
	err = f.withClient(ctx, func(ctx context.Context, c *client) (err error) {
		list, err = f.fragments(ctx, c, tenant, label)
		return err
	})
	if err != nil {
		return nil, err
	}
	return parseEndpoints(list, tenant, label)
}

// withClient does something that no Source watches over: within the FetchTimeout, with the
// credentials as they are now (if they cannot be read, as they were), and once more if
// these are replaced meanwhile.
func (f *flow) withClient(ctx context.Context, do func(context.Context, *client) error) error {
	ctx, cancel := f.bounded(ctx)
	defer cancel()
	_ = f.Reload(ctx)
	err := do(ctx, f.inForce.Load())
	if errors.Is(err, errReplaced) {
		err = do(ctx, f.inForce.Load())
	}
	return err
}

// bounded returns ctx with the FetchTimeout from now on as its deadline, if that is earlier.
func (f *flow) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, f.fetchTimeout, flight.ErrTimeout)
}

// Reload implements [tokensource.Reloader].
func (f *flow) Reload(ctx context.Context) error {
	f.reloading.Lock()
	defer f.reloading.Unlock()
	old := f.inForce.Load()
	dir := old.credentials.dir
	if dir == "" {
		return nil
	}
	next, err := read(dir, nil, mount.Read)
	next.Landscape = old.credentials.Landscape
	if err == nil && *next == old.credentials {
		return nil
	}
	// They have changed, and may be half written: what is put in force has stayed the same
	// for a while.
	next, err = read(dir, nil, func(dir string, names ...string) (mount.Files, error) {
		return mount.ReadAgain(ctx, dir, nil, names...)
	})
	next.Landscape = old.credentials.Landscape
	if err != nil || *next == old.credentials {
		return err
	}
	c, err := newClient(*next, f.options.DangerouslyAllowPlainHTTP)
	if err != nil {
		return err
	}
	f.inForce.Store(c)
	return nil
}

// Purge implements [flows.Flow].
func (f *flow) Purge() {
	f.serviceTokens.Purge()
	f.remembered.purge()
}

// CloseIdleConnections implements [flows.Flow].
func (f *flow) CloseIdleConnections() { f.service.CloseIdleConnections() }

// Format prints the credentials without the secret, whatever the verb.
func (f *flow) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.describe()) }

// LogValue returns what Format prints.
func (f *flow) LogValue() slog.Value { return slog.StringValue(f.describe()) }

func (f *flow) describe() string {
	return "lob.flow{" + strings.TrimPrefix(f.inForce.Load().credentials.describe(), "lob.") + "}"
}
