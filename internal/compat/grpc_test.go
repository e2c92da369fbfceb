package compat_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/oauth"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/agwgo/agw/agwtest"
)

// The credentials of gRPC take our source: of the system identity, or of one user.
func TestGRPC(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	certificate, roots := selfSigned(t)
	address, bearers := serveGRPC(t, credentials.NewServerTLSFromCert(&certificate))
	trust := credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	alice := w.Source().For(w.subject("alice"))

	for _, src := range []oauth.TokenSource{{TokenSource: w.Source()}, {TokenSource: alice}} {
		if err := check(t, ctx, address, grpc.WithTransportCredentials(trust), grpc.WithPerRPCCredentials(src)); err != nil {
			t.Fatal(err)
		}
		want, err := src.Token()
		if err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-bearers:
			if got != "Bearer "+want.AccessToken {
				t.Error("the server got another token")
			}
		default:
			t.Error("the server got no token")
		}
	}
	if n := w.server.Counts().Token; n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}

// Nor does gRPC send a token in the clear.
func TestGRPCInsecure(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	address, bearers := serveGRPC(t, insecure.NewCredentials())
	err := check(t, ctx, address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: w.Source()}))
	if err == nil || len(bearers) > 0 {
		t.Errorf("Check = %v, %d tokens at the server", err, len(bearers))
	}
}

// A token that cannot be had is an error of the call.
func TestGRPCTokenFailure(t *testing.T) {
	t.Parallel()
	ctx, w := start(t, agwtest.Options{})
	w.server.Tokens.RefuseUser("alice", true)
	certificate, roots := selfSigned(t)
	address, _ := serveGRPC(t, credentials.NewServerTLSFromCert(&certificate))
	err := check(t, ctx, address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})),
		grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: w.Source().For(w.subject("alice"))}))
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("Check = %v, want code Unauthenticated", err)
	}
}

// serveGRPC serves health checks, and tells of the authorization of each.
func serveGRPC(t *testing.T, creds credentials.TransportCredentials) (address string, bearers <-chan string) {
	t.Helper()
	seen := make(chan string, 10)
	server := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			for _, value := range metadata.ValueFromIncomingContext(ctx, "authorization") {
				seen <- value
			}
			return next(ctx, req)
		}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String(), seen
}

func check(t *testing.T, ctx context.Context, address string, options ...grpc.DialOption) error {
	t.Helper()
	conn, err := grpc.NewClient(address, options...)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// selfSigned returns a certificate for 127.0.0.1 and a pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
