// Package home is the directory a control plane lives in: who holds it, on which port it answers, and how
// files in it are replaced. It knows nothing of Kubernetes. A directory that another process holds and a port
// that another program took are errors that name both.
package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Home is a directory held by this process until it ends.
type Home struct {
	Dir  string // absolute
	lock *os.File
}

// Open creates dir if needed and takes its lock. It waits up to patience for the holder, since a process that
// was just killed keeps its locks and ports for some milliseconds after its parent was told.
func Open(dir string, patience time.Duration) (*Home, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("resolve directory: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(abs, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := retry(patience, func() error { return flock(lock) }); err != nil {
		return nil, fmt.Errorf("%s is in use by process %s: %w", abs, holder(lock), err)
	}
	h := &Home{Dir: abs, lock: lock}
	return h, h.sign()
}

// Path is the absolute path of a file in the directory.
func (h *Home) Path(elem ...string) string {
	return filepath.Join(append([]string{h.Dir}, elem...)...)
}

// Write replaces a file at once: a reader, and a restart after a kill, sees the old or the new, never half.
func (h *Home) Write(name string, data []byte, perm os.FileMode) error {
	tmp, err := os.CreateTemp(h.Dir, "."+name+"-")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(tmp.Name())
	_, werr := tmp.Write(data)
	if err := errors.Join(werr, tmp.Chmod(perm), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(tmp.Name(), h.Path(name))
}

// Log opens a log of the directory for appending, so that what a killed process wrote stays.
func (h *Home) Log(name string) (*os.File, error) {
	return os.OpenFile(h.Path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// sign leaves our process id in the lock, for the message of whoever comes second.
func (h *Home) sign() error {
	if err := h.lock.Truncate(0); err != nil {
		return fmt.Errorf("sign lock: %w", err)
	}
	if _, err := h.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return fmt.Errorf("sign lock: %w", err)
	}
	return nil
}

func flock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func holder(lock *os.File) string {
	pid, err := os.ReadFile(lock.Name())
	if err != nil || len(pid) == 0 {
		return "unknown"
	}
	return strings.TrimSpace(string(pid))
}

func retry(patience time.Duration, try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
