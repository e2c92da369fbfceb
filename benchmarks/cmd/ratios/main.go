// Ratios reads what go test -bench prints, and writes the medians as Markdown
// tables: one for each benchmark, with the ratios to its sub-benchmarks floor and
// oauth2.
//
//	go test -bench . -count 6 | go run ./cmd/ratios
//	go run ./cmd/ratios first.txt second.txt
//	go run ./cmd/ratios -unit cpu-ns/op first.txt      ratios of that unit
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// run does what the arguments say, with in where they name no file.
func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("ratios", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it all
	unit := flags.String("unit", "ns/op", "the unit to compute the ratios of")
	if err := flags.Parse(args); err != nil {
		return err
	}
	all, err := read(flags.Args(), in)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, all.markdown(*unit))
	return err
}

// read reads the named files, or in if there are none.
func read(names []string, in io.Reader) (*results, error) {
	all := new(results)
	if len(names) == 0 {
		if err := all.read(in); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if err := all.readFile(name); err != nil {
			return nil, err
		}
	}
	if len(all.rows) == 0 {
		return nil, errNoResults
	}
	return all, nil
}
