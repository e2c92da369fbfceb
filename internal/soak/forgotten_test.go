package soak_test

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/agwgo/agw/agwtest"
)

// forgotten remember which tokens the library was told to forget.
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
	newest, _ := parseToken(f.srv.UserToken(agwtest.User{}))
	do()
	m := mark{time.Now(), newest.number()}
	f.mu.Lock()
	defer f.mu.Unlock()
	if who == nil {
		f.all = m
	} else {
		f.some[who.fingerprint()] = m
	}
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
