package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// With TLS 1.3 a client has finished the handshake before the server looks at the client
// certificate. A server that refuses it sends an alert and closes the connection, at the
// moment at which the request is being written. net/http then reports either the alert or
// that the write failed, whichever it sees first. Some servers close the connection without
// an alert. An Attempt finds out what has happened.

// alertTimeout is how long an alert may take to arrive after a write has failed.
const alertTimeout = time.Second

// A serviceConn is a connection of a transport of [ForService], beneath TLS.
//
// It can be read after a write has failed: it does not report that the peer has closed the
// connection, but leaves it to the reader to find what the peer had sent before.
type serviceConn struct {
	net.Conn
	dialedFor *Attempt
	answered  atomic.Bool // a response has come, so that the certificate was accepted
}

func (c *serviceConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	return len(p), c.SetReadDeadline(time.Now().Add(alertTimeout))
}

// An Attempt is one request on its way. It must be made by [Watch].
type Attempt struct {
	// asked: the server has asked for a client certificate on a connection that was dialed
	// for the request. More than one can be, all of them to the same server.
	asked atomic.Bool

	mu     sync.Mutex
	step   string
	conn   net.Conn     // that the request is sent on; nil until there is one
	dialed *serviceConn // for the request, most recently; nil if an idle connection was used
}

type attemptKey struct{}

// attemptOf returns the attempt for which ctx was made. If there is none, it is one that
// nobody looks at.
func attemptOf(ctx context.Context) *Attempt {
	if a, ok := ctx.Value(attemptKey{}).(*Attempt); ok {
		return a
	}
	return new(Attempt)
}

// Watch returns a context for one request, derived from ctx, and the attempt that is told
// what happens to that request. With other transports than those of [ForService], it is
// told less.
func Watch(ctx context.Context) (context.Context, *Attempt) {
	a := &Attempt{step: "waiting for the response"} // all that is known of a transport that tells nothing
	ctx = context.WithValue(ctx, attemptKey{}, a)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { // again if a connection that was idle turns out to be closed
			a.mu.Lock()
			defer a.mu.Unlock()
			a.step, a.conn = "waiting for a connection", nil
		},
		DNSStart:          func(info httptrace.DNSStartInfo) { a.dialing("looking up " + info.Host) },
		ConnectStart:      func(_, address string) { a.dialing("connecting to " + address) },
		TLSHandshakeStart: func() { a.dialing("in the TLS handshake") },
		GotConn: func(info httptrace.GotConnInfo) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.step, a.conn = "sending the request", info.Conn
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if info.Err == nil && a.step == "sending the request" { // the response may have come before
				a.step = "waiting for the response"
			}
		},
		GotFirstResponseByte: func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.step = "reading the response"
			if c := a.service(); c != nil {
				c.answered.Store(true)
			}
		},
	}), a
}

// dialing sets the step, unless the request has got another connection meanwhile.
func (a *Attempt) dialing(step string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		a.step = step
	}
}

// hasDialed sets the connection that was dialed.
func (a *Attempt) hasDialed(c *serviceConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dialed = c
}

// service returns the connection that the request is sent on or, if there is none yet, the
// one that was dialed for it; nil if that is not one of a transport of [ForService].
func (a *Attempt) service() *serviceConn {
	if a.conn == nil {
		return a.dialed
	}
	for conn := a.conn; ; {
		switch c := conn.(type) {
		case *serviceConn:
			return c
		case *tls.Conn:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// Step says what the request is waiting for, such as "connecting to 192.0.2.1:443".
func (a *Attempt) Step() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.step
}

// Cause returns what is behind err, which RoundTrip or a read of the body has returned. If
// err only says that the connection is closed, that is the error with which it was closed;
// otherwise it is err.
func (a *Attempt) Cause(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	conn, ok := a.conn.(*tls.Conn)
	if !ok {
		return err
	}
	switch err.Error() { // net/http does not export these errors
	case "http: server closed idle connection", "http2: client conn could not be established", "http2: client conn is closed":
	default:
		if !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	// The connection is closed, so that this returns at once, with the error that ended
	// the last read: crypto/tls keeps it.
	if _, last := conn.Read(make([]byte, 1)); last != nil {
		return last
	}
	return err
}

// MayBeRefusal reports whether cause, which [Attempt.Cause] has returned, may mean that the
// server refuses the client certificate, or that there is none: it has asked for one, and
// then closed the connection without an alert and without a response.
func (a *Attempt) MayBeRefusal(cause error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.service()
	closed := errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, syscall.ECONNRESET)
	return closed && c != nil && c.dialedFor.asked.Load() && !c.answered.Load()
}
