// Package mount reads the files that a container has mounted: credentials that are
// replaced while the program runs, in general by moving a symbolic link to another
// directory. What [Read] returns is of one moment, and a change is found by comparing it
// with what was read before, whatever the files' times and sizes say.
package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

const (
	maxSize     = 1 << 20 // of a file, in bytes
	maxReadings = 6       // of files that change while they are read

	// settleTime is how far apart two readings are at least that must agree before changed
	// files are believed: whoever writes them may be in the middle of it.
	settleTime = 100 * time.Millisecond
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
	return read(dir, names, nil, func() error { return nil })
}

// ReadAgain reads files that were read before, as known. If they still are the same, it
// returns at once. Otherwise the readings that must agree are at least 100 ms apart, so
// that no file is taken that is half written. If ctx ends meanwhile, its cause is the error.
// In all other respects it is like [Read].
func ReadAgain(ctx context.Context, dir string, known Files, names ...string) (Files, error) {
	return read(dir, names, known, func() error {
		select {
		case <-time.After(settleTime):
			return nil
		case <-ctx.Done():
			return &fs.PathError{Op: "read", Path: dir, Err: context.Cause(ctx)}
		}
	})
}

// read reads the files until they are as known, or two readings in a row agree that have a
// wait between them.
func read(dir string, names []string, known Files, wait func() error) (Files, error) {
	files, err := readOnce(dir, names)
	for range maxReadings - 1 {
		if err == nil && maps.Equal(files, known) {
			return files, nil
		}
		if err := wait(); err != nil {
			return nil, err
		}
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
