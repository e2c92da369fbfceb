// Package pace decides when a request to a service may be sent.
//
// A [Pacer] limits how many requests to one service are under way at once, first come,
// first served. While a service has asked for a pause, none is sent: requests wait out
// a short pause and fail at once if it is a long one. Services do not affect each other,
// and what is remembered of them is bounded.
package pace

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// DefaultMaxConcurrent is how many requests to one service are under way at most
	// unless [New] is told otherwise.
	DefaultMaxConcurrent = 32

	maxWait     = 5 * time.Second // the longest pause that a request waits out
	maxServices = 1024            // more are remembered only while each of them is in use
)

// A Pacer hands out slots. It must be made by [New], and is safe for concurrent use.
type Pacer struct {
	limit int

	mu       sync.Mutex
	services map[string]*service // those that are in use or paused
}

// A service is guarded by the pacer's mu.
type service struct {
	name       string
	taken      int           // slots
	waiting    list.List     // of *Slot, in the order in which they came
	pauseEnd   time.Time     // zero if there never was a pause
	pauseMoved chan struct{} // closed and replaced when pauseEnd changes
}

// A Slot is the right to have one request to a service under way. It must be released
// once.
type Slot struct {
	pacer   *Pacer
	service *service
	place   *list.Element // among those who wait; nil once the slot is taken
	taken   chan struct{} // closed when the slot is taken; nil if there was no wait
}

// New returns a pacer with the given number of slots for each service; 0 or less means
// [DefaultMaxConcurrent].
func New(limit int) *Pacer {
	if limit <= 0 {
		limit = DefaultMaxConcurrent
	}
	return &Pacer{limit: limit, services: make(map[string]*service)}
}

// Limit returns how many slots there are for each service.
func (p *Pacer) Limit() int { return p.limit }

// Acquire returns a slot for the named service (by convention scheme://host:port) once
// there is a free one and the service is not paused. It fails with a [*PausedError] as
// soon as the rest of the pause is longer than 5 seconds or than ctx lasts, and with
// the [Cause] of ctx, wrapped, when that ends. After an error there is nothing to
// release.
func (p *Pacer) Acquire(ctx context.Context, name string) (*Slot, error) {
	if ctx.Err() != nil { // even if there is a free slot: the request would be in vain
		return nil, waitingError(ctx, name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.service(name)
	slot := &Slot{pacer: p, service: s}
	if s.taken < p.limit {
		s.taken++
	} else {
		slot.taken = make(chan struct{})
		slot.place = s.waiting.PushBack(slot)
	}
	for {
		pause := time.Until(s.pauseEnd)
		if slot.place == nil && pause <= 0 {
			return slot, nil
		}
		var err error
		if deadline, ok := ctx.Deadline(); pause > maxWait || ok && pause > 0 && time.Until(deadline) <= pause {
			err = &PausedError{Service: name, Left: pause}
		} else {
			err = slot.wait(ctx, pause)
		}
		if err != nil {
			slot.leave()
			return nil, err
		}
	}
}

// wait returns when the slot may have become usable, or the pause another one, or with
// an error when ctx ends. The pacer's mu is released meanwhile.
func (slot *Slot) wait(ctx context.Context, pause time.Duration) error {
	var pauseOver <-chan time.Time
	var taken <-chan struct{}
	if slot.place != nil {
		taken = slot.taken
	} else {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		pauseOver = timer.C
	}
	pauseMoved := slot.service.pauseMoved
	slot.pacer.mu.Unlock()
	defer slot.pacer.mu.Lock()
	select {
	case <-taken:
	case <-pauseOver:
	case <-pauseMoved:
	case <-ctx.Done():
		return waitingError(ctx, slot.service.name)
	}
	return nil
}

// Pause lets no request to the slot's service begin for d, counted from now. A pause
// that ends later already stays as it is; 0 or less has no effect. The slot must not
// have been released.
func (slot *Slot) Pause(d time.Duration) {
	slot.pacer.mu.Lock()
	defer slot.pacer.mu.Unlock()
	end := time.Now().Add(d)
	if d <= 0 || !end.After(slot.service.pauseEnd) {
		return
	}
	slot.service.pauseEnd = end
	close(slot.service.pauseMoved) // those who wait may have to give up now
	slot.service.pauseMoved = make(chan struct{})
}

// Release gives the slot back.
func (slot *Slot) Release() {
	slot.pacer.mu.Lock()
	defer slot.pacer.mu.Unlock()
	slot.leave()
}

// leave gives up the slot, which goes to the first of those who wait, or the place
// among them.
func (slot *Slot) leave() {
	s := slot.service
	if slot.place != nil {
		s.waiting.Remove(slot.place)
	} else if first := s.waiting.Front(); first != nil {
		next := s.waiting.Remove(first).(*Slot)
		next.place = nil
		close(next.taken)
	} else {
		s.taken--
	}
	if !s.inUse() && time.Until(s.pauseEnd) <= 0 {
		delete(slot.pacer.services, s.name)
	}
}

// service returns the service of that name, which is a new one if it is not known.
func (p *Pacer) service(name string) *service {
	s := p.services[name]
	if s == nil {
		if len(p.services) >= maxServices {
			p.forgetServices()
		}
		s = &service{name: name, pauseMoved: make(chan struct{})}
		p.services[name] = s
	}
	return s
}

// forgetServices forgets the services whose pause is over and that are not in use. If
// there are none, it forgets the one whose pause ends first.
func (p *Pacer) forgetServices() {
	var first *service
	for name, s := range p.services {
		switch {
		case s.inUse():
		case time.Until(s.pauseEnd) <= 0:
			delete(p.services, name)
		case first == nil || s.pauseEnd.Before(first.pauseEnd):
			first = s
		}
	}
	if first != nil && len(p.services) >= maxServices {
		delete(p.services, first.name)
	}
}

func (s *service) inUse() bool { return s.taken > 0 || s.waiting.Len() > 0 }

// A PausedError says that a service has asked for a pause, and that it is not worth
// waiting for its end.
type PausedError struct {
	Service string        // as in [Pacer.Acquire]
	Left    time.Duration // until the pause is over
}

func (e *PausedError) Error() string {
	return fmt.Sprintf("%s has asked for a pause, of which %v are left", e.Service, e.Left.Round(time.Millisecond))
}

func waitingError(ctx context.Context, name string) error {
	return fmt.Errorf("waiting for %s: %w", name, Cause(ctx))
}

// Cause returns why ctx ended: its [context.Cause] if that is ctx.Err() or wraps it,
// so that callers find [context.Canceled] or [context.DeadlineExceeded] in it, and
// ctx.Err() otherwise. It returns nil if ctx has not ended.
func Cause(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, ctx.Err()) {
		return cause
	}
	return ctx.Err()
}
