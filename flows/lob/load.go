package lob

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/agwgo/agw/tokensource"
)

const (
	envLandscape = "APPFND_CONHOS_LANDSCAPE"
	envRoot      = "SERVICE_BINDING_ROOT"
	envBinding   = "CLOUD_SDK_CFG_DESTINATION_DEFAULT_" // followed by a key in capitals

	defaultRoot = "/etc/secrets/appfnd"
)

// Load returns the credentials that the agent's environment has. The landscape is
// the value of APPFND_CONHOS_LANDSCAPE. The binding is the first complete one of
//
//  1. the files clientid, clientsecret, url, uri and identityzone in
//     $SERVICE_BINDING_ROOT/destination, if SERVICE_BINDING_ROOT is set,
//  2. the same files in $SERVICE_BINDING_ROOT/destination/default, or in
//     /etc/secrets/appfnd/destination/default if SERVICE_BINDING_ROOT is not set,
//  3. the environment variables CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTID,
//     ..._CLIENTSECRET, ..._URL, ..._URI and ..._IDENTITYZONE.
//
// White space around values is dropped; an empty value counts as missing. What
// is found is checked by [NewFlow]. Any error is a [*LoadError].
func Load() (*Credentials, error) { return load(os.Getenv) }

func load(getenv func(string) string) (*Credentials, error) {
	landscape := strings.TrimSpace(getenv(envLandscape))
	failed := &LoadError{NoLandscape: landscape == ""}
	for _, src := range sources(getenv) {
		b, missing := src.read()
		if missing != nil {
			failed.Sources = append(failed.Sources, *missing)
			continue
		}
		if landscape == "" {
			return nil, &LoadError{NoLandscape: true}
		}
		return &Credentials{Binding: b, Landscape: landscape, files: src.dir}, nil
	}
	return nil, failed
}

// sources returns where a binding is looked for, in order.
func sources(getenv func(string) string) []source {
	var all []source
	root := getenv(envRoot)
	if root != "" {
		all = append(all, files(filepath.Join(root, "destination")))
	}
	root = cmp.Or(root, defaultRoot)
	return append(all, files(filepath.Join(root, "destination", "default")), environment(getenv))
}

// environment is the source of environment variables.
func environment(getenv func(string) string) source {
	variable := func(key string) string { return envBinding + strings.ToUpper(key) }
	return source{
		name:  "environment",
		spell: variable,
		get:   func(key string) (string, error) { return getenv(variable(key)), nil },
	}
}

// A LoadError says why [Load] found no credentials. It is a
// [tokensource.ErrNoCredentials] if there is nothing at all where it looked for a
// binding, and an [ErrNoLandscape] if the landscape is missing.
type LoadError struct {
	// Sources are the sources of the binding that were tried, in order. It is empty
	// if there was a complete binding and only the landscape is missing.
	Sources []SourceError

	// NoLandscape says that APPFND_CONHOS_LANDSCAPE is not set.
	NoLandscape bool
}

// A SourceError says what is wrong with one source of a binding.
type SourceError struct {
	Source  string   // the directory in which files were looked for, or "environment"
	Missing []string // names of the files or variables that are not there, or are empty
	Partial bool     // the others are there
	Err     error    // what was there, but could not be read; or nil
}

// Error says what is missing in the source.
func (e *SourceError) Error() string {
	found := "incomplete"
	if !e.Partial {
		found = "nothing there"
	}
	text := fmt.Sprintf("%s: %s", e.Source, found)
	if len(e.Missing) > 0 {
		text += ": missing " + strings.Join(e.Missing, ", ")
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what could not be read, or nil.
func (e *SourceError) Unwrap() error { return e.Err }

// Error lists what was looked for, in order, and what to set.
func (e *LoadError) Error() string {
	if len(e.Sources) == 0 {
		return ErrNoLandscape.Error()
	}
	var b strings.Builder
	b.WriteString("agw: no complete binding to the Destination Service, looked for in order:")
	for i := range e.Sources {
		fmt.Fprintf(&b, " (%d) %v;", i+1, &e.Sources[i])
	}
	b.WriteString(" provide all five values in one of these places")
	if e.NoLandscape {
		b.WriteString(", and set " + envLandscape)
	}
	return b.String()
}

// Unwrap returns the errors that e is.
func (e *LoadError) Unwrap() []error {
	var errs []error
	if e.NoLandscape {
		errs = append(errs, ErrNoLandscape)
	}
	nothing := len(e.Sources) > 0
	for i := range e.Sources {
		errs = append(errs, &e.Sources[i])
		nothing = nothing && !e.Sources[i].Partial
	}
	if nothing {
		errs = append(errs, tokensource.ErrNoCredentials)
	}
	return errs
}
