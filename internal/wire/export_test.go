package wire

import "time"

// What the tests know of the inside.

const MaxServices = maxServices

func ParseRetryAfter(value string, now time.Time) time.Duration { return parseRetryAfter(value, now) }

// Services returns how many services p remembers.
func (p *Pacer) Services() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.services)
}
