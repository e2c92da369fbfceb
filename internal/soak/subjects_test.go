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

// userLifetime is how long the JWTs of most users live: longer than any soak, and than a
// step of the clock.
const userLifetime = 24 * time.Hour

// A subject is for whom a call acts, as the gateway is to see it.
type subject struct {
	tenant string // as calls name it; "" where the flow has but one
	user   string // "" for the system
	jwt    string
	expiry time.Time // of jwt; zero if nobody comes near it
}

// fingerprint stands for the subject in messages.
func (s subject) fingerprint() string { return cache.NewKey(s.tenant, s.user).String() }

// subject returns s as the library knows it.
func (s subject) subject() tokensource.Subject {
	if s.user == "" {
		return tokensource.SystemSubject().In(s.tenant)
	}
	return tokensource.UserSubject(s.jwt).In(s.tenant)
}

// shortLivedPrefix begins the names of users whose own JWT ends within seconds.
const shortLivedPrefix = "short"

func isShortLived(user string) bool { return strings.HasPrefix(user, shortLivedPrefix) }

// userName returns the name of a user by number. The same users exist in all tenants.
func userName(number int) string { return fmt.Sprintf("u%03d", number) }

// frequent returns how many of n tenants or users call often.
func frequent(n int) int { return (n + 9) / 10 }

// subjects are for whom the calls of a stack act.
type subjects struct {
	srv     *agwtest.Server
	tenants []string
	users   int

	mu         sync.Mutex
	jwts       map[subject]string // by subject without a jwt
	shortLived int
	recent     [8]subject // of the short-lived ones
}

// choose returns a subject: mostly one of the few who call often, and sometimes the system.
func (s *subjects) choose(r *random) subject {
	tenants, users := len(s.tenants), s.users
	if r.chance(75) {
		tenants, users = frequent(tenants), frequent(users)
	}
	tenant := s.tenants[r.below(tenants)]
	if r.chance(15) {
		return subject{tenant: tenant}
	}
	return s.user(tenant, userName(r.below(users)))
}

// user returns a user, whose JWT is always the same.
func (s *subjects) user(tenant, name string) subject {
	who := subject{tenant: tenant, user: name}
	s.mu.Lock()
	defer s.mu.Unlock()
	jwt, ok := s.jwts[who]
	if !ok {
		jwt = s.srv.UserToken(agwtest.User{Name: name, Tenant: tenant, Lifetime: userLifetime})
		s.jwts[who] = jwt
	}
	who.jwt = jwt
	return who
}

// newShortLived returns a new user whose JWT ends within seconds.
func (s *subjects) newShortLived(r *random) subject {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shortLived++
	who := subject{tenant: oneOf(r, s.tenants), user: fmt.Sprint(shortLivedPrefix, s.shortLived)}
	lifetime := r.between(time.Second, 4*time.Second)
	who.jwt = s.srv.UserToken(agwtest.User{Name: who.user, Tenant: who.tenant, Lifetime: lifetime})
	who.expiry = time.Now().Add(lifetime) // no earlier than the JWT itself says
	s.recent[s.shortLived%len(s.recent)] = who
	return who
}

// recentShortLived returns one of the last of them, whose JWT may have ended.
func (s *subjects) recentShortLived(r *random) subject {
	s.mu.Lock()
	who := oneOf(r, s.recent[:])
	s.mu.Unlock()
	if who.user == "" {
		return s.newShortLived(r)
	}
	return who
}
