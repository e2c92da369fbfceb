package agwtest_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
)

func TestTransportReachesTheDoubleOnly(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	port := srv.ForeignURL()[strings.LastIndexByte(srv.ForeignURL(), ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "agwtest.invalid", "x.agwtest.invalid", "a.authentication.agwtest.invalid"} {
		if r := do(t, c, request(t, "GET", "https://"+host+port, "")); r.StatusCode != 200 {
			t.Errorf("%s: %s", host, r.Status)
		}
	}
	for _, address := range []string{"example.com" + port, "127.0.0.1:1", "xagwtest.invalid" + port, "127.0.0.2" + port} {
		if resp, err := c.Get("https://" + address); err == nil || !strings.Contains(err.Error(), "no host of the double") {
			if err == nil {
				resp.Body.Close()
			}
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := srv.Transport().DialContext(t.Context(), "tcp", "x"); err == nil {
		t.Error("an address without a port was dialed")
	}
	if a, b := srv.Transport(), srv.Transport(); a == b {
		t.Error("the transport is shared")
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{KeepRequests: 3})
	c := client(t, srv)
	before := time.Now()
	alice := srv.UserToken(agwtest.User{Name: "alice", Tenant: "t1"})
	token(t, srv, c, userForm(srv, alice))
	service := serviceToken(t, srv, c, "t1")
	call(t, c, labelURL(srv, agwtest.LabelUser), service, "X-user-token", alice)
	r := srv.Requests()
	if len(r) != 3 || r[0].Service != agwtest.ServiceToken || r[1].Service != agwtest.ServiceAuth || r[2].Service != agwtest.ServiceFragments {
		t.Fatalf("got %+v", r)
	}
	if r[0].User != "alice" || r[0].Tenant != "t1" || r[0].Client != srv.ClientID() || r[0].Form.Get("assertion") != alice || r[0].Status != 200 {
		t.Errorf("token request: %+v", r[0])
	}
	if r[1].Tenant != "t1" || r[1].Path != "/oauth/token" || !strings.HasPrefix(r[1].Host, "t1.") || r[1].Method != "POST" {
		t.Errorf("service token request: %+v", r[1])
	}
	if r[2].Tenant != "t1" || r[2].User != "alice" || r[2].RawQuery == "" || r[2].Time.Before(before) {
		t.Errorf("fragment request: %+v", r[2])
	}
	for range 10 {
		do(t, c, request(t, "GET", srv.ForeignURL(), ""))
	}
	if r = srv.Requests(); len(r) != 3 || r[0].Service != agwtest.ServiceForeign || srv.Counts().Foreign != 10 {
		t.Errorf("%d kept of %+v", len(r), srv.Counts())
	}
	srv.ResetCounts()
	if len(srv.Requests()) != 0 || srv.Counts() != (agwtest.Counts{}) || srv.Gateway.Meter().Connections != 0 {
		t.Error("ResetCounts leaves something")
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{HTTP1: true})
	var all sync.WaitGroup
	all.Add(5)
	srv.Foreign.OnRequest(func(agwtest.Request) *agwtest.Fault {
		all.Done()
		all.Wait() // until five are in flight
		return nil
	})
	c := client(t, srv)
	c.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	var callers sync.WaitGroup
	for range 5 {
		callers.Go(func() {
			resp, err := c.Get(srv.ForeignURL())
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
	}
	callers.Wait()
	if m := srv.Foreign.Meter(); m.MaxInFlight != 5 || m.Connections != 5 || m.Handshakes != 5 {
		t.Errorf("%+v", m)
	}
	srv.Foreign.Heal()
	srv.ResetCounts()
	c.CloseIdleConnections()
	do(t, c, request(t, "GET", srv.ForeignURL(), ""))
	if m := srv.Foreign.Meter(); m.MaxInFlight != 1 || m.Connections != 1 || m.Resumed != 1 || m.Handshakes != 1 {
		t.Errorf("after resumption: %+v", m)
	}
	r := srv.Requests()
	if len(r) != 1 || !r[0].Resumed {
		t.Errorf("resumption is not recorded: %+v", r)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	root := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				access := token(t, srv, c, systemForm(srv))
				call(t, c, srv.GatewayURL(), access)
				srv.Revoke(access)
			}
		})
	}
	all.Go(func() {
		for range 5 {
			if err := srv.RotateClientCertificate(); err != nil {
				t.Error(err)
			}
			if err := srv.WriteBinding(root); err != nil {
				t.Error(err)
			}
			srv.RefuseOldClients()
			srv.Tokens.SetLifetime(time.Minute)
			srv.Gateway.Release()
			srv.Requests()
			srv.Counts()
			srv.Tokens.Meter()
		}
	})
	all.Wait()
}

// TestCloseDuringHandshake leaves a client that says nothing to Close.
func TestCloseDuringHandshake(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	conn, err := srv.Transport().DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.ForeignURL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("no handshake at all\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil { // the server has closed its side
		t.Fatal(err)
	}
	srv.Close() // and does not wait for this one
}

func TestOnAnswer(t *testing.T) {
	t.Parallel()
	srv := start(t, agwtest.Options{})
	c := client(t, srv)
	var mu sync.Mutex
	var seen []agwtest.Request
	srv.Foreign.OnAnswer(func(r agwtest.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r)
	})
	srv.Foreign.Inject(agwtest.Fault{Status: http.StatusBadGateway}, agwtest.Fault{Reset: true})
	do(t, c, request(t, http.MethodGet, srv.ForeignURL(), ""))
	if resp, err := c.Get(srv.ForeignURL()); err == nil {
		resp.Body.Close()
		t.Error("not cut off")
	}
	do(t, c, request(t, http.MethodGet, srv.ForeignURL(), ""))
	srv.Foreign.OnAnswer(nil)
	do(t, c, request(t, http.MethodGet, srv.ForeignURL(), ""))
	mu.Lock()
	defer mu.Unlock()
	for i, want := range []agwtest.Request{{Status: 502, Faulty: true}, {Status: 0, Faulty: true}, {Status: 200}} {
		if i >= len(seen) || seen[i].Status != want.Status || seen[i].Faulty != want.Faulty || seen[i].Service != agwtest.ServiceForeign {
			t.Errorf("answer %d, want status %d, faulty %t; seen %+v", i, want.Status, want.Faulty, seen)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d answers seen", len(seen))
	}
}
