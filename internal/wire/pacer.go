package wire

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// DefaultMaxConcurrent is how many requests to one service are under way at
	// most, unless a [Pacer] says otherwise.
	DefaultMaxConcurrent = 32

	maxPatience = 5 * time.Second // the longest pause that a request waits out
	maxServices = 1024            // how many services are remembered before paused ones are forgotten
)

// A Pacer limits how many requests to one service (scheme, host and port) are under
// way at once, first come, first served, and sends none to a service that asks to
// be left alone. What it remembers is bounded. It is safe for concurrent use and may
// be shared by clients.
type Pacer struct {
	limit int

	mu       sync.Mutex
	services map[string]*service // those that are in use or paused
}

// A service is guarded by the pacer's mu.
type service struct {
	name    string
	busy    int           // slots taken
	queue   list.List     // of *slot: those who wait for one
	until   time.Time     // end of the pause
	changed chan struct{} // closed and replaced when until changes
}

// A slot is the right to have one request to a service under way, or a place in
// the line for it.
type slot struct {
	p     *Pacer
	s     *service
	place *list.Element // in the line; nil once the slot is taken
	turn  chan struct{} // closed when the slot is taken
}

// NewPacer returns a pacer that lets limit requests to a service be under way at
// once; 0 or less means [DefaultMaxConcurrent].
func NewPacer(limit int) *Pacer {
	if limit <= 0 {
		limit = DefaultMaxConcurrent
	}
	return &Pacer{limit: limit, services: make(map[string]*service)}
}

// acquire returns a slot for the named service once one is free and the service
// not paused. It fails as soon as ctx ends, or with a *pausedError as soon as the
// pause is too long to wait for.
func (p *Pacer) acquire(ctx context.Context, name string) (*slot, error) {
	if ctx.Err() != nil { // whoever sends the request might not look
		return nil, ended(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.line(p.service(name))
	for {
		left := time.Until(l.s.until)
		err := tooLong(ctx, name, left)
		if err == nil && l.place == nil && left <= 0 {
			return l, nil
		}
		if err == nil {
			err = l.wait(ctx, left)
		}
		if err != nil {
			l.leave()
			return nil, err
		}
	}
}

// tooLong returns an error if a pause is not worth waiting for.
func tooLong(ctx context.Context, name string, left time.Duration) error {
	if left <= 0 {
		return nil
	}
	deadline, ok := ctx.Deadline()
	if left > maxPatience || ok && time.Until(deadline) <= left {
		return &pausedError{name, left}
	}
	return nil
}

// service returns the state of a service, new if there is none.
func (p *Pacer) service(name string) *service {
	s := p.services[name]
	if s == nil {
		if len(p.services) >= maxServices {
			p.sweep()
		}
		s = &service{name: name, changed: make(chan struct{})}
		p.services[name] = s
	}
	return s
}

// sweep forgets unused services whose pause is over; if there is none, the one
// whose pause is over first.
func (p *Pacer) sweep() {
	var first *service
	for name, s := range p.services {
		switch {
		case !s.unused():
		case time.Until(s.until) <= 0:
			delete(p.services, name)
		case first == nil || s.until.Before(first.until):
			first = s
		}
	}
	if first != nil && len(p.services) >= maxServices {
		delete(p.services, first.name)
	}
}

func (s *service) unused() bool { return s.busy == 0 && s.queue.Len() == 0 }

// line takes a slot if there is a free one, or else a place in the line.
func (p *Pacer) line(s *service) *slot {
	l := &slot{p: p, s: s}
	if s.busy < p.limit {
		s.busy++
		return l
	}
	l.turn = make(chan struct{})
	l.place = s.queue.PushBack(l)
	return l
}

// wait returns when l may have become usable, or when ctx ends. left is what
// remains of the pause. The pacer's mu is released meanwhile.
func (l *slot) wait(ctx context.Context, left time.Duration) error {
	var turn <-chan struct{}
	var over <-chan time.Time
	if l.place != nil {
		turn = l.turn
	} else {
		timer := time.NewTimer(left)
		defer timer.Stop()
		over = timer.C
	}
	changed := l.s.changed
	l.p.mu.Unlock()
	defer l.p.mu.Lock()
	select {
	case <-turn:
	case <-over:
	case <-changed:
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s: %w", l.s.name, ended(ctx))
	}
	return nil
}

// pause keeps all requests from l's service for d.
func (l *slot) pause(d time.Duration) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	until := time.Now().Add(d)
	if d <= 0 || !until.After(l.s.until) {
		return
	}
	l.s.until = until
	close(l.s.changed)
	l.s.changed = make(chan struct{})
}

// release gives l back.
func (l *slot) release() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.leave()
}

// leave gives l back, be it a slot, which goes to the first in line, or a place.
func (l *slot) leave() {
	s := l.s
	if l.place != nil {
		s.queue.Remove(l.place)
	} else if first := s.queue.Front(); first != nil {
		next := s.queue.Remove(first).(*slot)
		next.place = nil
		close(next.turn)
	} else {
		s.busy--
	}
	if s.unused() && time.Until(s.until) <= 0 {
		delete(l.p.services, s.name)
	}
}

// A pausedError says for how long a service still asks to be left alone.
type pausedError struct {
	service string
	left    time.Duration
}

func (e *pausedError) Error() string {
	return fmt.Sprintf("%s asks to be left alone for another %v", e.service, e.left.Round(time.Millisecond))
}
