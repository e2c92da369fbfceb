package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agwgo/agw/agwtest"
)

// lastLine runs the program and decodes the last line of its report.
func lastLine(t *testing.T, args ...string) (s summary) {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), append(args, "-json"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	return s
}

func TestCustomer(t *testing.T) {
	want := summary{Flow: "customer", Calls: 1000, Users: 20, TokenRequests: 21, ServiceRequests: 21}
	if got := lastLine(t); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// One service token, two fragments and eleven destinations for each of five tenants.
func TestLoB(t *testing.T) {
	want := summary{Flow: "lob", Calls: 1000, Users: 50, TokenRequests: 5, ServiceRequests: 5 + 10 + 55}
	if got := lastLine(t, "-flow", "lob"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-flow", "other"}, {"-nonsense"}, {"extra"}} {
		if err := run(t.Context(), args, new(bytes.Buffer)); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// The real mode takes what the environment has; here that is the test double
// behind an authority that is trusted by its file, as in a container.
func TestReal(t *testing.T) {
	server, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	mount := t.TempDir()
	if err := server.WriteBinding(mount); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SERVICE_BINDING_ROOT", filepath.Join(mount, "nothing-here"))
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-real", "/v1/x"}, &out); err == nil {
		t.Errorf("without credentials there is no error: %s", &out)
	}

	t.Setenv("SERVICE_BINDING_ROOT", mount)
	if err := run(t.Context(), []string{"-real", "/v1/x"}, &out); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want an error about an authority that is not trusted", err)
	}
}

func TestEnvironmentIsRestored(t *testing.T) {
	t.Setenv("SERVICE_BINDING_ROOT", "before")
	lastLine(t)
	if got := os.Getenv("SERVICE_BINDING_ROOT"); got != "before" {
		t.Errorf("SERVICE_BINDING_ROOT is %q after the run", got)
	}
}
