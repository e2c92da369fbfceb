package agwtest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxCloseDelay bounds how long the connection of a refused client stays open.
const maxCloseDelay = 2 * time.Second

// refusedConns are connections whose TLS handshake failed. They stay half open
// until the client has read why. A client of TLS 1.3 has sent its request by
// then; closing a connection with unread bytes resets it, and the reset would
// overtake the alert.
type refusedConns struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	wait   sync.WaitGroup
}

// closeLater closes the writing side of conn now and the rest when the client
// has closed its own. It reports false if conn is to be closed at once instead.
func (f *refusedConns) closeLater(conn net.Conn) bool {
	half, ok := conn.(interface{ CloseWrite() error })
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok || f.closed || half.CloseWrite() != nil {
		return false
	}
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	f.conns[conn] = struct{}{}
	f.wait.Go(func() {
		_ = conn.SetReadDeadline(time.Now().Add(maxCloseDelay))
		_, _ = io.Copy(io.Discard, conn)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, conn)
		_ = conn.Close()
	})
	return true
}

// close closes all of them.
func (f *refusedConns) close() {
	f.mu.Lock()
	f.closed = true
	for conn := range f.conns {
		_ = conn.Close()
	}
	f.mu.Unlock()
	f.wait.Wait()
}

// handshakeListener accepts connections that know whether their handshake
// succeeded.
type handshakeListener struct {
	net.Listener
	refused *refusedConns
}

// Accept implements net.Listener.
func (l handshakeListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &handshakeConn{Conn: conn, refused: l.refused}, nil
}

type handshakeConn struct {
	net.Conn
	refused   *refusedConns
	succeeded atomic.Bool
	once      sync.Once
}

// handshakeSucceeded is called when the TLS handshake on conn has.
func handshakeSucceeded(conn net.Conn) {
	if c, ok := conn.(*handshakeConn); ok {
		c.succeeded.Store(true)
	}
}

// Close implements net.Conn.
func (c *handshakeConn) Close() (err error) {
	c.once.Do(func() {
		if c.succeeded.Load() || !c.refused.closeLater(c.Conn) {
			err = c.Conn.Close()
		}
	})
	return err
}
