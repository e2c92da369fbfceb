// Package compat holds the tests that put the clients, transports and token sources
// of this module together with the libraries that programs use them with. It is a
// module of its own, so that none of those becomes a dependency of the main one.
package compat
