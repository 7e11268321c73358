package child

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// remote is the tree as the child sees it: every call is a question to the parent.
// Renderers ask from one goroutine.
type remote struct{ server *server }

func (r *remote) ask(kind, name string) ([]byte, error) {
	if err := writeFrame(r.server.out, header{Kind: kind, Path: name}, nil); err != nil {
		return nil, err
	}
	f := <-r.server.in
	switch {
	case f.Absent:
		return nil, &fs.PathError{Op: kind, Path: name, Err: fs.ErrNotExist}
	case f.Error != "":
		return nil, errors.New(f.Error)
	}
	return f.body, nil
}

// ReadFile implements fs.ReadFileFS but for Open, which no renderer needs.
func (r *remote) ReadFile(name string) ([]byte, error) { return r.ask(kindRead, name) }

func (r *remote) entries(kind, name string) ([]entry, error) {
	body, err := r.ask(kind, name)
	if err != nil {
		return nil, err
	}
	var out []entry
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, fmt.Errorf("decode entries: %w", err)
	}
	return out, nil
}

// Stat follows symlinks; Sys is the path that they lead to.
func (r *remote) Stat(name string) (fs.FileInfo, error) {
	entries, err := r.entries(kindStat, name)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, errors.New("the parent gave no answer")
	}
	return info{entries[0]}, nil
}

// ReadDir lists by name.
func (r *remote) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := r.entries(kindList, name)
	if err != nil {
		return nil, err
	}
	out := make([]fs.DirEntry, 0, len(entries))
	for _, e := range entries {
		out = append(out, fs.FileInfoToDirEntry(info{e}))
	}
	return out, nil
}

// info is an entry as fs.FileInfo. Times do not exist in Git, so they are zero.
type info struct{ entry }

func (i info) Name() string       { return i.entry.Name }
func (i info) Size() int64        { return i.entry.Size }
func (i info) Mode() fs.FileMode  { return fs.FileMode(i.entry.Mode) }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return i.Real }
