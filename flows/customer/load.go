package customer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

	maxProblems = 8 // that are listed of one place
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
// be read, or root is a binding itself, it is a [*tokensource.ConfigError].
//
// Directories whose names begin with ".." are not bindings: they hold the revisions of a
// mounted directory, each of which is gone after the next change.
func LoadFile(root string) (*Credentials, error) {
	if root == "" {
		return nil, notFound("files", "not read, because "+rootVariable+" is empty")
	}
	const elsewhere = " (set " + rootVariable + " for another directory)"
	entries, err := os.ReadDir(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notFound(root, "does not exist"+elsewhere)
	case err != nil:
		return nil, unreadable(root, err)
	}
	problems := []string{fmt.Sprintf("no directory in it has a file %q that says %s, and a file %q%s", typeFile, bindingType, credentialsFile, elsewhere)}
	for _, entry := range entries {
		binding := filepath.Join(root, entry.Name())
		info, err := os.Stat(binding)
		if err != nil || !info.IsDir() || strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		if problem := checkType(binding); problem != "" {
			problems = append(problems, problem)
			continue
		}
		files, err := mount.Read(binding, credentialsFile)
		content, err := contentOf(binding, files, err)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Sprintf("%s has no file %q", binding, credentialsFile))
		case err != nil:
			return nil, err
		default:
			return parseBinding(binding, content)
		}
	}
	if files, err := mount.Read(root, credentialsFile); checkType(root) == "" && (err != nil || len(files) > 0) {
		return nil, &tokensource.ConfigError{Source: root, Err: fmt.Errorf("this is a binding itself; name its parent, %s, in %s", parentOf(root), rootVariable)}
	}
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return nil, notFound(root, strings.Join(problems, "\n"))
}

// shownType matches a type of a binding that can be shown: what is said of types in
// general, and not the content of any file.
var shownType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$`)

// checkType says why the file "type" of a directory is not that of a binding of this flow;
// "" if it is.
func checkType(directory string) string {
	files, err := mount.Read(directory, typeFile)
	content, ok := files[typeFile]
	content = strings.TrimSpace(content)
	switch {
	case err != nil:
		return err.Error()
	case !ok:
		return fmt.Sprintf("%s has no file %q", directory, typeFile)
	case content == bindingType:
		return ""
	case shownType.MatchString(content):
		return directory + " is of type " + content
	default:
		return directory + " is of another type"
	}
}

// parentOf returns the directory that has the binding in it, which can be named by one of
// its revisions.
func parentOf(binding string) string {
	if absolute, err := filepath.Abs(binding); err == nil {
		binding = absolute
	}
	if strings.HasPrefix(filepath.Base(binding), "..") {
		binding = filepath.Dir(binding)
	}
	return filepath.Dir(binding)
}

// contentOf returns the content of a binding's credentials file, which [mount.Read] or
// [mount.ReadAgain] has read.
func contentOf(binding string, files mount.Files, err error) (string, error) {
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
	if uid := os.Getuid(); errors.Is(err, fs.ErrPermission) && uid >= 0 {
		err = fmt.Errorf("%w: this process runs as user %d, who must be able to read it", err, uid)
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
		problem := "not set: " + strings.Join(missing, ", ")
		if unknown := unknownVariables(); len(unknown) > 0 {
			problem += "\nset, but not known: " + strings.Join(unknown, ", ")
		}
		return nil, notFound(environment, problem)
	}
	if dependencies := os.Getenv(c.nameOf("Dependencies")); strings.TrimSpace(dependencies) != "" {
		if err := c.parseDependencies([]byte(dependencies)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// unknownVariables returns the names of the variables, in order, that begin like those of
// LoadEnv.
func unknownVariables() (names []string) {
	known := slices.Collect(maps.Values(namesInEnvironment))
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "INTEGRATION_") && !slices.Contains(known, name) && len(names) < maxProblems {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func notFound(place, problem string) error {
	return &flows.NotFoundError{Places: []flows.Place{{Flow: flowName, Name: place, Problem: problem}}}
}
