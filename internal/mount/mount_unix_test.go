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
