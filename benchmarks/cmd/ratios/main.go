// Ratios reads what go test -bench prints, and writes the medians as Markdown
// tables: one for each benchmark, with the ratios to its sub-benchmarks floor and
// oauth2.
//
//	go test -bench . -count 6 | go run ./cmd/ratios
//	go run ./cmd/ratios first.txt second.txt
package main

import (
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

// run reads the named files, or in if there are none, and writes to out.
func run(names []string, in io.Reader, out io.Writer) error {
	var all results
	if len(names) == 0 {
		if err := all.read(in); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := all.readFile(name); err != nil {
			return err
		}
	}
	if len(all.rows) == 0 {
		return errNoResults
	}
	_, err := io.WriteString(out, all.markdown())
	return err
}
