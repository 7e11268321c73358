package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// filesystem shows kustomize the tree at mount and generated files beside it. It
// scans each kustomization before kustomize sees it. Nothing can be written.
type filesystem struct {
	tree    Tree
	files   map[string][]byte // generated, and read so far
	plugins map[string]bool   // files that configure generators and transformers
	visited int               // values that scans have looked at
	refusal error             // the first finding of a scan: kustomize may swallow it
}

func newFilesystem(tree Tree) *filesystem {
	return &filesystem{tree: tree, files: map[string][]byte{}, plugins: map[string]bool{}}
}

var errReadOnly = errors.New("the tree is read only")

// inTree translates a path of the build.
func inTree(name string) (string, bool) {
	name = path.Clean(name)
	if name == mount {
		return ".", true
	}
	return strings.CutPrefix(name, mount+"/")
}

// ReadFile implements filesys.FileSystem.
func (f *filesystem) ReadFile(name string) ([]byte, error) {
	name = path.Clean(name)
	if content, ok := f.files[name]; ok {
		return content, nil
	}
	inside, ok := inTree(name)
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	content, err := f.tree.ReadFile(inside)
	if err != nil {
		return nil, err
	}
	if err := f.scan(inside, content); err != nil {
		if f.refusal == nil {
			f.refusal = err
		}
		return nil, err
	}
	f.files[name] = content
	return content, nil
}

func (f *filesystem) stat(name string) (real string, isDir bool, err error) {
	name = path.Clean(name)
	if _, ok := f.files[name]; ok && strings.HasPrefix(name, overlay+"/") {
		return name, false, nil
	}
	if name == overlay || name == "/" {
		return name, true, nil
	}
	inside, ok := inTree(name)
	if !ok {
		return "", false, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	info, err := f.tree.Stat(inside)
	if err != nil {
		return "", false, err
	}
	if linked, ok := info.Sys().(string); ok && linked != "" {
		inside = linked
	}
	return path.Join(mount, inside), info.IsDir(), nil
}

// CleanedAbs implements filesys.FileSystem: symlinks are resolved, as on a disk.
func (f *filesystem) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	real, isDir, err := f.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("'%s' does not exist in the tree", name)
	}
	if err != nil {
		return "", "", err
	}
	if isDir {
		return filesys.ConfirmedDir(real), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(real)), path.Base(real), nil
}

// Exists implements filesys.FileSystem.
func (f *filesystem) Exists(name string) bool {
	_, _, err := f.stat(name)
	return err == nil
}

// IsDir implements filesys.FileSystem.
func (f *filesystem) IsDir(name string) bool {
	_, isDir, err := f.stat(name)
	return err == nil && isDir
}

// kustomizationOf returns the kustomization file of a directory of the tree.
func (f *filesystem) kustomizationOf(dir string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if file := path.Join(dir, name); f.Exists(path.Join(mount, file)) {
			return file
		}
	}
	return path.Join(dir, konfig.DefaultKustomizationFileName())
}

// What follows writes, or searches in ways that a build does not.

func (f *filesystem) Create(string) (filesys.File, error)  { return nil, errReadOnly }
func (f *filesystem) Open(string) (filesys.File, error)    { return nil, errReadOnly }
func (f *filesystem) Mkdir(string) error                   { return errReadOnly }
func (f *filesystem) MkdirAll(string) error                { return errReadOnly }
func (f *filesystem) RemoveAll(string) error               { return errReadOnly }
func (f *filesystem) WriteFile(string, []byte) error       { return errReadOnly }
func (f *filesystem) ReadDir(string) ([]string, error)     { return nil, errReadOnly }
func (f *filesystem) Glob(string) ([]string, error)        { return nil, errReadOnly }
func (f *filesystem) Walk(string, filepath.WalkFunc) error { return errReadOnly }
