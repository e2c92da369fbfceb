// Package adversary has no code, only tests. Each of them does something that an attacker,
// a broken server or a careless log could do to a program that uses this module, and says
// what must come of it.
package adversary
