package lob_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

var isolationSteps = flag.Int("isolation.steps", 150, "steps of each caller in TestIsolation")

const (
	isolationTenants = 6
	isolationUsers   = 5 // of each tenant; number 0 is the technical identity
	isolationCallers = 8
)

// chaos is a world in which anything can happen at any time.
type chaos struct {
	*world
	root   string
	client *http.Client
	ahead  atomic.Int64 // how far the clock of the sources is ahead, in ns
	tokens [isolationTenants][isolationUsers]string

	rotation                     sync.Mutex
	served, unauthorized, failed atomic.Int64
}

// TestIsolation lets callers act for random tenants and users while tokens expire,
// are revoked, invalidated and forgotten, fragments are renamed, secrets are rotated
// and services fail. The gateway never sees a token of another tenant or user than
// the call's own, and a token never reaches the gateway of another tenant.
func TestIsolation(t *testing.T) {
	t.Parallel()
	c := newChaos(t)
	var group sync.WaitGroup
	for range isolationCallers {
		seed := rand.Uint64()
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range *isolationSteps {
				c.step(t, random)
			}
		})
	}
	group.Wait()
	c.check(t)
	t.Logf("%d calls served, %d unauthorized, %d failed", c.served.Load(), c.unauthorized.Load(), c.failed.Load())
	if c.served.Load() < isolationCallers*int64(*isolationSteps)/4 {
		t.Error("too few calls were served to prove anything")
	}
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	c := &chaos{root: t.TempDir()}
	clock := func() cache.Instant { return cache.Now().Add(time.Duration(c.ahead.Load())) }
	settings := cache.Settings{MaxSystemTokens: 4, MaxUserTokens: 12, FetchTimeout: 20 * time.Second}
	c.world = startWith(t, c.root, agwtest.Options{SecondGateway: []string{tenantName(1), tenantName(3)}, KeepRequests: 1 << 20},
		lob.Options{Settings: settings, Clock: clock}, tokensource.Options{Settings: settings, Clock: clock})
	transport := c.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	c.client = &http.Client{Transport: transport}
	for i := range isolationTenants {
		for j := 1; j < isolationUsers; j++ {
			c.tokens[i][j] = c.UserToken(agwtest.User{Name: userName(j), Tenant: tenantName(i), Lifetime: 24 * time.Hour})
		}
	}
	return c
}

func tenantName(i int) string { return fmt.Sprint("tenant-", i) }

// userName is the same in all tenants, on purpose.
func userName(j int) string {
	if j == 0 {
		return ""
	}
	return fmt.Sprint("user-", j)
}

// step is a call, mostly, or something that makes calls harder.
func (c *chaos) step(t *testing.T, random *rand.Rand) {
	i, j := random.IntN(isolationTenants), random.IntN(isolationUsers)
	if random.IntN(5) > 0 {
		c.act(t, i, j)
		return
	}
	c.disturb(t, random, i, j)
}

// act obtains a token for user j of tenant i and shows it to its gateway.
func (c *chaos) act(t *testing.T, i, j int) {
	ctx := tokensource.WithTenant(context.Background(), tenantName(i))
	if j > 0 {
		ctx = tokensource.WithUserToken(ctx, c.tokens[i][j])
	}
	g, err := c.src.Grant(ctx)
	if err != nil {
		c.failed.Add(1)
		var e *tokensource.Error
		if !errors.As(err, &e) {
			t.Errorf("an error of no type: %T %v", err, err)
		}
		return
	}
	if got, want := g.GatewayURL().String(), c.TenantGatewayURL(tenantName(i)); got != want {
		t.Errorf("tenant %d: gateway %s, want %s", i, got, want)
	}
	c.show(t, g, i, j)
}

// show sends a grant to its gateway, next to whom it should be of.
func (c *chaos) show(t *testing.T, g *tokensource.Grant, i, j int) {
	req, err := http.NewRequest(http.MethodGet, g.GatewayURL().String(), nil)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header["Authorization"] = g.Authorization()
	req.Header.Set("X-Subject", tenantName(i)+"/"+userName(j))
	resp, err := c.client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		c.served.Add(1)
		echo, err := agwtest.DecodeEcho(resp.Body)
		if err != nil || echo.Tenant != tenantName(i) || echo.User != userName(j) {
			t.Errorf("tenant %d, user %d: the gateway sees %+v, %v", i, j, echo.Caller, err)
		}
	case http.StatusUnauthorized:
		c.unauthorized.Add(1)
		c.src.Invalidate(g)
	default:
		t.Errorf("tenant %d, user %d: status %d", i, j, resp.StatusCode)
	}
}

// disturb does one of the things that happen.
func (c *chaos) disturb(t *testing.T, random *rand.Rand, i, j int) {
	subject := tokensource.Subject{Tenant: tenantName(i), UserToken: c.tokens[i][j]}
	services := []*agwtest.Service{c.Auth.Service, c.Fragments, c.Destinations.Service}
	switch random.IntN(11) {
	case 0, 1:
		c.ahead.Add(int64(random.Int64N(int64(2 * time.Minute))))
	case 2:
		lifetimes := []time.Duration{time.Second, 5 * time.Second, time.Minute, time.Hour}
		c.Destinations.SetLifetime(lifetimes[random.IntN(len(lifetimes))])
		c.Auth.SetLifetime(lifetimes[2+random.IntN(2)])
	case 3:
		c.RevokeUser(userName(j))
	case 4:
		c.RevokeServiceTokens()
	case 5:
		faults := []agwtest.Fault{{Status: 500}, {Status: 401}, {Status: 404}, {Reset: true}, {TruncateAfter: 10}, {Body: "[]"}, {Body: "{}"}, {Latency: 20 * time.Millisecond}}
		services[random.IntN(len(services))].Inject(faults[random.IntN(len(faults))])
	case 6:
		c.rename(i, random)
	case 7:
		c.rotate(t)
	case 8:
		c.src.Forget(subject)
		c.flow.Forget(subject.Tenant)
	case 9:
		if random.IntN(4) == 0 {
			c.src.Purge()
			c.flow.Purge()
		}
	case 10:
		// Whatever this answers, it is about this tenant.
		ctx := tokensource.WithTenant(context.Background(), subject.Tenant)
		servers, _ := c.flow.MCPServers(ctx)
		for _, s := range servers {
			if !strings.HasPrefix(s.URL, c.TenantGatewayURL(subject.Tenant)+"/v1/mcp/") {
				t.Errorf("tenant %d: server %+v", i, s)
			}
		}
	}
}

// rename gives the fragments of a tenant other names.
func (c *chaos) rename(i int, random *rand.Rand) {
	for _, label := range []string{agwtest.LabelSystem, agwtest.LabelUser} {
		c.SetFragments(tenantName(i), label, agwtest.Fragment{Name: fmt.Sprintf("%s-%d-%d", label, i, random.IntN(3))})
	}
}

func (c *chaos) rotate(t *testing.T) {
	c.rotation.Lock()
	defer c.rotation.Unlock()
	c.RotateClientSecret()
	if err := c.WriteDestinationBinding(c.root); err != nil {
		t.Error(err)
	}
	c.RefuseOldClients()
}

// check looks at what the services saw in all the time.
func (c *chaos) check(t *testing.T) {
	for _, r := range c.Requests() {
		switch r.Service {
		case agwtest.ServiceGateway:
			if got := r.Tenant + "/" + r.User; got != r.Header.Get("X-Subject") {
				t.Errorf("the gateway saw a token of %s in a request for %s", got, r.Header.Get("X-Subject"))
			}
		case agwtest.ServiceDestination:
			if r.Status == http.StatusBadRequest || r.Status == http.StatusUnprocessableEntity {
				t.Errorf("tenant %s, user %s: the Destination Service answered %d", r.Tenant, r.User, r.Status)
			}
		case agwtest.ServiceForeign:
			t.Error("a request to a foreign host")
		}
	}
}
