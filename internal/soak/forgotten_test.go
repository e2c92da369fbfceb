package soak_test

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/agwgo/agw/agwtest"
)

// forgotten remember which tokens the library was told to forget, or has to since they
// belong to former credentials.
type forgotten struct {
	srv *agwtest.Server

	mu   sync.Mutex
	all  mark
	some map[string]mark // by fingerprint
}

// A mark says that from a moment on no token is good that was issued before a number.
type mark struct {
	since  time.Time
	number uint64
}

// forget notes that do has the library forget a subject, or all of them if it is nil.
func (f *forgotten) forget(who *subject, do func()) {
	number := f.number()
	do()
	if who == nil {
		f.before(number)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.some[who.fingerprint()] = mark{time.Now(), number}
}

// before notes that from now on no token is good that was issued before a number.
func (f *forgotten) before(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number > f.all.number {
		f.all = mark{time.Now(), number}
	}
}

// number returns one that is greater than that of any token issued so far.
func (f *forgotten) number() uint64 {
	newest, _ := parseToken(f.srv.UserToken(agwtest.User{}))
	return newest.number()
}

// broken reports whether a call that began at a moment must not have that token.
func (f *forgotten) broken(who subject, tok token, asked time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all.rules(tok, asked) || f.some[who.fingerprint()].rules(tok, asked)
}

// rules reports whether the mark rules the token out.
func (m mark) rules(tok token, asked time.Time) bool {
	return asked.After(m.since) && tok.number() < m.number
}

// number returns the running number that the double gave the token.
func (t token) number() uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(t.ID, "t"), 10, 64)
	return n
}
