package customer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/mount"
	"github.com/agwgo/agw/tokensource"
)

const (
	rootVariable    = "SERVICE_BINDING_ROOT"
	defaultRoot     = "/bindings"
	bindingType     = "integration-credentials" // what the file typeFile of a binding says
	typeFile        = "type"
	credentialsFile = "credentials"
	environment     = "environment"
)

// Load returns the credentials of this process: those of a file, or else those of the
// environment; see the package documentation. If there are none, the error is a
// [*flows.NotFoundError]. If there are some that cannot be read, it is a
// [*tokensource.ConfigError].
func Load() (*Credentials, error) {
	root, ok := os.LookupEnv(rootVariable)
	if !ok {
		root = defaultRoot
	}
	creds, err := LoadFile(root)
	var noFile, noVariables *flows.NotFoundError
	if !errors.As(err, &noFile) {
		return creds, err
	}
	creds, err = LoadEnv()
	if !errors.As(err, &noVariables) {
		return creds, err
	}
	return nil, &flows.NotFoundError{Places: append(noFile.Places, noVariables.Places...)}
}

// LoadFile returns the credentials of the first binding, by name, below root. If there is
// none, or root is "", the error is a [*flows.NotFoundError]. If there is one that cannot
// be read, it is a [*tokensource.ConfigError].
func LoadFile(root string) (*Credentials, error) {
	if root == "" {
		return nil, notFound("files", "not read, because "+rootVariable+" is empty")
	}
	const hint = " (set " + rootVariable + " for another directory)"
	entries, err := os.ReadDir(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notFound(root, "does not exist"+hint)
	case err != nil:
		return nil, unreadable(root, err)
	}
	problem := fmt.Sprintf("no directory in it has a file %q that says %s and a file %q%s", typeFile, bindingType, credentialsFile, hint)
	for _, entry := range entries {
		binding := filepath.Join(root, entry.Name())
		if info, err := os.Stat(binding); err != nil || !info.IsDir() {
			continue
		}
		files, err := mount.Read(binding, typeFile)
		if err != nil {
			problem += fmt.Sprintf("; %v", err)
			continue
		}
		if strings.TrimSpace(files[typeFile]) != bindingType {
			continue
		}
		content, err := readBinding(binding)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problem += fmt.Sprintf("; %s has no file %q", binding, credentialsFile)
		case err != nil:
			return nil, err
		default:
			return parseBinding(binding, content)
		}
	}
	return nil, notFound(root, problem)
}

// readBinding returns the content of a binding's credentials file.
func readBinding(binding string) (string, error) {
	files, err := mount.Read(binding, credentialsFile)
	content, ok := files[credentialsFile]
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", unreadable(filepath.Join(binding, credentialsFile), err)
	}
	return content, nil
}

// parseBinding returns the credentials of a binding whose credentials file was read.
func parseBinding(binding, content string) (*Credentials, error) {
	c, err := parse([]byte(content), filepath.Join(binding, credentialsFile))
	if err != nil {
		return nil, err
	}
	c.binding, c.content = binding, content
	return c, nil
}

// unreadable returns the error of a file or directory that cannot be read.
func unreadable(path string, err error) error {
	var withPath *fs.PathError
	if errors.As(err, &withPath) {
		err = withPath.Err // the path is the source
	}
	return &tokensource.ConfigError{Source: path, Err: err}
}

// LoadEnv returns the credentials of the environment. Unless all three variables of the
// package documentation are set and not blank, the error is a [*flows.NotFoundError].
// If INTEGRATION_DEPENDENCIES cannot be read, it is a [*tokensource.ConfigError].
func LoadEnv() (*Credentials, error) {
	c := &Credentials{Source: environment, names: namesInEnvironment}
	var missing []string
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"ClientID", &c.ClientID},
		{"TokenServiceURL", &c.TokenServiceURL},
		{"GatewayURL", &c.GatewayURL},
	} {
		variable := c.nameOf(f.name)
		*f.to = os.Getenv(variable)
		if strings.TrimSpace(*f.to) == "" {
			missing = append(missing, variable)
		}
	}
	if len(missing) > 0 {
		return nil, notFound(environment, "not set: "+strings.Join(missing, ", "))
	}
	if dependencies := os.Getenv(c.nameOf("Dependencies")); strings.TrimSpace(dependencies) != "" {
		if err := c.parseDependencies([]byte(dependencies)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func notFound(place, problem string) error {
	return &flows.NotFoundError{Places: []flows.Place{{Flow: flowName, Name: place, Problem: problem}}}
}
