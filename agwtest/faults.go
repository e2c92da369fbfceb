package agwtest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is one deviation of a service from what it should answer. Its parts
// combine: Latency and Hang come first, then the answer is replaced (Status,
// Body, Redirect, Leak, Handler) or, when none of those is set, is the true one, and
// last it may be mangled (Padding, TruncateAfter, Reset).
type Fault struct {
	// Times is the number of answers it befalls when given to [Service.Inject];
	// 0 means 1.
	Times int

	// Latency delays the answer; it ends early when the client goes.
	Latency time.Duration
	// Hang withholds the answer until [Service.Release], [Server.Close] or the
	// client's going.
	Hang bool

	// Status replaces the answer by one of this status code. With Body but
	// without Status the code is 200.
	Status int
	// ContentType of the replaced answer; "" means application/json.
	ContentType string
	// Body of the replaced answer.
	Body string
	// Redirect answers with this Location; Status is 307 unless set.
	Redirect string
	// Leak answers with an RFC 6749 error whose description repeats the
	// credentials that the request carried; Status is 400 unless set.
	Leak bool
	// Handler answers in place of the service, for whatever the other fields do
	// not offer. It finds the form of a token request in r.PostForm.
	Handler http.Handler
	// RetryAfter is the value of a Retry-After header: seconds or a date.
	RetryAfter string
	// Header is added to the answer.
	Header http.Header

	// Padding puts that many bytes of white space before the body, which leaves
	// JSON valid: an answer of 10 MiB is Padding: 10 << 20.
	Padding int
	// TruncateAfter ends the body after that many bytes as if it were complete;
	// 0 means no truncation.
	TruncateAfter int
	// Reset cuts the connection (the stream in HTTP/2) after ResetAfter bytes of
	// the body, or before any answer when ResetAfter is 0.
	Reset      bool
	ResetAfter int
}

func (f *Fault) replaces() bool {
	return f.Status != 0 || f.Body != "" || f.Redirect != "" || f.Leak || f.Handler != nil
}

// Service is the handle on one service of the double: what goes wrong there,
// and what its connections saw.
type Service struct {
	name  string
	meter *meter
	done  <-chan struct{} // closed when the server closes

	mu     sync.Mutex
	queue  []Fault
	decide func(Request) *Fault
	see    func(Request)
	gate   chan struct{} // closed by Release
}

func newService(name string, m *meter, done <-chan struct{}) *Service {
	return &Service{name: name, meter: m, done: done, gate: make(chan struct{})}
}

// Inject has the next answers go wrong, one fault after the other.
func (s *Service) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, faults...)
}

// OnRequest has decide look at each request for which no injected fault is
// left; nil means the true answer. It is called concurrently and may block.
// A nil decide removes the one before.
func (s *Service) OnRequest(decide func(Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = decide
}

// OnAnswer has see look at each request when its answer is complete, or has been
// cut off, but before the connection is free for the next one. It is called
// concurrently. A nil see removes the one before.
func (s *Service) OnAnswer(see func(Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.see = see
}

// answered tells that a request has its answer.
func (s *Service) answered(r Request) {
	s.mu.Lock()
	see := s.see
	s.mu.Unlock()
	if see != nil {
		see(r)
	}
}

// Heal drops all faults that are still to come.
func (s *Service) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.decide = nil, nil
}

// Release lets go of the requests and streams that hang now.
func (s *Service) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gate)
	s.gate = make(chan struct{})
}

// Meter tells what the origin of the service saw since the start or the last
// [Server.ResetCounts]. Services that share an origin share its meter: the
// fragments and the destinations, and the two gateways.
func (s *Service) Meter() Meter { return s.meter.snapshot() }

// next takes the fault for the request, nil for none.
func (s *Service) next(r Request) *Fault {
	s.mu.Lock()
	decide := s.decide
	if len(s.queue) > 0 {
		defer s.mu.Unlock()
		f := s.queue[0]
		if s.queue[0].Times--; s.queue[0].Times <= 0 {
			s.queue = slices.Delete(s.queue, 0, 1)
		}
		return &f
	}
	s.mu.Unlock()
	if decide == nil {
		return nil
	}
	return decide(r)
}

// wait blocks for the time d, or with d < 0 until Release, and reports whether
// the request is still to be answered.
func (s *Service) wait(r *http.Request, d time.Duration) bool {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	var after <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		after, gate = timer.C, nil
	}
	select {
	case <-after:
		return true
	case <-gate:
		return true
	case <-r.Context().Done():
		return false
	case <-s.done:
		return false
	}
}

// answer lets the fault happen and reports whether the true answer is still to
// be given, through w. It panics with http.ErrAbortHandler, as net/http wants
// it, to cut the connection.
func (s *Service) answer(w *answer, r *http.Request, d *Request, f *Fault) (proceed bool) {
	if f.Latency > 0 && !s.wait(r, f.Latency) || f.Hang && !s.wait(r, -1) {
		panic(http.ErrAbortHandler)
	}
	if f.Reset && f.ResetAfter <= 0 {
		panic(http.ErrAbortHandler)
	}
	w.fault = f
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if !f.replaces() {
		return true
	}
	f.replace(w, r, d)
	return false
}

func (f *Fault) replace(w http.ResponseWriter, r *http.Request, d *Request) {
	status := f.Status
	switch {
	case f.Handler != nil:
		f.Handler.ServeHTTP(w, r)
		return
	case f.Redirect != "":
		w.Header().Set("Location", f.Redirect)
		status = orDefault(status, http.StatusTemporaryRedirect)
	case f.Leak:
		writeOAuthError(w, orDefault(status, http.StatusBadRequest), "invalid_request", "refused: "+d.secrets()+f.Body)
		return
	}
	w.Header().Set("Content-Type", orDefault(f.ContentType, "application/json"))
	w.WriteHeader(orDefault(status, http.StatusOK))
	_, _ = io.WriteString(w, f.Body)
}

// secrets lists the credentials that came with a request.
func (d *Request) secrets() string {
	parts := []string{}
	for _, name := range []string{"client_id", "client_secret", "assertion"} {
		if v := d.Form.Get(name); v != "" {
			parts = append(parts, name+"="+v)
		}
	}
	for _, name := range []string{"Authorization", "X-User-Token"} {
		if v := d.Header.Get(name); v != "" {
			parts = append(parts, name+": "+v)
		}
	}
	return strings.Join(parts, " ")
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
