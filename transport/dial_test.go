package transport_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
)

// dialed returns the address that net/http connects to for req, with "plain " before
// it if it is not about to speak TLS, or "" if it refuses to connect at all.
func dialed(tb testing.TB, req *http.Request) string {
	tb.Helper()
	var address string
	record := func(prefix string) func(context.Context, string, string) (net.Conn, error) {
		return func(_ context.Context, _, addr string) (net.Conn, error) {
			address = prefix + addr
			return nil, errors.New("not dialed")
		}
	}
	rt := &http.Transport{DialContext: record("plain "), DialTLSContext: record(""), DisableKeepAlives: true}
	resp, err := rt.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		tb.Error("there was a connection")
	}
	return address
}
