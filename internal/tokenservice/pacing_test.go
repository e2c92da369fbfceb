package tokenservice_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/internal/pace"
	"github.com/agwgo/agw/tokensource"
)

// A service gives the responses in turn, and then success. It records when it was asked.
type service struct {
	mu        sync.Mutex
	responses []*http.Response
	times     []time.Time
}

func (s *service) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = append(s.times, time.Now())
	if len(s.responses) == 0 {
		return response(200, "{}"), nil
	}
	next := s.responses[0]
	s.responses = s.responses[1:]
	return next, nil
}

func TestResponsesThatAskForAPause(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		response func() *http.Response
		want     time.Duration
	}{
		{"429 with seconds", func() *http.Response { return response(429, "", "Retry-After", "3") }, 3 * time.Second},
		{"429 with a date", func() *http.Response {
			return response(429, "", "Retry-After", time.Now().Add(4*time.Second).UTC().Format(http.TimeFormat))
		}, 4 * time.Second},
		{"429 with a date, by a clock that is an hour late", func() *http.Response {
			then := time.Now().Add(-time.Hour).UTC()
			return response(429, "", "Date", then.Format(http.TimeFormat), "Retry-After", then.Add(2*time.Second).Format(http.TimeFormat))
		}, 2 * time.Second},
		{"429 alone", func() *http.Response { return response(429, "") }, time.Second},
		{"429 with garbage", func() *http.Response { return response(429, "", "Retry-After", "soon") }, time.Second},
		{"429 with a body that cannot be read", func() *http.Response {
			r := response(429, "", "Retry-After", "3")
			r.Body = io.NopCloser(iotest.ErrReader(errors.New("lost")))
			return r
		}, 3 * time.Second},
		{"503 with seconds", func() *http.Response { return response(503, "", "Retry-After", "3") }, 3 * time.Second},
		{"503 alone", func() *http.Response { return response(503, "") }, 0},
		{"500 with seconds", func() *http.Response { return response(500, "", "Retry-After", "3") }, 0},
		{"success with seconds", func() *http.Response { return response(200, "{}", "Retry-After", "3") }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &service{responses: []*http.Response{test.response()}}
				c := newClient(s)
				start := time.Now()
				_ = get(t.Context(), c, endpoint)
				if err := get(t.Context(), c, "https://other.example/"); err != nil || time.Since(start) != 0 {
					t.Errorf("a request to another service ended after %v with error %v, want success at once", time.Since(start), err)
				}
				if err := get(t.Context(), c, endpoint); err != nil {
					t.Errorf("the request after the pause: %v", err)
				}
				if got := s.times[2].Sub(start); got != test.want {
					t.Errorf("the next request to the service was sent after %v, want %v", got, test.want)
				}
			})
		})
	}
}

// A request that is not sent says so: its error has no URL. If the reason is a pause, it
// says for how long.
func TestRequestsThatAreNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{responses: []*http.Response{response(429, "", "Retry-After", "4")}}
		c := newClient(s)
		if e := asError(t, get(t.Context(), c, endpoint)); e.RetryAfter != 4*time.Second || e.URL != endpoint {
			t.Errorf("the request that is told to pause: got RetryAfter %v and URL %q, want 4s and that of the service", e.RetryAfter, e.URL)
		}
		start := time.Now()
		for _, wait := range []time.Duration{0, time.Second} {
			time.Sleep(wait)
			e := asError(t, get(contextLasting(t, 3*time.Second), c, endpoint))
			if want := 4*time.Second - wait; e.RetryAfter != want || e.Kind != tokensource.Temporary || e.URL != "" || e.StatusCode != 0 || e.Op != "get" {
				t.Errorf("%v later, with less time than the pause: got %+v, want a temporary error with RetryAfter %v", wait, *e, want)
			}
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the requests took %v, want them to fail at once", waited-time.Second)
		}
		if len(s.times) != 1 {
			t.Errorf("%d requests were sent, want 1", len(s.times))
		}

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if e := asError(t, get(gone, c, endpoint)); !errors.Is(e, context.Canceled) || e.Kind != tokensource.Temporary || e.URL != "" || len(s.times) != 1 {
			t.Errorf("a context that has ended: got %v (%v) and %d requests, want a temporary Canceled and no other request", e, e.Kind, len(s.times))
		}
	})
}

func TestRequestsWaitForASlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var current, most atomic.Int64
		slow := roundTripper(func(*http.Request) (*http.Response, error) {
			if n := current.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer current.Add(-1)
			time.Sleep(time.Second)
			return response(200, "{}"), nil
		})
		pacer := pace.New(3)
		var group sync.WaitGroup
		for range 10 { // each with a client of its own
			c := newClientWith(slow, pacer)
			group.Go(func() {
				if err := get(t.Context(), c, endpoint); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		e := asError(t, get(contextLasting(t, time.Second), newClientWith(slow, pacer), endpoint))
		if !errors.Is(e, context.DeadlineExceeded) || e.URL != "" || !strings.Contains(e.Error(), "https://tokens.example:443") {
			t.Errorf("a request that gave up waiting: got %v, want a DeadlineExceeded that names the service", e)
		}
		group.Wait()
		if n := most.Load(); n != 3 {
			t.Errorf("up to %d requests were under way, want 3", n)
		}
	})
}

func TestSlotIsGivenBackInAnyCase(t *testing.T) {
	t.Parallel()
	for name, respond := range map[string]roundTripper{
		"success":     func(*http.Request) (*http.Response, error) { return response(200, "{}"), nil },
		"a failure":   func(*http.Request) (*http.Response, error) { return response(400, "x"), nil },
		"no response": func(*http.Request) (*http.Response, error) { return nil, errors.New("lost") },
		"a panic":     func(*http.Request) (*http.Response, error) { panic("broken") },
	} {
		synctest.Test(t, func(t *testing.T) {
			pacer := pace.New(1)
			c := newClientWith(respond, pacer)
			for range 2 {
				func() {
					defer func() { _ = recover() }()
					_ = get(t.Context(), c, endpoint)
				}()
			}
			if err := get(contextLasting(t, time.Second), newClientWith(new(service), pacer), endpoint); err != nil {
				t.Errorf("a request after %s: got error %v, want the slot to be free", name, err)
			}
		})
	}
}

// A connection that is closed because there are too many idle ones costs a handshake when
// the next requests come.
func TestAsManyConnectionsAreKeptAsCanBeInUse(t *testing.T) {
	t.Parallel()
	const limit = 150
	var connections atomic.Int64
	var arrived sync.WaitGroup
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Done()
		arrived.Wait() // until all are under way
		_, _ = io.WriteString(w, "{}")
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	c := newClientWith(nil, pace.New(limit))
	t.Cleanup(func() { c.CloseIdleConnections(); srv.Close() })
	for range 2 {
		arrived.Add(limit)
		var requests sync.WaitGroup
		for range limit {
			requests.Go(func() {
				if err := get(t.Context(), c, srv.URL); err != nil {
					t.Error(err)
				}
			})
		}
		requests.Wait()
	}
	if n := connections.Load(); n != limit {
		t.Errorf("two times %d requests at once took %d connections, want %d", limit, n, limit)
	}
}
