package pace

const MaxServices = maxServices

// Services returns how many services p remembers.
func (p *Pacer) Services() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.services)
}
