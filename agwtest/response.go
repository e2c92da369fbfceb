package agwtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
)

// response is the response writer of every service: it records the status and,
// if there is a fault, pads, truncates or cuts the body on its way.
type response struct {
	http.ResponseWriter
	status int
	fault  *Fault
	sent   int // bytes of the body so far, padding included
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher, which handlers of users may rely on.
func (w *response) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
		if w.fault != nil {
			w.Header().Del("Content-Length")
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.fault == nil {
		return w.ResponseWriter.Write(p)
	}
	if w.sent == 0 {
		blank := bytes.Repeat([]byte(" "), 32<<10)
		for left := w.fault.Padding; left > 0; left -= len(blank) {
			if err := w.write(blank[:min(left, len(blank))]); err != nil {
				return 0, err
			}
		}
	}
	return len(p), w.write(p)
}

// write sends what the fault leaves of p.
func (w *response) write(p []byte) error {
	limit := w.fault.TruncateAfter
	if limit > 0 {
		p = p[:min(len(p), limit-w.sent)]
	}
	w.sent += len(p)
	_, err := w.ResponseWriter.Write(p)
	if w.fault.Reset && w.sent >= limit {
		w.cut()
	}
	return err
}

// finish ends the response. A connection that was to be cut after more bytes than
// there were is cut now.
func (w *response) finish() {
	if w.fault != nil && w.fault.Reset {
		w.cut()
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

func (w *response) cut() {
	w.Flush()
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
