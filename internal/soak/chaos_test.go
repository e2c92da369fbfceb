package soak_test

import (
	"context"
	"fmt"
	"time"
)

// An action is something that goes wrong, or is done to the library from outside.
type action struct {
	name   string
	weight int
	do     func()
}

// chaos does one thing after the other until ctx ends.
func (s *stack) chaos(ctx context.Context) {
	actions := s.actions()
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for s.dice.rest(ctx, 350*time.Millisecond) {
		s.srv.AlwaysUnauthorized(false)
		n := s.dice.n(total)
		for _, a := range actions {
			if n -= a.weight; n < 0 {
				s.ledger.count("actions", a.name)
				a.do()
				break
			}
		}
	}
}

func (s *stack) actions() []action {
	all := []action{
		{"weather", 40, s.changeWeather},
		{"release of what hangs", 15, s.release},
		{"lifetime", 15, s.changeLives},
		{"token revoked", 8, s.revokeNewest},
		{"user revoked", 8, func() { s.srv.RevokeUser(s.someUser()) }},
		{"all revoked", 1, s.srv.RevokeAll},
		{"user refused", 4, func() { s.refuse(s.dice.n((s.users + 9) / 10)) }},
		{"forget", 8, s.forget},
		{"purge", 1, s.purge},
		{"all refused", 4, func() { s.srv.AlwaysUnauthorized(true) }}, // until the next action,
		{"idle connections closed", 3, s.tap.CloseIdleConnections},
		{"credentials rotated", 4, s.rotate},
	}
	switch {
	case s.manyTenants:
		all = append(all, action{"service tokens revoked", 4, s.srv.RevokeServiceTokens})
		if s.clock != nil {
			all = append(all, action{"suspended or resumed", 25, func() { s.clock.suspend(s.dice.chance(80)) }})
		}
	case s.clock != nil:
		all = append(all, action{"clock stepped", 6, s.stepClock})
	}
	return all
}

func (s *stack) changeWeather() {
	sv := pick(s.dice, s.services)
	sv.weather.change(serviceFaults(s.srv.ForeignURL()))
}

func (s *stack) release() {
	for _, sv := range s.services {
		sv.Release()
	}
	s.srv.Gateway.Release()
}

func (s *stack) changeLives() {
	for _, sv := range s.services {
		if sv.issuer != nil {
			sv.lives.set(sv.issuer, s.dice.seconds(2, s.longest))
		}
	}
}

// someUser returns the name of a user who calls often, or "" for the technical
// identities.
func (s *stack) someUser() string {
	if s.dice.chance(20) {
		return ""
	}
	return fmt.Sprintf("u%03d", s.dice.n((s.users+9)/10))
}

func (s *stack) revokeNewest() {
	if token := s.tap.newest.Load(); token != nil {
		s.srv.Revoke(*token)
	}
}

// refuse has the services refuse the user of that number, and all others no longer.
func (s *stack) refuse(number int) {
	for n := range s.users {
		for _, sv := range s.services {
			if sv.issuer != nil {
				sv.issuer.RefuseUser(fmt.Sprintf("u%03d", n), n == number)
			}
		}
	}
}

func (s *stack) forget() {
	who := s.people.any(s.dice)
	s.tap.forgotten.forget(&who, func() { s.source.Forget(who.asked()) })
	s.forgets.Add(1)
}

func (s *stack) purge() {
	s.sweeps.during(func() { s.tap.forgotten.forget(nil, s.source.Purge) })
}

// rotate replaces the credentials. The old ones may be refused before the new ones
// are mounted, afterwards, or not at all.
func (s *stack) rotate() {
	if err := s.srv.RotateClientCertificate(); err != nil {
		s.ledger.violate("rotation: %v", err)
	}
	s.srv.RotateClientSecret()
	s.sweeps.expect(s.tap.forgotten.number())
	order := s.dice.n(3)
	if order == 0 {
		s.srv.RefuseOldClients()
	}
	if err := s.write(s.root); err != nil {
		s.ledger.violate("rotation: %v", err)
	}
	if order == 1 {
		s.srv.RefuseOldClients()
	}
}

// stepClock puts the wall clock right, or wrong by two hours.
func (s *stack) stepClock() {
	off := pick(s.dice, []time.Duration{0, 2 * time.Hour, -2 * time.Hour})
	s.sweeps.during(func() { s.clock.stepTo(off) })
}

// calm ends all that goes wrong.
func (s *stack) calm() {
	for _, sv := range s.services {
		sv.weather.now.Store(nil)
		if sv.issuer != nil {
			sv.lives.set(sv.issuer, time.Hour)
		}
	}
	s.refuse(-1)
	s.srv.AlwaysUnauthorized(false)
	if s.clock != nil {
		s.sweeps.during(func() { s.clock.stepTo(0) })
		s.clock.suspend(false)
	}
	s.release()
}
