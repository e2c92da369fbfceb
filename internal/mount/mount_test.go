package mount_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/internal/mount"
)

// check fails the test at once if any of the errors is not nil.
func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600))
}

// assertFiles reads files, of which none is unreadable.
func assertFiles(t *testing.T, what string, want mount.Files, dir string, names ...string) {
	t.Helper()
	if files, err := mount.Read(dir, names...); err != nil || !maps.Equal(files, want) {
		t.Errorf("%s: got %.100q with error %v, want %.100q", what, files, err, want)
	}
}

// assertPathError checks that an error is about a path and does not quote a file.
func assertPathError(t *testing.T, what string, err error, path, want string) {
	t.Helper()
	pathErr := (*fs.PathError)(nil)
	if !errors.As(err, &pathErr) || pathErr.Path != path {
		t.Errorf("%s: got error %v, want an *fs.PathError about %s", what, err, path)
		return
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%s: got error %q, want the path and %q, and nothing of the file", what, err, want)
	}
}

func TestReadReturnsTheNamedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "clientid"), " sb-1\n")
	write(t, filepath.Join(dir, "binary"), "\x00\xff")
	write(t, filepath.Join(dir, "empty"), "")
	write(t, filepath.Join(dir, "other"), "hidden")
	write(t, filepath.Join(dir, "largest"), strings.Repeat("x", 1<<20))
	assertFiles(t, "content as it is", mount.Files{"clientid": " sb-1\n", "binary": "\x00\xff", "empty": ""}, dir, "clientid", "binary", "empty", "absent")
	assertFiles(t, "a file of 1 MiB", mount.Files{"largest": strings.Repeat("x", 1<<20)}, dir, "largest")
	assertFiles(t, "no names", mount.Files{}, dir)
	assertFiles(t, "a directory that does not exist", mount.Files{}, filepath.Join(dir, "absent"), "clientid")
}

func TestReadFollowsSymbolicLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data", "clientid"), "sb-1")
	check(t,
		os.Mkdir(filepath.Join(dir, "mounted"), 0o700),
		os.Symlink("../data", filepath.Join(dir, "mounted", "..data")),
		os.Symlink("..data/clientid", filepath.Join(dir, "mounted", "clientid")),
		os.Symlink("nowhere", filepath.Join(dir, "mounted", "url")),
		os.Symlink("mounted", filepath.Join(dir, "linked")),
	)
	want := mount.Files{"clientid": "sb-1"} // a link that leads nowhere is as good as no file
	assertFiles(t, "linked files", want, filepath.Join(dir, "mounted"), "clientid", "url")
	assertFiles(t, "a linked directory", want, filepath.Join(dir, "linked"), "clientid", "url")
}

func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("clientid"), "sb-1")
	write(t, filepath.Join(path("directory"), "hidden"), "")
	write(t, path("large"), strings.Repeat("hidden", 1<<20/6+1))
	check(t, os.Symlink("loop", path("loop")))
	for _, test := range []struct{ name, file, want string }{
		{"a directory", "directory", "not a regular file"},
		{"a file of more than 1 MiB", "large", "larger than 1048576 bytes"},
		{"a link to itself", "loop", ""},
	} {
		files, err := mount.Read(dir, "clientid", test.file, "absent")
		assertPathError(t, test.name, err, path(test.file), test.want)
		if want := (mount.Files{"clientid": "sb-1"}); !maps.Equal(files, want) {
			t.Errorf("%s: got %q along with the error, want the other files: %q", test.name, files, want)
		}
	}

	_, err := mount.Read(dir, "directory", "clientid", "large")
	for _, want := range []string{path("directory") + ": not a regular file", path("large") + ": larger than 1048576 bytes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("two unreadable files: error %v does not say %q", err, want)
		}
	}

	_, err = mount.Read(path("clientid"), "type")
	assertPathError(t, "a file in place of the directory", err, filepath.Join(path("clientid"), "type"), "")
}

func TestFileWithoutPermission(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "clientsecret")
	write(t, path, "hidden")
	check(t, os.Chmod(path, 0))
	if f, err := os.Open(path); err == nil {
		_ = f.Close()
		t.Skip("this user may read every file; TestUnreadableFiles has those that nobody can")
	}
	_, err := mount.Read(dir, "clientsecret")
	if assertPathError(t, "no permission", err, path, ""); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got error %v, want an fs.ErrPermission", err)
	}
}

// A change is one of the content, whatever else of the file stays the same.
func TestChangesAreSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	write(t, path, "first")
	info, err := os.Stat(path)
	check(t, err)

	write(t, path, "other") // in place, of the same size
	check(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	assertFiles(t, "written in place, same size and time", mount.Files{"credentials": "other"}, dir, "credentials")

	write(t, path+".new", "third")
	check(t, os.Chtimes(path+".new", info.ModTime(), info.ModTime()), os.Rename(path+".new", path))
	assertFiles(t, "another file, same size and time", mount.Files{"credentials": "third"}, dir, "credentials")

	before, err := mount.Read(dir, "credentials")
	check(t, err, os.Chtimes(path, time.Time{}, info.ModTime().Add(time.Hour)))
	assertFiles(t, "another time, same content", before, dir, "credentials")

	check(t, os.Remove(path))
	assertFiles(t, "removed", mount.Files{}, dir, "credentials")
}

// While a mount is swapped all the time, what is read is of one moment.
func TestFilesOfOneMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{"clientid", "clientsecret", "identityzone", "uri", "url"}
	swap := func(mark string) {
		files := make(map[string][]byte)
		for _, name := range names {
			files[name] = []byte(mark)
		}
		if err := agwtest.WriteMount(dir, files); err != nil {
			t.Error(err)
		}
	}
	swap("0")
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				swap(fmt.Sprint(i))
			}
		}
	})
	seen := make(map[string]bool)
	for range 2000 {
		files, err := mount.Read(dir, names...)
		if err != nil {
			if files != nil {
				t.Errorf("got %q along with error %v", files, err)
			}
			continue // they have changed during each reading
		}
		for _, name := range names {
			if files[name] != files["clientid"] || files[name] == "" {
				t.Fatalf("files of different moments: %q", files)
			}
		}
		seen[files["clientid"]] = true
	}
	close(stop)
	group.Wait()
	if len(seen) < 2 {
		t.Errorf("all readings were of %d moments, want some of different ones", len(seen))
	}
}

func TestFilesThatKeepChanging(t *testing.T) {
	t.Parallel()
	const changing = "/proc/sys/kernel/random/uuid" // another one each time it is read
	if _, err := os.Stat(changing); err != nil {
		t.Skipf("there is no file that changes all the time: %v", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "type"), "hidden")
	check(t, os.Symlink(changing, filepath.Join(dir, "credentials")))
	files, err := mount.Read(dir, "type", "credentials")
	if assertPathError(t, "files that change all the time", err, dir, "the files keep changing"); files != nil {
		t.Errorf("got %q along with the error, though not all of it may be of one moment", files)
	}
}
