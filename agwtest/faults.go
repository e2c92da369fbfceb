package agwtest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is one deviation of a service from what it should respond. Its parts
// combine: Latency and Hang come first; then the response is replaced (Status,
// Body, Redirect, Leak, Handler) or, if none of these is set, is the true one;
// last it may be damaged (Padding, TruncateAfter, Reset).
type Fault struct {
	// Times is the number of responses that the fault is for when it is given to
	// [Service.Inject]; 0 means 1.
	Times int

	// Latency delays the response. The delay ends early when the client goes.
	Latency time.Duration
	// Hang withholds the response until [Service.Release], [Server.Close], or
	// the client has gone.
	Hang bool

	// Status replaces the response by one with this status code. With Body but
	// without Status the code is 200.
	Status int
	// Body of the replaced response. Its Content-Type is application/json unless
	// Header says otherwise.
	Body string
	// Redirect responds with this Location; Status is 307 unless set.
	Redirect string
	// Leak responds with an error of RFC 6749 section 5.2 whose description
	// repeats the credentials that the request carried; Status is 400 unless set.
	Leak bool
	// Handler responds in place of the service, for whatever the other fields do
	// not offer. It finds the form of a token request in r.PostForm.
	Handler http.Handler
	// RetryAfter is the value of a Retry-After header: seconds or a date.
	RetryAfter string
	// Header is added to the response.
	Header http.Header

	// Padding puts that many bytes of white space before the body, which leaves
	// JSON valid: a response of 10 MiB is Padding: 10 << 20.
	Padding int
	// TruncateAfter ends the body after that many bytes as if it were complete;
	// 0 means no truncation.
	TruncateAfter int
	// Reset cuts the connection (the stream in HTTP/2) after TruncateAfter bytes
	// of the body, or before any response if TruncateAfter is 0.
	Reset bool
}

// Service is the handle on one service of the double: on what goes wrong there,
// and on what its connections saw.
type Service struct {
	name  string
	meter *meter
	done  <-chan struct{} // closed when the server closes

	mu         sync.Mutex
	queue      []Fault
	decide     func(Request) *Fault
	onResponse func(Request)
	release    chan struct{} // closed by Release
}

func newService(name string, m *meter, done <-chan struct{}) *Service {
	return &Service{name: name, meter: m, done: done, release: make(chan struct{})}
}

// Inject makes the next responses go wrong, one fault after the other.
func (s *Service) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, faults...)
}

// OnRequest has decide choose the fault of each request for which no injected
// fault is left; nil means the true response. It is called concurrently and may
// block. A nil decide removes the one before.
func (s *Service) OnRequest(decide func(Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = decide
}

// ClearFaults removes the injected faults that are left and the function of
// [Service.OnRequest]. Requests that hang need a [Service.Release].
func (s *Service) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.decide = nil, nil
}

// Release lets the requests and streams continue that hang now.
func (s *Service) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.release)
	s.release = make(chan struct{})
}

// OnResponse has observe look at each request when its response is complete, or
// has been cut off, but before the connection is free for the next request. It
// is called concurrently. A nil observe removes the one before.
func (s *Service) OnResponse(observe func(Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onResponse = observe
}

// responded tells the function of OnResponse about a request.
func (s *Service) responded(r Request) {
	s.mu.Lock()
	observe := s.onResponse
	s.mu.Unlock()
	if observe != nil {
		observe(r)
	}
}

// nextFault takes the fault for the request, nil for none.
func (s *Service) nextFault(r Request) *Fault {
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

// sleep blocks for the time d and reports whether the request is still to be
// responded to.
func (s *Service) sleep(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	case <-s.done:
		return false
	}
}

// hang blocks until Release and reports whether the request is still to be
// responded to.
func (s *Service) hang(r *http.Request) bool {
	s.mu.Lock()
	release := s.release
	s.mu.Unlock()
	select {
	case <-release:
		return true
	case <-r.Context().Done():
		return false
	case <-s.done:
		return false
	}
}

// apply lets the fault f of the request r, recorded as d, happen, and reports
// whether the true response is still to be given, through w. It panics with
// http.ErrAbortHandler, as net/http wants it, to cut the connection.
func (s *Service) apply(f *Fault, w *response, r *http.Request, d *Request) (proceed bool) {
	if f.Latency > 0 && !s.sleep(r, f.Latency) || f.Hang && !s.hang(r) {
		panic(http.ErrAbortHandler)
	}
	if f.Reset && f.TruncateAfter <= 0 {
		panic(http.ErrAbortHandler)
	}
	w.fault = f
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	status := f.Status
	switch {
	case f.Handler != nil:
		f.Handler.ServeHTTP(w, r)
		return false
	case f.Redirect != "":
		w.Header().Set("Location", f.Redirect)
		status = orDefault(status, http.StatusTemporaryRedirect)
	case f.Leak:
		(&oauthError{orDefault(status, http.StatusBadRequest), codeInvalidRequest, "refused: " + d.secrets() + f.Body}).write(w)
		return false
	case f.Status == 0 && f.Body == "":
		return true
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(orDefault(status, http.StatusOK))
	_, _ = io.WriteString(w, f.Body)
	return false
}

// secrets lists the credentials that came with a request.
func (r *Request) secrets() string {
	parts := []string{}
	for _, name := range []string{"client_id", "client_secret", "assertion"} {
		if v := r.Form.Get(name); v != "" {
			parts = append(parts, name+"="+v)
		}
	}
	for _, name := range []string{"Authorization", "X-User-Token"} {
		if v := r.Header.Get(name); v != "" {
			parts = append(parts, name+": "+v)
		}
	}
	return strings.Join(parts, " ")
}
