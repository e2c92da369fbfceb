package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `goos: linux
cpu: Some Processor
BenchmarkRoundTrip/floor         	  100	  700.0 ns/op	 944 B/op	  5 allocs/op
BenchmarkRoundTrip/floor-2       	  100	  600 ns/op	 944 B/op	  5 allocs/op
BenchmarkRoundTrip/oauth2        	  100	  1400 ns/op	 2496 B/op	  7 allocs/op
BenchmarkRoundTrip/agw/users=20  	  100	  350 ns/op	 720 B/op	  3 allocs/op
BenchmarkRoundTrip/agw/users=20-2	  100	  450 ns/op	 720 B/op	  3 allocs/op
BenchmarkMemory-2	  1	  1e9 ns/op	 1999.4 B/user
PASS
ok  	example	9.953s
goos: linux
cpu: Some Processor
BenchmarkRoundTrip/floor         	  100	  900 ns/op	 944 B/op	  5 allocs/op
BenchmarkRoundTrip/agw/users=20  	  100	  100 ns/op	 720 B/op	  3 allocs/op
BenchmarkRoundTrip/agw/users=20  	  100	  400 ns/op	 720 B/op	  3.5 allocs/op
BenchmarkRoundTrip/broken        	  100	  x ns/op
Benchmark without a result
`

const want = `goos: linux, cpu: Some Processor

### RoundTrip

|  | procs | ns/op | × floor | × oauth2 | B/op | allocs/op | runs |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| floor | 1 | 800 | 1.00 | 0.57 | 944 | 5 | 2 |
| floor | 2 | 600 | 1.00 | – | 944 | 5 | 1 |
| oauth2 | 1 | 1400 | 1.75 | 1.00 | 2496 | 7 | 1 |
| agw/users=20 | 1 | 350 | 0.44 | 0.25 | 720 | 3 | 3 |
| agw/users=20 | 2 | 450 | 0.75 | – | 720 | 3 | 1 |

### Memory

|  | procs | ns/op | B/user | runs |
| --- | ---: | ---: | ---: | ---: |
| Memory | 2 | 1000000000 | 1999 | 1 |
`

func TestTables(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(nil, strings.NewReader(sample), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// The ratios are those of the unit that is asked for.
func TestUnit(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run([]string{"-unit", "B/op"}, strings.NewReader(sample), &out); err != nil {
		t.Fatal(err)
	}
	const row = "| agw/users=20 | 1 | 350 | 720 | 0.76 | 0.29 | 3 | 3 |"
	if !strings.Contains(out.String(), row) {
		t.Errorf("got\n%s\nwithout\n%s", out.String(), row)
	}
	if err := run([]string{"-units"}, nil, io.Discard); err == nil || !strings.Contains(err.Error(), "-units") {
		t.Errorf("an unknown flag: %v", err)
	}
}

// Several files count as one.
func TestFiles(t *testing.T) {
	t.Parallel()
	half := strings.Index(sample, "PASS")
	var names []string
	for i, text := range []string{sample[:half], sample[half:]} {
		name := filepath.Join(t.TempDir(), string(rune('a'+i)))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	var out strings.Builder
	if err := run(names, strings.NewReader("not read"), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	if err := run(nil, strings.NewReader("PASS\n"), io.Discard); !errors.Is(err, errNoResults) {
		t.Errorf("no results: %v", err)
	}
	failed := sample + "--- FAIL: BenchmarkRoundTrip/agw\nFAIL\n"
	if err := run(nil, strings.NewReader(failed), io.Discard); err == nil || !strings.Contains(err.Error(), "BenchmarkRoundTrip/agw") {
		t.Errorf("a failed benchmark: %v", err)
	}
	if err := run([]string{filepath.Join(t.TempDir(), "absent")}, nil, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
	directory := t.TempDir()
	if err := run([]string{directory}, nil, io.Discard); err == nil || !strings.Contains(err.Error(), directory) {
		t.Errorf("a directory: %v", err)
	}
}
