package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

var errNoResults = errors.New("there is no result of a benchmark in the input")

// results are those of all runs, in the order of their first appearance.
type results struct {
	about []string // such as "cpu: …"
	rows  []*row
}

// A row is one benchmark with one number of processors.
type row struct {
	benchmark, sub string // BenchmarkRoundTrip/oauth2: RoundTrip and oauth2
	procs          int
	values         map[string][]float64 // by unit, one of each run
}

func (r *results) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.read(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// read adds what in has. Lines that are no results are skipped, except for the
// report of a failure.
func (r *results) read(in io.Reader) error {
	for lines := bufio.NewScanner(in); ; {
		if !lines.Scan() {
			return lines.Err()
		}
		line := lines.Text()
		name, _, _ := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, "FAIL"), strings.HasPrefix(line, "--- FAIL"):
			return fmt.Errorf("a benchmark has failed: %s", line)
		case slices.Contains([]string{"goos", "goarch", "cpu"}, name) && !slices.Contains(r.about, line):
			r.about = append(r.about, line)
		default:
			r.add(strings.Fields(line))
		}
	}
}

// add adds a line such as
//
//	BenchmarkRoundTrip/oauth2-2   1000000   1202 ns/op   2496 B/op   7 allocs/op
func (r *results) add(fields []string) {
	if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
		return
	}
	values := make(map[string]float64)
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return
		}
		values[fields[i+1]] = v
	}
	row := r.row(parseName(fields[0]))
	for unit, v := range values {
		row.values[unit] = append(row.values[unit], v)
	}
}

// parseName takes BenchmarkRoundTrip/oauth2-2 apart. Without a number at the end
// there was one processor.
func parseName(name string) (benchmark, sub string, procs int) {
	procs = 1
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		if n, err := strconv.Atoi(name[i+1:]); err == nil {
			name, procs = name[:i], n
		}
	}
	benchmark, sub, _ = strings.Cut(strings.TrimPrefix(name, "Benchmark"), "/")
	return benchmark, sub, procs
}

// row returns the row of a benchmark, new if there is none.
func (r *results) row(benchmark, sub string, procs int) *row {
	if found := r.find(benchmark, sub, procs); found != nil {
		return found
	}
	added := &row{benchmark, sub, procs, make(map[string][]float64)}
	r.rows = append(r.rows, added)
	return added
}

func (r *results) find(benchmark, sub string, procs int) *row {
	for _, row := range r.rows {
		if row.benchmark == benchmark && row.sub == sub && row.procs == procs {
			return row
		}
	}
	return nil
}

// median returns the median of the values in a unit, and false if there are none.
func (r *row) median(unit string) (float64, bool) {
	if r == nil || len(r.values[unit]) == 0 {
		return 0, false
	}
	values := slices.Sorted(slices.Values(r.values[unit]))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

// units returns the units of some rows: the usual ones first, the others by name.
func units(rows []*row) []string {
	var all []string
	for _, row := range rows {
		for unit := range row.values {
			if !slices.Contains(all, unit) {
				all = append(all, unit)
			}
		}
	}
	usual := []string{"ns/op", "cpu-ns/op", "MB/s", "B/op", "allocs/op"}
	rank := func(unit string) int {
		if i := slices.Index(usual, unit); i >= 0 {
			return i
		}
		return len(usual)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
	return all
}
