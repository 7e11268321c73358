package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// secretFile holds the secrets of one hook, one a line, and reads them again
// when the file changes. What cannot be read leaves the last good ones in
// force; a file without a line withdraws them.
type secretFile struct {
	path string
	log  *slog.Logger
	now  func() time.Time

	mu      sync.Mutex
	secrets [][]byte
	seen    fs.FileInfo
	settled bool   // seen is old enough for its time to tell a later change
	trouble string // the last error, logged once
}

const (
	maxSecretFile = 64 << 10
	// settling covers clocks of file systems that tick coarsely: of two writes
	// within a tick the second leaves no trace in the file's time.
	settling = 2 * time.Second
)

var errNoSecret = errors.New("it holds no secret; write one a line")

func openSecretFile(path string, log *slog.Logger, now func() time.Time) (*secretFile, error) {
	s := &secretFile{path: path, log: log, now: now}
	if err := s.refresh(); err != nil {
		return nil, fmt.Errorf("read secret file %s: %w", path, err)
	}
	return s, nil
}

func (s *secretFile) current() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.refresh()
	switch {
	case err == nil:
		s.trouble = ""
	case err.Error() != s.trouble:
		s.trouble = err.Error()
		s.log.Error("secret file of a hook is unusable", "file", s.path, "error", err, "secretsInForce", len(s.secrets))
	}
	return s.secrets
}

func (s *secretFile) refresh() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return pathless(err)
	}
	if s.unchanged(info) {
		if len(s.secrets) == 0 {
			return errNoSecret
		}
		return nil
	}
	data, err := readBounded(s.path)
	if err != nil {
		return pathless(err)
	}
	s.seen, s.settled = info, s.now().Sub(info.ModTime()) > settling
	s.secrets = lines(data)
	if len(s.secrets) == 0 {
		return errNoSecret
	}
	return nil
}

func (s *secretFile) unchanged(info fs.FileInfo) bool {
	return s.seen != nil && s.settled && os.SameFile(s.seen, info) &&
		s.seen.ModTime().Equal(info.ModTime()) && s.seen.Size() == info.Size()
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(data) > maxSecretFile {
		err = errors.New("it is larger than 64 KiB")
	}
	return data, err
}

func lines(data []byte) (secrets [][]byte) {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			secrets = append(secrets, bytes.Clone(line))
		}
	}
	return secrets
}

// pathless drops the path, which the caller names.
func pathless(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func (s *secretFile) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.secrets)
}
