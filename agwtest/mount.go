package agwtest

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// WriteMount writes files into a directory the way kubelet mounts a secret: each
// name is a symbolic link through ..data to a new directory. If the directory
// has been written before, ..data is pointed to the new files in one step, and
// the old ones are removed. Only one goroutine at a time may write to a
// directory; any number may read.
func WriteMount(directory string, files map[string][]byte) error {
	if err := writeMount(directory, files); err != nil {
		return fmt.Errorf("agwtest: mount: %w", err)
	}
	return nil
}

func writeMount(directory string, files map[string][]byte) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	link := filepath.Join(directory, "..data")
	old, _ := os.Readlink(link)
	data, err := os.MkdirTemp(directory, time.Now().UTC().Format("..2006_01_02_15_04_05.*"))
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(data, name), content, 0o600); err != nil {
			return err
		}
	}

	// A rename replaces the link in one step.
	next := link + "_tmp"
	_ = os.Remove(next)
	if err := os.Symlink(filepath.Base(data), next); err != nil {
		return err
	}
	if err := os.Rename(next, link); err != nil {
		return err
	}

	// Make the links that readers see agree with files and remove the directory
	// that was served before. What does not belong to the mount stays.
	for name := range files {
		err := os.Symlink(filepath.Join("..data", name), filepath.Join(directory, name))
		if err != nil && !os.IsExist(err) {
			return err
		}
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(directory, entry.Name())
		target, _ := os.Readlink(path)
		_, served := files[entry.Name()]
		stale := filepath.Dir(target) == "..data" && !served || entry.Name() == old
		if !stale {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
