// Package soak keeps the whole library under load and under attack at once, and
// checks all the while that its promises hold.
package soak
