package lob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxFile     = 64 << 10 // size of the largest file of a binding, in bytes
	maxReadings = 5        // of files that change while they are read
)

// A source is a place where a binding can be.
type source struct {
	name  string                           // for messages
	dir   string                           // the directory, if the values are in files
	spell func(key string) string          // what the value of a key is called there
	get   func(key string) (string, error) // the value of a key, "" if there is none
}

// files is the source of files in dir.
func files(dir string) source {
	return source{
		name:  dir,
		dir:   dir,
		spell: func(key string) string { return key },
		get:   func(key string) (string, error) { return readFile(filepath.Join(dir, key)) },
	}
}

// read returns the binding that is in s, or what is wrong with it.
//
// Files can be replaced while they are read, as a whole by swapping a symbolic link.
// They are read until two readings in a row agree, which therefore are of one set.
func (s source) read() (Binding, *SourceError) {
	b, missing := s.readOnce()
	if s.dir == "" || missing != nil && !missing.Partial {
		return b, missing
	}
	for range maxReadings {
		again, missing := s.readOnce()
		if again == b {
			return b, missing
		}
		b = again
	}
	return Binding{}, &SourceError{Source: s.name, Partial: true, Err: errors.New("the files keep changing")}
}

func (s source) readOnce() (Binding, *SourceError) {
	b := Binding{Source: s.name}
	failed := SourceError{Source: s.name}
	for _, f := range b.fields() {
		value, err := s.get(f.key)
		*f.value = strings.TrimSpace(value)
		switch {
		case err != nil:
			failed.Err, failed.Partial = errors.Join(failed.Err, err), true
		case *f.value == "":
			failed.Missing = append(failed.Missing, s.spell(f.key))
		default:
			failed.Partial = true
		}
	}
	if failed.Err != nil || len(failed.Missing) > 0 {
		return b, &failed
	}
	return b, nil
}

// readFile returns what is in a file; "" if there is none.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case !info.Mode().IsRegular(): // reading might never end
		return "", fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return string(content), err
}
