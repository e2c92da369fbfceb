package agwtest_test

import (
	"crypto/tls"
	"crypto/x509"
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
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	port := srv.ForeignURL()[strings.LastIndexByte(srv.ForeignURL(), ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "agwtest.invalid", "x.agwtest.invalid", "a.authentication.agwtest.invalid"} {
		assertStatus(t, host, send(t, client, newRequest(t, "GET", "https://"+host+port, "")), 200)
	}
	for name, address := range map[string]string{
		"another host":               "example.com" + port,
		"another port":               "127.0.0.1:1",
		"a host that only ends like": "xagwtest.invalid" + port,
		"another loopback address":   "127.0.0.2" + port,
	} {
		resp, err := client.Get("https://" + address)
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not a host of the double") {
			t.Errorf("%s, %s: got error %v, want the dial to be refused", name, address, err)
		}
	}
	if conn, err := srv.Transport().DialContext(t.Context(), "tcp", "x"); err == nil {
		conn.Close()
		t.Error("an address without a port was dialed")
	}
	if a, b := srv.Transport(), srv.Transport(); a == b {
		t.Error("two calls of Transport returned the same one, want a new one each")
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	fromPEM := x509.NewCertPool()
	if !fromPEM.AppendCertsFromPEM(srv.CAPEM()) {
		t.Fatalf("no certificate in CAPEM: %s", srv.CAPEM())
	}
	srv.RootCAs().AddCert(currentCertificate(t, startServer(t, agwtest.Options{})).Leaf) // the pool is the caller's own
	for name, pool := range map[string]*x509.CertPool{"RootCAs": srv.RootCAs(), "CAPEM": fromPEM} {
		client := newClient(t, srv)
		client.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
		assertStatus(t, name, send(t, client, newRequest(t, "GET", srv.ForeignURL(), "")), 200)
		if !pool.Equal(fromPEM) {
			t.Errorf("%s trusts more than the authority of the double", name)
		}
	}
	untrusting := newClient(t, srv)
	untrusting.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	if resp, err := untrusting.Get(srv.ForeignURL()); err == nil {
		resp.Body.Close()
		t.Error("a client that does not trust the authority got a response")
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{KeepRequests: 3})
	client := newClient(t, srv)
	before := time.Now()
	alice := srv.UserToken(agwtest.User{Name: "alice", Tenant: "t1"})
	obtainToken(t, srv, client, userForm(srv, alice))
	service := obtainServiceToken(t, srv, client, "t1")
	get(t, client, labelURL(srv, "subscriber.ias.user"), service, "X-user-token", alice)

	r := srv.Requests()
	if len(r) != 3 || r[0].Service != agwtest.ServiceToken || r[1].Service != agwtest.ServiceAuth || r[2].Service != agwtest.ServiceFragments {
		t.Fatalf("got %+v, want a token request, a service token request and a search for fragments", r)
	}
	if r[0].User != "alice" || r[0].Tenant != "t1" || r[0].Client != srv.ClientID() || r[0].TokenID == "" ||
		r[0].Form.Get("assertion") != alice || r[0].Status != 200 || r[0].Faulty {
		t.Errorf("token request: got %+v, want status 200, the assertion in the form, and its claims", r[0])
	}
	if r[1].Tenant != "t1" || r[1].Path != "/oauth/token" || !strings.HasPrefix(r[1].Host, "t1.") || r[1].Method != "POST" {
		t.Errorf("service token request: got %+v, want a POST to the host of t1", r[1])
	}
	if r[2].Tenant != "t1" || r[2].User != "alice" || r[2].RawQuery == "" || r[2].Time.Before(before) {
		t.Errorf("search for fragments: got %+v, want the tenant t1 and the user alice, a query, and a time of this test", r[2])
	}

	for range 10 {
		send(t, client, newRequest(t, "GET", srv.ForeignURL(), ""))
	}
	if r, n := srv.Requests(), srv.Counts().Foreign; len(r) != 3 || r[0].Service != agwtest.ServiceForeign || n != 10 {
		t.Errorf("after 10 more requests: got %d recorded and %d counted, want the newest 3 and 10", len(r), n)
	}
	srv.ResetCounts()
	if r, counts, meter := srv.Requests(), srv.Counts(), srv.Tokens.Meter(); len(r) != 0 || counts != (agwtest.Counts{}) || meter != (agwtest.Meter{}) {
		t.Errorf("after ResetCounts: got %d requests, counts %+v, meter %+v; want nothing", len(r), counts, meter)
	}
}

func TestNoRequestsAreKept(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{KeepRequests: -1})
	send(t, newClient(t, srv), newRequest(t, "GET", srv.ForeignURL(), ""))
	if r, n := srv.Requests(), srv.Counts().Foreign; len(r) != 0 || n != 1 {
		t.Errorf("got %d requests recorded and %d counted, want 0 and 1", len(r), n)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{HTTP1: true})
	var arrived sync.WaitGroup
	arrived.Add(5)
	srv.Gateway.OnRequest(func(agwtest.Request) *agwtest.Fault {
		arrived.Done()
		arrived.Wait() // until five are in flight
		return nil
	})
	client := newClient(t, srv)
	client.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	var callers sync.WaitGroup
	for range 5 {
		callers.Go(func() {
			resp, err := client.Get(srv.GatewayURL())
			if err != nil {
				t.Errorf("one of five requests: %v", err)
				return
			}
			resp.Body.Close()
		})
	}
	callers.Wait()
	if got := srv.Gateway.Meter(); got.MaxInFlight != 5 || got.Connections != 5 || got.Handshakes != 5 { // some may have resumed
		t.Errorf("five requests at the same time: got %+v, want 5 in flight, connections and handshakes", got)
	}
	srv.Gateway.ClearFaults()
	srv.ResetCounts()
	client.CloseIdleConnections()
	send(t, client, newRequest(t, "GET", srv.GatewayURL(), ""))
	if got, want := srv.Gateway.Meter(), (agwtest.Meter{MaxInFlight: 1, Connections: 1, Handshakes: 1, Resumed: 1}); got != want {
		t.Errorf("one request that resumes a session: got %+v, want %+v", got, want)
	}
}

// It is for the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	client := newClient(t, srv)
	root := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				token := obtainToken(t, srv, client, systemForm(srv))
				get(t, client, srv.GatewayURL(), token)
				srv.Revoke(token)
			}
		})
	}
	all.Go(func() {
		for range 5 {
			if err := srv.RotateCredentials(); err != nil {
				t.Errorf("rotation: %v", err)
			}
			if err := srv.WriteBinding(root); err != nil {
				t.Errorf("binding: %v", err)
			}
			srv.RefuseOldCredentials()
			srv.Tokens.SetLifetime(time.Minute)
			srv.Gateway.Release()
			srv.Requests()
			srv.Counts()
			srv.Tokens.Meter()
		}
	})
	all.Wait()
}

// Close does not wait for a client that does not speak TLS.
func TestCloseDuringHandshake(t *testing.T) {
	t.Parallel()
	srv := startServer(t, agwtest.Options{})
	conn, err := srv.Transport().DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.ForeignURL(), "https://"))
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("not a handshake\n")); err != nil {
		t.Fatalf("writing: %v", err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatalf("the server did not close its side properly: %v", err)
	}
	srv.Close()
}
