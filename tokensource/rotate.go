package tokensource

import (
	"context"

	"github.com/agwgo/agw/cache"
)

// currentIdentity returns the flow's identity. Where it is another one than before,
// the credentials have been rotated, and everything that was obtained with the old
// ones goes.
func (e *engine) currentIdentity() *Identity {
	if id := e.flow.Identity(); id == e.identity.Load() {
		return id
	}
	return e.rotate(nil, nil)
}

// rotate purges the caches if the identity has changed. The fetch keep, if not nil,
// goes on under the key that newKey returns.
func (e *engine) rotate(keep *call, newKey func(*Identity) cache.Key) *Identity {
	e.rotation.Lock()
	id := e.flow.Identity() // the latest: another goroutine may hold an older one
	changed := id != e.identity.Load()
	if changed {
		var key cache.Key
		if keep != nil {
			key = newKey(id)
		}
		e.purge(keep, key)
		e.identity.Store(id) // last: until then, everybody waits here for what is old to be gone
	}
	e.rotation.Unlock()
	if changed {
		e.emit(Event{Kind: EventRotate})
	}
	return id
}

// reload lets the flow look for new credentials, and reports whether there are
// some. The fetch c goes on with them.
func (j *job) reload(ctx context.Context, c *call, refused bool) bool {
	before := j.flow.Identity()
	j.engine.reload(ctx, refused)
	return j.adopt(c) != before
}

// adopt continues c under the identity that is in force now, which it returns.
func (j *job) adopt(c *call) *Identity {
	return j.rotate(c, func(id *Identity) cache.Key { return j.request.key(id, j.tenantID) })
}

// reload lets the flow look for new credentials. With an error the old ones stay.
func (e *engine) reload(ctx context.Context, refused bool) {
	r, ok := e.flow.(Reloader)
	if !ok {
		return
	}
	if err := r.Reload(ctx, refused); err != nil {
		e.emit(Event{Kind: EventReload, Err: err})
	}
}

// mayReload reports whether it is time to look for new credentials although a
// subject rests, because the old ones were refused; only one caller is told so.
func (e *engine) mayReload(now cache.Instant) bool {
	last := e.reloadedAt.Load()
	if last != nil && now.Since(*last) < reloadEvery {
		return false
	}
	return e.reloadedAt.CompareAndSwap(last, &now)
}
