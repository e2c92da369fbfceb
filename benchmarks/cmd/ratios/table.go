package main

import (
	"fmt"
	"strconv"
	"strings"
)

// none stands for a value that is not known.
const none = "–"

// yardsticks are the sub-benchmarks that the others are compared with, where a
// benchmark has them.
var yardsticks = [...]string{"floor", "oauth2"}

// markdown returns a table for each benchmark, with ratios in the given unit.
func (r *results) markdown(unit string) string {
	var b strings.Builder
	if len(r.about) > 0 {
		fmt.Fprintf(&b, "%s\n", strings.Join(r.about, ", "))
	}
	for _, name := range r.benchmarks() {
		r.table(&b, name, unit)
	}
	return b.String()
}

// benchmarks returns the names of the benchmarks in the order of the input.
func (r *results) benchmarks() []string {
	var names []string
	seen := make(map[string]bool)
	for _, row := range r.rows {
		if !seen[row.benchmark] {
			seen[row.benchmark] = true
			names = append(names, row.benchmark)
		}
	}
	return names
}

// table writes the table of one benchmark.
func (r *results) table(b *strings.Builder, benchmark, compared string) {
	rows := r.of(benchmark)
	columns, against := units(rows), r.yardsticks(benchmark)

	fmt.Fprintf(b, "\n### %s\n\n", benchmark)
	head := []string{"", "procs"}
	for _, unit := range columns {
		head = append(head, unit)
		if unit == compared {
			for _, yardstick := range against {
				head = append(head, "× "+yardstick)
			}
		}
	}
	writeRow(b, append(head, "runs"))
	writeRow(b, append([]string{"---"}, repeat("---:", len(head))...))
	for _, row := range rows {
		cells := []string{row.name(), strconv.Itoa(row.procs)}
		for _, unit := range columns {
			cells = append(cells, row.cell(unit))
			if unit == compared {
				cells = append(cells, r.ratios(row, against, compared)...)
			}
		}
		writeRow(b, append(cells, row.runs()))
	}
}

// of returns the rows of one benchmark.
func (r *results) of(benchmark string) []*row {
	var rows []*row
	for _, row := range r.rows {
		if row.benchmark == benchmark {
			rows = append(rows, row)
		}
	}
	return rows
}

// yardsticks returns those that the benchmark has.
func (r *results) yardsticks(benchmark string) []string {
	var found []string
	for _, sub := range yardsticks {
		for _, row := range r.of(benchmark) {
			if row.sub == sub {
				found = append(found, sub)
				break
			}
		}
	}
	return found
}

// ratios returns what row takes, as multiples of what each yardstick takes with as
// many processors.
func (r *results) ratios(row *row, against []string, unit string) []string {
	var cells []string
	for _, yardstick := range against {
		own, ok := row.median(unit)
		other, known := r.find(row.benchmark, yardstick, row.procs).median(unit)
		if !ok || !known || other == 0 {
			cells = append(cells, none)
			continue
		}
		cells = append(cells, strconv.FormatFloat(own/other, 'f', 2, 64))
	}
	return cells
}

func (r *row) name() string {
	if r.sub == "" {
		return r.benchmark
	}
	return r.sub
}

// cell returns the median in a unit: whole numbers from 100 on, else with up to two
// digits after the point.
func (r *row) cell(unit string) string {
	v, ok := r.median(unit)
	if !ok {
		return none
	}
	text := strconv.FormatFloat(v, 'f', 2, 64)
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// runs returns how many runs there were.
func (r *row) runs() string {
	most := 0
	for _, values := range r.values {
		most = max(most, len(values))
	}
	return strconv.Itoa(most)
}

func writeRow(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func repeat(s string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}
