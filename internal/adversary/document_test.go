package adversary_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var moduleRoot = filepath.Join("..", "..")

// securityDocument returns SECURITY.md.
func securityDocument(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleRoot, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A dependency is a row of the table in SECURITY.md.
type dependency struct{ module, version, license string }

func listedDependencies(t *testing.T) (all []dependency) {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9./-]+)` \\| (v[0-9.]+) \\| ([A-Za-z0-9.-]+) \\|")
	for _, m := range row.FindAllStringSubmatch(securityDocument(t), -1) {
		all = append(all, dependency{m[1], m[2], m[3]})
	}
	return all
}

// The module depends on what SECURITY.md lists, in that version, and on nothing else,
// neither directly nor through something.
func TestDependenciesAreListed(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", filepath.Join(moduleRoot, "go.mod")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require                []struct{ Path, Version string }
		Replace, Exclude, Tool []any
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Replace)+len(mod.Exclude)+len(mod.Tool) > 0 {
		t.Errorf("go.mod has replace %v, exclude %v, tool %v; want none", mod.Replace, mod.Exclude, mod.Tool)
	}
	var got, want []string
	for _, r := range mod.Require {
		got = append(got, r.Path+" "+r.Version)
	}
	for _, d := range listedDependencies(t) {
		want = append(want, d.module+" "+d.version)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("go.mod requires\n%s\nSECURITY.md lists\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The licenses are those that SECURITY.md says.
func TestLicensesAreListed(t *testing.T) {
	t.Parallel()
	textOf := map[string]string{ // a sentence of each license
		"BSD-3-Clause": "Redistribution and use in source and binary forms",
		"MIT":          "Permission is hereby granted, free of charge",
		"MPL-2.0":      "Mozilla Public License, version 2.0",
	}
	for _, d := range listedDependencies(t) {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", d.module)
		cmd.Dir = moduleRoot
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", d.module, err)
		}
		files, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "LICENSE*"))
		if len(files) != 1 {
			t.Errorf("%s has %d files LICENSE*, want 1", d.module, len(files))
			continue
		}
		text, err := os.ReadFile(files[0])
		if err != nil || textOf[d.license] == "" || !strings.Contains(string(text), textOf[d.license]) {
			t.Errorf("the license of %s is not %s (error %v)", d.module, d.license, err)
		}
	}
}

// Every test that SECURITY.md names, as `package.TestName`, exists.
func TestEveryPromiseHasItsTest(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(securityDocument(t), -1)
	if len(named) < 40 {
		t.Errorf("SECURITY.md names only %d tests", len(named))
	}
	for _, m := range named {
		dir := m[1]
		if dir == "agw" {
			dir = "."
		}
		files, _ := filepath.Glob(filepath.Join(moduleRoot, dir, "*_test.go"))
		if !slices.ContainsFunc(files, func(file string) bool {
			b, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(b), "\nfunc "+m[2]+"(")
		}) {
			t.Errorf("SECURITY.md names %s.%s, which does not exist", m[1], m[2])
		}
	}
}
