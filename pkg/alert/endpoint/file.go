package endpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
)

// maxFile is the largest file in bytes.
const maxFile = 16 << 10

// read reads the file: the URL in its first line and, as it may be, a key for
// signatures in its second.
func (e *Endpoint) read() (Secrets, error) {
	f, err := os.Open(e.file)
	if err != nil {
		return Secrets{}, fmt.Errorf("read URL file %s: %w", e.file, pathless(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Secrets{}, fmt.Errorf("read URL file %s: %w", e.file, pathless(err))
	}
	if len(data) > maxFile {
		return Secrets{}, fmt.Errorf("read URL file %s: it is larger than %d bytes", e.file, maxFile)
	}
	s, err := parse(string(data))
	if err != nil {
		return Secrets{}, fmt.Errorf("read URL file %s: %w", e.file, err)
	}
	return s, nil
}

// parse never repeats what it read.
func parse(content string) (Secrets, error) {
	var lines []string
	for l := range strings.Lines(content) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 || len(lines) > 2 {
		return Secrets{}, errors.New("write the URL into its first line and, if there is one, the key for signatures into its second")
	}
	u, err := url.Parse(lines[0])
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return Secrets{}, errors.New("its first line is not an http(s) URL")
	}
	u.Fragment = ""
	s := Secrets{url: u}
	if len(lines) == 2 {
		s.Key = lines[1]
	}
	return s, nil
}

// pathless drops the path, which the caller names.
func pathless(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
