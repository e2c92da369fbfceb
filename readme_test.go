package agw_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/agwgo/agw/agwtest"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// snippets returns the Go snippets of the README: whole programs, and excerpts.
func snippets(t *testing.T) (programs, excerpts []string) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range goBlock.FindAllStringSubmatch(string(readme), -1) {
		if strings.HasPrefix(m[1], "package main") {
			programs = append(programs, m[1])
		} else {
			excerpts = append(excerpts, m[1])
		}
	}
	if len(programs) == 0 || len(excerpts) == 0 {
		t.Fatal("the README has no snippets")
	}
	return programs, excerpts
}

// flat returns text without its indentation, which differs between an excerpt and
// where it comes from.
func flat(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Every excerpt in the README stands in an example, where it is compiled and run.
func TestReadmeExcerpts(t *testing.T) {
	_, excerpts := snippets(t)
	var code strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		if !strings.HasPrefix(path, "examples") && !strings.HasSuffix(path, "example_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		code.WriteString(flat(string(text)) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, excerpt := range excerpts {
		if !strings.Contains(code.String(), flat(excerpt)) {
			t.Errorf("no example has this snippet of the README:\n%s", excerpt)
		}
	}
}

// Every program in the README runs as pasted, in a module of its own, in a place
// that has nothing but what a container has: a mounted binding and a file of
// authorities.
func TestReadmePrograms(t *testing.T) {
	server := startServer(t, agwtest.Options{})
	root := mountCustomerFile(t, server)
	authorities := filepath.Join(root, "authorities.pem")
	write(t, authorities, string(server.CAPEM()))
	programs, _ := snippets(t)
	for _, program := range programs {
		dir := newModule(t, program)
		for _, jwt := range []string{"", server.UserToken(agwtest.User{Name: "alice"})} {
			cmd := exec.CommandContext(t.Context(), "go", "run", ".")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+authorities, "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
			if jwt != "" {
				cmd.Env = append(cmd.Env, "USER_JWT="+jwt)
			}
			out, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "200 OK" {
				t.Errorf("got %v, %s", err, out)
			}
		}
	}
	seen := server.Requests()
	if n := len(seen); n < 2 || seen[n-1].User != "alice" {
		t.Error("the gateway did not see the user")
	}
}

// newModule makes a module of one program next to this one.
func newModule(t *testing.T, program string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), program)
	write(t, filepath.Join(dir, "go.sum"), string(sums))
	write(t, filepath.Join(dir, "go.mod"), strings.Replace(string(mod), "module github.com/agwgo/agw\n",
		"module example.com/agent\n\nrequire github.com/agwgo/agw v0.0.0\n\nreplace github.com/agwgo/agw => "+here+"\n", 1))
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
