// Package benchmarks measures what this module costs, side by side with others that
// put tokens into requests, on the same ground and in one run.
//
// It is a module of its own so that the dependencies of those it compares itself
// with stay out of everybody's build. The README says how to read it and what came
// out; the script run repeats it.
package benchmarks
