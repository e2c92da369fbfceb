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
	"github.com/agwgo/agw/tokensource"
)

var isolationSteps = flag.Int("isolation.steps", 150, "steps of each caller in TestIsolation")

const (
	isolationTenants = 6
	isolationUsers   = 5 // of each tenant; number 0 is the system
	isolationCallers = 8
)

// isolationTest is what the callers of TestIsolation share.
type isolationTest struct {
	e2e    *endToEnd
	root   string
	client *http.Client
	ahead  atomic.Int64 // how far the clock of the sources is ahead, in ns
	tokens [isolationTenants][isolationUsers]string

	rotation                     sync.Mutex
	served, unauthorized, failed atomic.Int64
}

// TestIsolation lets callers act for random tenants and users while tokens expire, are
// revoked, invalidated and forgotten, fragments are renamed, secrets are renewed and
// services fail. The gateway never sees a token of another tenant or user than the call's
// own, and a token never reaches the gateway of another tenant.
func TestIsolation(t *testing.T) {
	t.Parallel()
	it := newIsolationTest(t)
	var group sync.WaitGroup
	for range isolationCallers {
		seed := rand.Uint64()
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range *isolationSteps {
				tenant, user := random.IntN(isolationTenants), random.IntN(isolationUsers)
				if random.IntN(5) > 0 {
					it.call(t, tenant, user)
				} else {
					it.disturb(t, random, tenant, user)
				}
			}
		})
	}
	group.Wait()
	it.checkRequests(t)
	t.Logf("%d calls served, %d unauthorized, %d failed", it.served.Load(), it.unauthorized.Load(), it.failed.Load())
	if want := isolationCallers * int64(*isolationSteps) / 4; it.served.Load() < want {
		t.Errorf("%d calls were served, which prove nothing; want at least %d", it.served.Load(), want)
	}
}

func newIsolationTest(t *testing.T) *isolationTest {
	t.Helper()
	it := &isolationTest{root: t.TempDir()}
	now := func() cache.Instant { return cache.Now().Add(time.Duration(it.ahead.Load())) }
	settings := tokensource.Settings{MaxSystemTokens: 4, MaxUserTokens: 12, FetchTimeout: 20 * time.Second}
	it.e2e = startEndToEndWith(t, it.root,
		agwtest.Options{SecondGateway: []string{tenantName(1), tenantName(3)}, KeepRequests: 1 << 20},
		tokensource.Options{Settings: settings}, now)
	transport := it.e2e.server.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	it.client = &http.Client{Transport: transport}
	for i := range isolationTenants {
		for j := 1; j < isolationUsers; j++ {
			it.tokens[i][j] = it.e2e.server.UserToken(agwtest.User{Name: userName(j), Tenant: tenantName(i), Lifetime: 24 * time.Hour})
		}
	}
	return it
}

func tenantName(i int) string { return fmt.Sprint("tenant-", i) }

// userName returns a name that is the same in all tenants, on purpose.
func userName(j int) string {
	if j == 0 {
		return ""
	}
	return fmt.Sprint("user-", j)
}

// call obtains a token for user j of tenant i and sends it to its gateway.
func (it *isolationTest) call(t *testing.T, i, j int) {
	ctx := tokensource.WithTenant(context.Background(), tenantName(i))
	if j > 0 {
		ctx = tokensource.WithUserToken(ctx, it.tokens[i][j])
	}
	token, err := it.e2e.source.AccessToken(ctx)
	if err != nil {
		it.failed.Add(1)
		var e *tokensource.Error
		if !errors.As(err, &e) && !errors.Is(err, tokensource.ErrForgotten) {
			t.Errorf("tenant %d, user %d: got %T %v, want a *tokensource.Error or ErrForgotten", i, j, err, err)
		}
		return
	}
	if got, want := token.GatewayURL().String(), it.e2e.server.TenantGatewayURL(tenantName(i)); got != want {
		t.Errorf("tenant %d: gateway %s, want %s", i, got, want)
	}
	req, err := http.NewRequest(http.MethodGet, token.GatewayURL().String(), nil)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Authorization", token.Authorization())
	req.Header.Set("X-Subject", tenantName(i)+"/"+userName(j)) // of whom the token should be
	resp, err := it.client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		it.served.Add(1)
		echo, err := agwtest.DecodeEcho(resp.Body)
		if err != nil || echo.Tenant != tenantName(i) || echo.User != userName(j) {
			t.Errorf("tenant %d, user %d: the gateway sees %+v (%v)", i, j, echo.Caller, err)
		}
	case http.StatusUnauthorized:
		it.unauthorized.Add(1)
		it.e2e.source.Invalidate(token)
	default:
		t.Errorf("tenant %d, user %d: the gateway responds with status %d", i, j, resp.StatusCode)
	}
}

// disturb does one of the things that make calls harder.
func (it *isolationTest) disturb(t *testing.T, random *rand.Rand, i, j int) {
	tenant, srv := tenantName(i), it.e2e.server
	services := []*agwtest.Service{srv.Auth.Service, srv.Fragments, srv.Destinations.Service}
	switch random.IntN(11) {
	case 0, 1:
		it.ahead.Add(int64(random.Int64N(int64(2 * time.Minute))))
	case 2:
		lifetimes := []time.Duration{time.Second, 5 * time.Second, time.Minute, time.Hour}
		srv.Destinations.SetLifetime(lifetimes[random.IntN(len(lifetimes))])
		srv.Auth.SetLifetime(lifetimes[2+random.IntN(2)])
	case 3:
		srv.RevokeUser(userName(j))
	case 4:
		srv.RevokeServiceTokens()
	case 5:
		faults := []agwtest.Fault{{Status: 500}, {Status: 401}, {Status: 404}, {Reset: true}, {TruncateAfter: 10}, {Body: "[]"}, {Body: "{}"}, {Latency: 20 * time.Millisecond}}
		services[random.IntN(len(services))].Inject(faults[random.IntN(len(faults))])
	case 6:
		for _, label := range []string{"subscriber.ias", "subscriber.ias.user"} {
			srv.SetFragments(tenant, label, fmt.Sprintf(`[{"FragmentName":"%s-%d-%d"}]`, label, i, random.IntN(3)))
		}
	case 7:
		it.renewSecret(t)
	case 8:
		if err := it.e2e.source.Forget(subject(tenant, it.tokens[i][j])); err != nil {
			t.Errorf("Forget: %v", err)
		}
	case 9:
		if random.IntN(4) == 0 {
			it.e2e.source.Purge()
			it.e2e.flow.Purge()
		}
	case 10:
		servers, _ := it.e2e.flow.MCPServers(tokensource.WithTenant(context.Background(), tenant))
		for _, s := range servers {
			if !strings.HasPrefix(s.URL, srv.TenantGatewayURL(tenant)+"/v1/mcp/") {
				t.Errorf("tenant %d: got the MCP server %+v, which is of another tenant", i, s)
			}
		}
	}
}

func (it *isolationTest) renewSecret(t *testing.T) {
	it.rotation.Lock()
	defer it.rotation.Unlock()
	if err := it.e2e.server.RotateCredentials(); err != nil {
		t.Error(err)
	}
	if err := it.e2e.server.WriteDestinationBinding(it.root); err != nil {
		t.Error(err)
	}
	it.e2e.server.RefuseOldCredentials()
}

// checkRequests checks what the services saw in all the time.
func (it *isolationTest) checkRequests(t *testing.T) {
	for _, r := range it.e2e.server.Requests() {
		switch r.Service {
		case agwtest.ServiceGateway:
			if got := r.Tenant + "/" + r.User; got != r.Header.Get("X-Subject") {
				t.Errorf("the gateway saw a token of %s in a request for %s", got, r.Header.Get("X-Subject"))
			}
		case agwtest.ServiceDestination:
			if r.Status == http.StatusBadRequest || r.Status == http.StatusUnprocessableEntity {
				t.Errorf("tenant %s, user %s: the Destination Service responded with status %d", r.Tenant, r.User, r.Status)
			}
		case agwtest.ServiceForeign:
			t.Errorf("a request went to a foreign host: %s %s", r.Host, r.Path)
		}
	}
}
