package mount_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/internal/mount"
)

// overwrite is write for goroutines other than that of the test.
func overwrite(t *testing.T, path, content string) {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Error(err)
	}
}

func TestReadAgain(t *testing.T) {
	t.Parallel()
	type change struct {
		after   time.Duration
		content string // "" removes the file
	}
	for _, test := range []struct {
		name    string
		changes []change // of the file, which is "old" at first
		want    string
		took    time.Duration
	}{
		{"nothing has changed", nil, "old", 0},
		{"a change", []change{{0, "new"}}, "new", 100 * time.Millisecond},
		{"a file that is written in two parts", []change{{0, "n"}, {50 * time.Millisecond, "new"}}, "new", 200 * time.Millisecond},
		{"two changes", []change{{0, "new"}, {150 * time.Millisecond, "newer"}}, "new", 100 * time.Millisecond},
		{"a change that is taken back", []change{{0, "new"}, {50 * time.Millisecond, "old"}}, "old", 100 * time.Millisecond},
		{"a file that is removed", []change{{0, ""}}, "", 100 * time.Millisecond},
		{"a file that is replaced, and not there for a moment", []change{{0, ""}, {50 * time.Millisecond, "new"}}, "new", 200 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "credentials")
			write(t, path, "old")
			apply := func(c change) {
				if c.content != "" {
					overwrite(t, path, c.content)
				} else if err := os.Remove(path); err != nil {
					t.Error(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				for _, c := range test.changes {
					if c.after == 0 {
						apply(c)
						continue
					}
					time.AfterFunc(c.after, func() { apply(c) })
				}
				start := time.Now()
				files, err := mount.ReadAgain(t.Context(), dir, mount.Files{"credentials": "old"}, "credentials")
				if took := time.Since(start); err != nil || files["credentials"] != test.want || took != test.took {
					t.Errorf("got %q with error %v after %v, want %q after %v", files, err, took, test.want, test.took)
				}
				time.Sleep(time.Second) // until all changes are made
			})
		})
	}
}

func TestReadAgainOfSeveralFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "clientid"), "old")
	known := mount.Files{"clientid": "old"}
	synctest.Test(t, func(t *testing.T) {
		write(t, filepath.Join(dir, "clientid"), "new")
		time.AfterFunc(50*time.Millisecond, func() { overwrite(t, filepath.Join(dir, "clientsecret"), "new") })
		want := mount.Files{"clientid": "new", "clientsecret": "new"}
		if files, err := mount.ReadAgain(t.Context(), dir, known, "clientid", "clientsecret"); err != nil || !maps.Equal(files, want) {
			t.Errorf("got %q with error %v, want both files: %q", files, err, want)
		}
	})
	empty := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if files, err := mount.ReadAgain(t.Context(), empty, mount.Files{}, "clientid"); err != nil || len(files) != 0 || time.Since(start) != 0 {
			t.Errorf("no files, as before: got %q with error %v after %v, want none at once", files, err, time.Since(start))
		}
	})
}

func TestReadAgainThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	synctest.Test(t, func(t *testing.T) {
		stopped := errors.New("stopped")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, stopped)
		defer cancel()
		write(t, path, "hidden")
		_, err := mount.ReadAgain(ctx, dir, mount.Files{}, "credentials")
		if assertPathError(t, "a context that ends", err, dir, "stopped"); !errors.Is(err, stopped) {
			t.Errorf("got error %v, want the cause of the context", err)
		}
		if files, err := mount.ReadAgain(ctx, dir, mount.Files{"credentials": "hidden"}, "credentials"); err != nil || len(files) != 1 {
			t.Errorf("a context that has ended, and nothing has changed: got %q with error %v, want the file, since there is no wait", files, err)
		}

		check(t, os.Remove(path), os.Mkdir(path, 0o700))
		files, err := mount.ReadAgain(t.Context(), dir, mount.Files{}, "credentials")
		if assertPathError(t, "a directory", err, path, "not a regular file"); len(files) != 0 {
			t.Errorf("got %q along with the error, want nothing", files)
		}

		check(t, os.Remove(path))
		done := make(chan struct{})
		go func() {
			for i := range 20 {
				overwrite(t, path, time.Duration(i).String())
				time.Sleep(70 * time.Millisecond)
			}
			close(done)
		}()
		synctest.Wait()
		start := time.Now()
		_, err = mount.ReadAgain(t.Context(), dir, mount.Files{}, "credentials")
		assertPathError(t, "a file that keeps changing", err, dir, "the files keep changing")
		if took := time.Since(start); took > time.Second {
			t.Errorf("a file that keeps changing: gave up after %v, want at most 1s", took)
		}
		<-done
	})
}
