package agwtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
)

// answer is the response writer of every service: it notes the status and, when
// there is a fault, pads, truncates or cuts the body on its way.
type answer struct {
	http.ResponseWriter
	status int
	fault  *Fault
	sent   int // bytes of the body so far, padding included
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Flush implements http.Flusher, which mounted handlers may insist on.
func (a *answer) Flush() {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(a.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
		if a.fault != nil {
			a.Header().Del("Content-Length")
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.fault == nil {
		return a.ResponseWriter.Write(p)
	}
	if a.sent == 0 {
		if err := a.pad(); err != nil {
			return 0, err
		}
	}
	return len(p), a.write(p)
}

func (a *answer) pad() error {
	blank := bytes.Repeat([]byte(" "), 32<<10)
	for left := a.fault.Padding; left > 0; left -= len(blank) {
		if err := a.write(blank[:min(left, len(blank))]); err != nil {
			return err
		}
	}
	return nil
}

// write sends what the fault leaves of p.
func (a *answer) write(p []byte) error {
	limit := a.fault.TruncateAfter
	if a.fault.Reset {
		limit = a.fault.ResetAfter
	}
	if limit > 0 {
		p = p[:min(len(p), limit-a.sent)]
	}
	a.sent += len(p)
	_, err := a.ResponseWriter.Write(p)
	if a.fault.Reset && a.sent >= limit {
		a.cut()
	}
	return err
}

// finish ends the answer; a connection that was to be cut is cut now at last.
func (a *answer) finish() {
	if a.fault != nil && a.fault.Reset {
		a.cut()
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
}

func (a *answer) cut() {
	a.Flush()
	panic(http.ErrAbortHandler)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "agwtest: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// writeOAuthError answers as RFC 6749 section 5.2 has it.
func writeOAuthError(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}
