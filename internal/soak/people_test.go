package soak_test

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// longLife is the life of a user's JWT: longer than any soak, and than a step of
// the clock.
const longLife = 24 * time.Hour

// A subject is whom a call acts for, as the gateway is to see it.
type subject struct {
	tenant  string // as calls name it; "" where the flow has but one
	user    string // "" for the technical token
	jwt     string
	expires time.Time // of jwt, zero if never mind
}

// fingerprint stands for the subject in reports.
func (s subject) fingerprint() string { return cache.NewKey(s.tenant, s.user).String() }

func (s subject) asked() tokensource.Subject {
	return tokensource.Subject{Tenant: s.tenant, UserToken: s.jwt}
}

// brief begins the names of users whose own JWT ends soon.
const brief = "brief"

func isBrief(user string) bool { return strings.HasPrefix(user, brief) }

// people are the subjects of a stack. The same names exist in all tenants.
type people struct {
	srv     *agwtest.Server
	tenants []string
	users   int

	mu     sync.Mutex
	tokens map[subject]string
	briefs int
	recent [8]subject // of the brief ones
}

func newPeople(srv *agwtest.Server, tenants []string, users int) *people {
	return &people{srv: srv, tenants: tenants, users: users, tokens: map[subject]string{}}
}

// any returns somebody: mostly one of a few who call often, sometimes nobody in
// particular, that is the technical token.
func (p *people) any(d *dice) subject {
	tenants, users := len(p.tenants), p.users
	if d.chance(75) {
		tenants, users = (tenants+9)/10, (users+9)/10
	}
	s := subject{tenant: p.tenants[d.n(tenants)]}
	if !d.chance(15) {
		s.user = fmt.Sprintf("u%03d", d.n(users))
		s.jwt = p.token(s)
	}
	return s
}

// token returns the JWT of a user, always the same.
func (p *people) token(s subject) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	jwt, ok := p.tokens[s]
	if !ok {
		jwt = p.srv.UserToken(agwtest.User{Name: s.user, Tenant: s.tenant, Lifetime: longLife})
		p.tokens[s] = jwt
	}
	return jwt
}

// newBrief returns a new user whose JWT ends within seconds.
func (p *people) newBrief(d *dice) subject {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.briefs++
	s := subject{tenant: pick(d, p.tenants), user: fmt.Sprintf("%s%d", brief, p.briefs)}
	life := d.between(time.Second, 4*time.Second)
	s.jwt = p.srv.UserToken(agwtest.User{Name: s.user, Tenant: s.tenant, Lifetime: life})
	s.expires = time.Now().Add(life) // no earlier than it says itself
	p.recent[p.briefs%len(p.recent)] = s
	return s
}

// oldBrief returns one of the last of them, whose JWT may have ended; a new one if
// there is none.
func (p *people) oldBrief(d *dice) subject {
	p.mu.Lock()
	s := pick(d, p.recent[:])
	p.mu.Unlock()
	if s.user == "" {
		return p.newBrief(d)
	}
	return s
}
