// Package mount reads the files that a container has mounted: credentials that are
// replaced while the program runs, in general by moving a symbolic link to another
// directory. What [Read] returns is of one moment, and a change is found by comparing it
// with what was read before, whatever the files' times and sizes say.
package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

const (
	maxSize     = 1 << 20 // of a file, in bytes
	maxReadings = 6       // of files that change while they are read
)

// Files are the contents of files, as they are, by the name under which they were asked
// for. [maps.Equal] tells whether two of them differ.
type Files map[string]string

// Read returns the named files of a directory. Symbolic links are followed. A file that
// does not exist, or whose directory does not, is left out; that is not an error.
//
// Of a file that cannot be read, is not a regular file (which is not even opened, since
// that could wait forever) or is larger than 1 MiB, the error has the path in an
// [*fs.PathError]. The errors of several files are joined, and the other files are
// returned along with them. No error quotes a file.
//
// The files are read until two readings in a row agree, so that they are not half the
// old and half the new ones. If they never do, the error says so.
func Read(dir string, names ...string) (Files, error) {
	files, err := readOnce(dir, names)
	for range maxReadings - 1 {
		again, errAgain := readOnce(dir, names)
		if maps.Equal(files, again) && fmt.Sprint(err) == fmt.Sprint(errAgain) {
			return files, err
		}
		files, err = again, errAgain
	}
	return nil, &fs.PathError{Op: "read", Path: dir, Err: errors.New("the files keep changing")}
}

func readOnce(dir string, names []string) (Files, error) {
	files := make(Files, len(names))
	var errs []error
	for _, name := range names {
		content, err := readFile(filepath.Join(dir, name))
		switch {
		case err == nil:
			files[name] = content
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return files, errors.Join(errs...)
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxSize {
		return "", &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", maxSize)}
	}
	return string(content), nil
}
