package customer

import (
	"errors"
	"fmt"
	"io"
	"os"
)

const maxFileSize = 1 << 20

// A file is a file as it was when it was read.
type file struct {
	path string
	info os.FileInfo // of what symbolic links led to
}

// readFile returns the content of a regular file of at most maxFileSize bytes.
func readFile(path string) (*file, []byte, error) {
	info, err := os.Stat(path) // before opening, which waits if it is a pipe
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil { // that of the content, whatever happened since
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(content) > maxFileSize {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFileSize)
	}
	return &file{path, info}, content, err
}

// changed reports whether another file is in the place of f by now, or f has
// another content.
func (f *file) changed() (bool, error) {
	now, err := os.Stat(f.path)
	if err != nil {
		return false, err
	}
	same := os.SameFile(f.info, now) && f.info.ModTime().Equal(now.ModTime()) && f.info.Size() == now.Size()
	return !same, nil
}

// load reads credentials from a file.
func load(path string) (*Credentials, error) {
	f, content, err := readFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	c, err := parse(content, path)
	if err != nil {
		return nil, err
	}
	c.file = f
	return c, nil
}

// unreadable returns the error of a file that cannot be read.
func unreadable(path string, err error) error {
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		err = p.Err // the path is the source
	}
	return &ConfigError{Source: path, Err: err}
}
