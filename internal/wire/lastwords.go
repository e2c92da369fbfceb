package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// With TLS 1.3 a client has finished the handshake before the server has looked at
// its certificate. A server that refuses it sends an alert and closes the
// connection, just when the request is being written. Whether net/http reports the
// alert or that the write failed is a matter of luck; what follows takes the luck
// out of it.

const lastWordsTimeout = time.Second

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// patiently returns dial, or the dial function of a net.Dialer if dial is nil, with
// connections that are patient.
func patiently(dial dialFunc) dialFunc {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return patientConn{conn}, nil
	}
}

// A patientConn does not complain when its peer has gone while it writes: it leaves
// that to the reader, who finds what the peer said before.
type patientConn struct{ net.Conn }

func (c patientConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	return len(p), c.SetReadDeadline(time.Now().Add(lastWordsTimeout))
}

// lastWords returns what ended conn if err only says that it has ended.
func lastWords(conn net.Conn, err error) error {
	c, ok := conn.(*tls.Conn)
	if !ok || !saysClosed(err) {
		return err
	}
	// The connection is closed, so that this returns at once: with the error that the
	// last read ended in, which crypto/tls keeps.
	if _, last := c.Read(make([]byte, 1)); last != nil {
		return last
	}
	return err
}

// saysClosed reports whether err says that our side of a connection was closed
// before the request was sent. The errors of HTTP/2 are not exported.
func saysClosed(err error) bool {
	switch err.Error() {
	case "http2: client conn could not be established", "http2: client conn is closed":
		return true
	}
	return errors.Is(err, net.ErrClosed)
}
