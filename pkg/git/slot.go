package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// slot is a part of the store's directory that one process holds, by a lock that
// the kernel frees when the process ends, however it ends.
type slot struct {
	dir  string
	lock *os.File
}

// maxSlots is how many processes can share a directory.
const maxSlots = 64

// takeSlot takes the first free part, so that a process that starts again finds
// what it left.
func takeSlot(dir string) (*slot, error) {
	for n := range maxSlots {
		part := filepath.Join(dir, strconv.Itoa(n))
		if err := os.MkdirAll(part, 0o700); err != nil {
			return nil, err
		}
		lock, err := os.OpenFile(part+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return &slot{dir: part, lock: lock}, nil
		}
		if err = errors.Join(ignore(err, syscall.EWOULDBLOCK), lock.Close()); err != nil {
			return nil, fmt.Errorf("lock %s: %w", part, err)
		}
	}
	return nil, fmt.Errorf("all %d parts are taken by other processes; use another directory", maxSlots)
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func (s *slot) release() error { return s.lock.Close() }

// sizeOf is how many bytes the files below dir have.
func sizeOf(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what cannot be read weighs nothing
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}
