package agwtest

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxLinger bounds how long a refused client is waited for.
const maxLinger = 2 * time.Second

// lingerer closes connections whose handshake failed so that the client gets to
// read why. A client of TLS 1.3 has sent its request by then; closing on unread
// bytes resets the connection, and the reset overtakes the alert.
type lingerer struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	wait   sync.WaitGroup
}

// lingerListener has its connections linger.
type lingerListener struct {
	net.Listener
	lingerer *lingerer
}

// Accept implements net.Listener.
func (l lingerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lingerConn{Conn: conn, lingerer: l.lingerer}, nil
}

// lingerConn is a connection whose handshake may fail.
type lingerConn struct {
	net.Conn
	lingerer *lingerer
	shaken   atomic.Bool // the handshake succeeded
	once     sync.Once
}

// Close implements net.Conn. Of a refused client it closes the writing side,
// and the rest once the client has left.
func (c *lingerConn) Close() (err error) {
	c.once.Do(func() {
		if c.shaken.Load() || !c.lingerer.linger(c.Conn) {
			err = c.Conn.Close()
		}
	})
	return err
}

// linger takes care of closing conn and reports whether it does.
func (l *lingerer) linger(conn net.Conn) bool {
	half, ok := conn.(interface{ CloseWrite() error })
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || l.closed || half.CloseWrite() != nil {
		return false
	}
	if l.conns == nil {
		l.conns = map[net.Conn]struct{}{}
	}
	l.conns[conn] = struct{}{}
	l.wait.Go(func() {
		_ = conn.SetReadDeadline(time.Now().Add(maxLinger))
		_, _ = io.Copy(io.Discard, conn)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, conn)
		_ = conn.Close()
	})
	return true
}

// close ends all lingering.
func (l *lingerer) close() {
	l.mu.Lock()
	l.closed = true
	for conn := range l.conns {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.wait.Wait()
}

// handshake is what a good handshake on the connection of hello runs.
func (m *meter) handshake(hello *tls.ClientHelloInfo) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if c, ok := hello.Conn.(*lingerConn); ok {
			c.shaken.Store(true)
		}
		m.handshakes.Add(1)
		if state.DidResume {
			m.resumed.Add(1)
		}
		return nil
	}
}
