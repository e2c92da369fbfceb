package lob

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/mount"
	"github.com/agwgo/agw/tokensource"
)

const (
	envLandscape = "APPFND_CONHOS_LANDSCAPE"
	envRoot      = "SERVICE_BINDING_ROOT"
	envBinding   = "CLOUD_SDK_CFG_DESTINATION_DEFAULT_" // and a key in capitals

	defaultRoot = "/etc/secrets/appfnd"

	environment = "environment" // as Credentials.Source
)

// Load returns the credentials that the environment offers. The landscape is the value of
// APPFND_CONHOS_LANDSCAPE. The binding is the first complete one of
//
//  1. the files clientid, clientsecret, url, uri and identityzone in
//     $SERVICE_BINDING_ROOT/destination, if SERVICE_BINDING_ROOT is set,
//  2. the same files in $SERVICE_BINDING_ROOT/destination/default, or in
//     /etc/secrets/appfnd/destination/default if SERVICE_BINDING_ROOT is not set,
//  3. the environment variables CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTID,
//     ..._CLIENTSECRET, ..._URL, ..._URI and ..._IDENTITYZONE.
//
// White space around values is dropped, and a blank value counts as missing. URLs are
// checked by [Credentials.NewFlow].
//
// If there is nothing of a binding anywhere, the error is a [*flows.NotFoundError]. If a
// binding is incomplete or cannot be read, or only the landscape is missing, it joins a
// [*tokensource.ConfigError] for each value that is missing and each directory that cannot
// be read.
func Load() (*Credentials, error) { return load(os.Getenv) }

func load(getenv func(string) string) (*Credentials, error) {
	landscape := strings.TrimSpace(getenv(envLandscape))
	noLandscape := &tokensource.ConfigError{Source: environment, Field: envLandscape, Err: errNoLandscape}
	var nowhere flows.NotFoundError
	var broken []error
	for _, dir := range append(directories(getenv), "") {
		c, err := read(dir, getenv, mount.Read)
		switch missing := c.missing(); {
		case err != nil:
			broken = append(broken, err)
		case len(missing) == len(c.binding()):
			for i, key := range missing {
				missing[i] = c.spelling(key)
			}
			problem := "no files: "
			if dir == "" {
				problem = "not set: "
				if landscape == "" {
					missing = append(missing, envLandscape)
				}
			}
			problem += strings.Join(missing, ", ")
			nowhere.Places = append(nowhere.Places, flows.Place{Flow: flowName, Name: c.Source, Problem: problem})
		case len(missing) > 0:
			broken = append(broken, c.checkComplete())
		case landscape == "":
			return nil, noLandscape
		default:
			c.Landscape = landscape
			return c, nil
		}
	}
	if len(broken) == 0 {
		return nil, &nowhere
	}
	if landscape == "" {
		broken = append(broken, noLandscape)
	}
	return nil, errors.Join(broken...)
}

// directories returns where the files of a binding can be, in order.
func directories(getenv func(string) string) (dirs []string) {
	root := getenv(envRoot)
	if root != "" {
		dirs = append(dirs, filepath.Join(root, "destination"))
	}
	return append(dirs, filepath.Join(cmp.Or(root, defaultRoot), "destination", "default"))
}

// read returns what there is of a binding in the files in dir, which readFiles reads, or in
// the environment if dir is "".
func read(dir string, getenv func(string) string, readFiles func(dir string, names ...string) (mount.Files, error)) (*Credentials, error) {
	c := &Credentials{Source: cmp.Or(dir, environment), dir: dir}
	var keys []string
	for _, f := range c.binding() {
		keys = append(keys, f.key)
	}
	var files mount.Files
	if dir != "" {
		var err error
		if files, err = readFiles(dir, keys...); err != nil {
			return c, &tokensource.ConfigError{Source: dir, Err: err}
		}
	}
	for _, f := range c.binding() {
		value := files[f.key]
		if dir == "" {
			value = getenv(c.spelling(f.key))
		}
		*f.value = strings.TrimSpace(value)
	}
	return c, nil
}
