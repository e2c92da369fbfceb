package customer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/agwgo/agw/tokensource"
)

const (
	rootVariable = "SERVICE_BINDING_ROOT"
	defaultRoot  = "/bindings"
	bindingType  = "integration-credentials"
	environment  = "environment"
)

// Load returns the credentials of this process: those of a file, or else those of
// the environment; see the package comment. If there are none, the error is a
// [*NotFoundError]; if there are some that cannot be read, it is a [*ConfigError].
func Load() (*Credentials, error) {
	fromFile, err := LoadFile(root())
	if !errors.Is(err, tokensource.ErrNoCredentials) {
		return fromFile, err
	}
	fromEnv, envErr := LoadEnv()
	if !errors.Is(envErr, tokensource.ErrNoCredentials) {
		return fromEnv, envErr
	}
	return nil, &NotFoundError{Looked: append(looked(err), looked(envErr)...)}
}

// root returns the directory of all bindings; "" for none.
func root() string {
	if root, ok := os.LookupEnv(rootVariable); ok {
		return root
	}
	return defaultRoot
}

func looked(err error) []string {
	if e := (*NotFoundError)(nil); errors.As(err, &e) {
		return e.Looked
	}
	return nil
}

// LoadFile returns the credentials in the first binding, by name, below root. If
// there is no binding, or root is "", the error is a [*NotFoundError].
func LoadFile(root string) (*Credentials, error) {
	if root == "" {
		return nil, &NotFoundError{Looked: []string{"no file, because " + rootVariable + " is empty"}}
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, unreadable(root, err)
	}
	place := fmt.Sprintf("%s (set %s for another), ", root, rootVariable)
	if err != nil {
		place += "which does not exist"
	} else {
		place += "where no directory has a file \"type\" that says " + bindingType + " and a file \"credentials\""
	}
	for _, entry := range entries {
		directory := filepath.Join(root, entry.Name())
		found, note := isBinding(directory)
		if found {
			return load(filepath.Join(directory, "credentials"))
		}
		place += note
	}
	return nil, &NotFoundError{Looked: []string{place}}
}

// isBinding reports whether directory is a binding of our type; if it looks as if
// it were meant to be one, note says what is wrong with it.
func isBinding(directory string) (found bool, note string) {
	if info, err := os.Stat(directory); err != nil || !info.IsDir() {
		return false, ""
	}
	path := filepath.Join(directory, "type")
	_, content, err := readFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, ""
	case err != nil:
		return false, fmt.Sprintf(" (%v)", err)
	case string(bytes.TrimSpace(content)) != bindingType:
		return false, ""
	}
	if _, err := os.Stat(filepath.Join(directory, "credentials")); errors.Is(err, os.ErrNotExist) {
		return false, fmt.Sprintf(" (%s has no credentials)", directory)
	}
	return true, ""
}

// LoadEnv returns the credentials in the environment. Unless all three variables
// of the package comment are set and not empty, the error is a [*NotFoundError].
func LoadEnv() (*Credentials, error) {
	c := &Credentials{Source: environment, fields: envFields()}
	c.ClientID = os.Getenv(c.fields.clientID)
	c.TokenServiceURL = os.Getenv(c.fields.tokenServiceURL)
	c.GatewayURL = os.Getenv(c.fields.gatewayURL)
	if missing := c.unset(); len(missing) > 0 {
		verb := " is"
		if len(missing) > 1 {
			verb = " are"
		}
		return nil, &NotFoundError{Looked: []string{"the environment, where " + strings.Join(missing, ", ") + verb + " not set"}}
	}
	dependencies := os.Getenv(c.fields.dependencies)
	if strings.TrimSpace(dependencies) == "" {
		return c, nil
	}
	if err := c.setDependencies([]byte(dependencies)); err != nil {
		return nil, err
	}
	return c, nil
}

// unset returns the names of the variables that are needed and not there.
func (c *Credentials) unset() (names []string) {
	for _, v := range [][2]string{
		{c.fields.clientID, c.ClientID},
		{c.fields.tokenServiceURL, c.TokenServiceURL},
		{c.fields.gatewayURL, c.GatewayURL},
	} {
		if strings.TrimSpace(v[1]) == "" {
			names = append(names, v[0])
		}
	}
	return names
}
