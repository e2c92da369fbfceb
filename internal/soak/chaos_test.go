package soak_test

import (
	"context"
	"time"
)

// An action is something that goes wrong, or that is done to the library from outside.
type action struct {
	name     string
	weight   int
	do       func()
	possible func() bool // nil means always
}

// disturb performs one action after the other until ctx ends.
func (s *stack) disturb(ctx context.Context) {
	actions := s.actions()
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for s.random.wait(ctx, 350*time.Millisecond) {
		s.srv.RejectTokens(false)
		n := s.random.below(total)
		for _, a := range actions {
			if n -= a.weight; n >= 0 {
				continue
			}
			if a.possible == nil || a.possible() {
				s.results.count("actions", a.name)
				a.do()
			}
			break
		}
	}
}

func (s *stack) actions() []action {
	all := []action{
		{name: "fault at a service", weight: 40, do: s.changeOutage},
		{name: "hanging requests released", weight: 15, do: s.release},
		{name: "token lifetime", weight: 15, do: s.changeLifetimes},
		{name: "token revoked", weight: 8, do: s.revokeNewest},
		{name: "user revoked", weight: 8, do: func() { s.srv.RevokeUser(s.frequentUser()) }},
		{name: "all revoked", weight: 1, do: s.srv.RevokeAll},
		{name: "user denied", weight: 4, do: func() { s.denyOnly(s.random.below(frequent(s.users))) }},
		{name: "forget", weight: 8, do: s.forget},
		{name: "purge", weight: 1, do: s.purge},
		{name: "all tokens rejected", weight: 4, do: func() { s.srv.RejectTokens(true) }}, // until the next action
		{name: "idle connections closed", weight: 3, do: s.checker.CloseIdleConnections},
		{name: "credentials renewed", weight: 3, do: s.renewCredentials, possible: s.credentialsInForce},
		{name: "client replaced", weight: 2, do: s.replaceClient, possible: s.credentialsInForce},
	}
	switch {
	case s.flow == "lob":
		all = append(all, action{name: "service tokens revoked", weight: 4, do: s.srv.RevokeServiceTokens})
		if s.clock != nil {
			all = append(all, action{name: "suspended or resumed", weight: 25, do: func() { s.clock.suspend(s.random.chance(80)) }})
		}
	case s.clock != nil:
		all = append(all, action{name: "clock stepped", weight: 6, do: s.stepClock})
	}
	return all
}

func (s *stack) changeOutage() {
	sv := oneOf(s.random, s.services)
	sv.outage.change(serviceFaults(s.srv.ForeignURL()))
}

func (s *stack) release() {
	for _, sv := range s.services {
		sv.handle.Release()
	}
	s.srv.Gateway.Release()
}

func (s *stack) changeLifetimes() {
	for _, sv := range s.services {
		if sv.issuer != nil {
			sv.budget.lifetimes.set(sv.issuer, s.random.seconds(2, s.longest))
		}
	}
}

// frequentUser returns the name of a user who calls often, or "" for the system.
func (s *stack) frequentUser() string {
	if s.random.chance(20) {
		return ""
	}
	return userName(s.random.below(frequent(s.users)))
}

func (s *stack) revokeNewest() {
	if token := s.checker.newest.Load(); token != nil {
		s.srv.Revoke(*token)
	}
}

// denyOnly has the services deny the user with that number, and no other one.
func (s *stack) denyOnly(number int) {
	for n := range s.users {
		for _, sv := range s.services {
			if sv.issuer != nil {
				sv.issuer.RefuseUser(userName(n), n == number)
			}
		}
	}
}

func (s *stack) forget() {
	who := s.subjects.choose(s.random)
	number := s.nextTokenNumber()
	if err := s.source.Forget(who.subject()); err != nil {
		s.results.violation("%s: Forget: %v", who.fingerprint(), err)
	}
	s.checker.dropped.subject(who, number)
}

func (s *stack) purge() {
	number := s.nextTokenNumber()
	s.purges.during(s.source.Purge)
	s.checker.dropped.everything(number)
}

// stepClock sets the wall clock right, or wrong by two hours.
func (s *stack) stepClock() {
	step := oneOf(s.random, []time.Duration{0, 2 * time.Hour, -2 * time.Hour})
	s.purges.during(func() { s.clock.stepTo(step) })
}

// calm ends all that goes wrong.
func (s *stack) calm() {
	for _, sv := range s.services {
		sv.outage.fault.Store(nil)
		if sv.issuer != nil {
			sv.budget.lifetimes.set(sv.issuer, time.Hour)
		}
	}
	s.denyOnly(-1)
	s.srv.RejectTokens(false)
	if s.clock != nil {
		s.purges.during(func() { s.clock.stepTo(0) })
		s.clock.suspend(false)
	}
	s.release()
}
