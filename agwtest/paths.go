package agwtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// builtin picks one of the gateway's own paths, which the package
// documentation lists.
func (s *Server) builtin(path string) http.Handler {
	code, isStatus := strings.CutPrefix(path, "/status/")
	switch {
	case path == "/sse":
		return http.HandlerFunc(s.serveEvents)
	case path == "/trailers":
		return http.HandlerFunc(serveTrailers)
	case path == "/upgrade":
		return http.HandlerFunc(s.serveUpgrade)
	case path == "/redirect":
		return http.HandlerFunc(serveRedirect)
	case isStatus:
		return serveStatus(code)
	}
	return nil
}

// Event is the JSON in the data of a server-sent event of /sse.
type Event struct {
	// Number counts the events of a stream from 1; it is the event's id too.
	Number int
	Caller
}

// serveEvents streams events, each of them an Event. Without the parameter
// events, or with hold, the stream stays open until the gateway is told to
// [Service.Release] it.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	caller, _ := CallerFromContext(r.Context())
	query := r.URL.Query()
	events, _ := strconv.Atoi(query.Get("events"))
	interval, _ := time.ParseDuration(query.Get("interval"))
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	for n := 1; n <= events; n++ {
		if interval > 0 && !s.Gateway.wait(r, interval) {
			return
		}
		data, _ := json.Marshal(Event{Number: n, Caller: caller})
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n, data); err != nil {
			return
		}
		_ = flusher.Flush()
	}
	if events <= 0 || query.Get("hold") == "true" {
		s.Gateway.wait(r, -1)
	}
}

func serveTrailers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Agwtest-Trailer")
	echo(w, r)
	w.Header().Set("Agwtest-Trailer", "the end")
}

// serveUpgrade switches to the protocol that the client asked for and then
// echoes bytes until either side closes.
func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	protocol := r.Header.Get("Upgrade")
	if protocol == "" {
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "agwtest: "+err.Error(), http.StatusInternalServerError)
		return
	}
	// net/http no longer knows the connection, so closing the server has to
	// reach it from here.
	stop := make(chan struct{})
	defer close(stop)
	s.requests.Go(func() {
		select {
		case <-s.done:
		case <-stop:
		}
		_ = conn.Close()
	})
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	_, _ = io.Copy(conn, buffered)
}

func serveRedirect(w http.ResponseWriter, r *http.Request) {
	status, err := strconv.Atoi(orDefault(r.URL.Query().Get("status"), "307"))
	if err != nil || status < 300 || status > 399 {
		http.Error(w, "agwtest: status is not 3xx", http.StatusBadRequest)
		return
	}
	w.Header().Set("Location", r.URL.Query().Get("to"))
	w.WriteHeader(status)
}

func serveStatus(code string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(code)
		if err != nil || status < 200 || status > 599 {
			http.Error(w, "agwtest: no status code between 200 and 599", http.StatusBadRequest)
			return
		}
		w.WriteHeader(status)
	})
}
