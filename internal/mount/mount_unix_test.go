//go:build unix

package mount_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/agwgo/agw/internal/mount"
)

// Opening a pipe waits for a writer, and some devices can be read forever.
func TestPipesAndDevicesAreNotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t,
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
		os.Symlink("pipe", filepath.Join(dir, "link")),
		os.Symlink("/dev/zero", filepath.Join(dir, "device")),
	)
	for _, name := range []string{"pipe", "link", "device"} {
		_, err := mount.Read(dir, name)
		assertPathError(t, name, err, filepath.Join(dir, name), "not a regular file")
	}
}

func TestFileThatCannotBeReadToItsEnd(t *testing.T) {
	t.Parallel()
	const broken = "/proc/self/mem" // a regular file that begins where nothing can be read
	if _, err := os.Stat(broken); err != nil {
		t.Skipf("there is no file that nobody can read: %v", err)
	}
	dir := t.TempDir()
	check(t, os.Symlink(broken, filepath.Join(dir, "credentials")))
	_, err := mount.Read(dir, "credentials")
	assertPathError(t, "a file that cannot be read", err, filepath.Join(dir, "credentials"), "")
}
