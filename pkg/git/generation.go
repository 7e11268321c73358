package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

// generation is one bare repository on disk: packs, the commits that are known
// to be complete (its tips) and those whose parents it does not have (shallows).
// git itself can read it. It only grows; a repository that has grown too far or
// is damaged is followed by another generation.
//
// One goroutine at a time changes it (the holder of repository.busy); readers
// take objects and are never disturbed.
type generation struct {
	dir      string
	memory   *memory
	suspect  atomic.Bool
	packs    atomic.Pointer[[]*pack] // newest first
	tips     []plumbing.Hash         // newest last
	shallows []plumbing.Hash
	base     int64 // bytes of packs that were asked for as if nothing were here
}

// maxTips is how many tips are remembered, and sent as what we have.
const maxTips = 64

// Files of a generation beside those of git.
const (
	baseFile   = "plumb-base"
	partialExt = ".partial"
)

func newGeneration(dir string, m *memory) (*generation, error) {
	if err := os.MkdirAll(filepath.Join(dir, "objects", "pack"), 0o700); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "refs"), 0o700); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	for name, text := range map[string]string{
		"HEAD":   "ref: refs/heads/none\n",
		"config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("make store: %w", err)
		}
	}
	g := &generation{dir: dir, memory: m}
	g.packs.Store(&[]*pack{})
	return g, nil
}

// openGeneration reads a generation that an earlier process left. Any error
// means that it is not worth keeping.
func openGeneration(dir string, m *memory) (*generation, error) {
	g := &generation{dir: dir, memory: m}
	if err := g.sweep(); err != nil {
		return nil, err
	}
	indexes, err := filepath.Glob(filepath.Join(g.packDir(), "pack-*.idx"))
	if err != nil {
		return nil, err
	}
	var packs []*pack
	for _, name := range indexes {
		p, err := openPack(strings.TrimSuffix(name, ".idx"))
		if err != nil {
			return nil, err
		}
		packs = append(packs, p)
	}
	g.packs.Store(&packs)
	if err := g.readState(); err != nil {
		return nil, err
	}
	return g, nil
}

// sweep removes what a process that ended in the middle of a fetch left.
func (g *generation) sweep() error {
	for _, pattern := range []string{"tmp_pack_*", "*.part"} {
		names, err := filepath.Glob(filepath.Join(g.packDir(), pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *generation) packDir() string { return filepath.Join(g.dir, "objects", "pack") }

func (g *generation) readState() error {
	refs, err := os.ReadFile(filepath.Join(g.dir, "packed-refs"))
	if err != nil {
		return err
	}
	o := g.objects()
	for line := range strings.Lines(string(refs)) {
		sha, _, _ := strings.Cut(line, " ")
		if !plumbing.IsHash(sha) || !o.has(plumbing.NewHash(sha)) {
			return errors.New("a tip is missing")
		}
		g.tips = append(g.tips, plumbing.NewHash(sha))
	}
	shallows, err := os.ReadFile(filepath.Join(g.dir, "shallow"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(shallows)) {
		g.shallows = append(g.shallows, plumbing.NewHash(strings.TrimSpace(line)))
	}
	base, err := os.ReadFile(filepath.Join(g.dir, baseFile))
	if err != nil {
		return err
	}
	g.base, err = strconv.ParseInt(strings.TrimSpace(string(base)), 10, 64)
	return err
}

func openPack(stem string) (*pack, error) {
	in, err := os.Open(stem + ".idx")
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(in).Decode(index); err != nil {
		return nil, fmt.Errorf("read %s.idx: %w", stem, err)
	}
	file, err := os.Open(stem + ".pack")
	if err != nil {
		return nil, err
	}
	size, err := checkTrailer(file, index.PackfileChecksum)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	p := newPack(stem, file, size, index)
	if _, err := os.Stat(stem + partialExt); err == nil {
		p.partial = true
	}
	return p, nil
}

// objects reads from what the generation holds now.
func (g *generation) objects() *objects {
	return &objects{packs: *g.packs.Load(), memory: g.memory, suspect: &g.suspect}
}

// bytes is the size of the packs.
func (g *generation) bytes() int64 {
	var n int64
	for _, p := range *g.packs.Load() {
		n += p.size
	}
	return n
}

// add stores a pack. The objects in it are not reachable until a tip is.
func (g *generation) add(ctx context.Context, a *answer, limits packLimits) (size int64, err error) {
	file, err := os.CreateTemp(g.packDir(), "tmp_pack_")
	if err != nil {
		return 0, fmt.Errorf("store pack: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	index, partial, err := ingest(ctx, a, file, limits)
	if err != nil {
		return 0, err
	}
	if index == nil {
		return 0, errors.Join(file.Close(), os.Remove(file.Name()))
	}
	return g.keep(file, index, partial)
}

// keep gives a finished pack its name and lets readers have it.
func (g *generation) keep(file *os.File, index *idxfile.MemoryIndex, partial bool) (size int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("store pack: %w", err)
	}
	var text bytes.Buffer
	if _, err := idxfile.NewEncoder(&text).Encode(index); err != nil {
		return 0, fmt.Errorf("write index: %w", err)
	}
	stem := filepath.Join(g.packDir(), "pack-"+plumbing.Hash(index.PackfileChecksum).String())
	if partial {
		if err := os.WriteFile(stem+partialExt, nil, 0o600); err != nil {
			return 0, fmt.Errorf("store pack: %w", err)
		}
	}
	if err := os.Rename(file.Name(), stem+".pack"); err != nil {
		return 0, fmt.Errorf("store pack: %w", err)
	}
	if err := replaceFile(stem+".idx", text.Bytes()); err != nil {
		return 0, fmt.Errorf("store index: %w", err)
	}
	p := newPack(stem, file, info.Size(), index)
	p.partial = partial
	packs := slices.Concat([]*pack{p}, slices.DeleteFunc(slices.Clone(*g.packs.Load()), func(old *pack) bool { return old.path == stem }))
	g.packs.Store(&packs)
	return p.size, nil
}

// complete records that everything of the commit is here, and where its history
// ends. The shallow commits are written first: one too many costs bytes, one too
// few would make the server leave out what we lack.
func (g *generation) complete(tip plumbing.Hash, shallows []plumbing.Hash) error {
	for _, s := range shallows {
		if !slices.Contains(g.shallows, s) {
			g.shallows = append(g.shallows, s)
		}
	}
	g.tips = append(slices.DeleteFunc(g.tips, func(h plumbing.Hash) bool { return h == tip }), tip)
	g.tips = g.tips[max(0, len(g.tips)-maxTips):]

	var shallow, refs strings.Builder
	for _, s := range g.shallows {
		fmt.Fprintln(&shallow, s)
	}
	for i, t := range g.tips {
		fmt.Fprintf(&refs, "%s refs/tips/%02d\n", t, i)
	}
	for _, f := range []struct{ name, text string }{
		{"shallow", shallow.String()}, {baseFile, strconv.FormatInt(g.base, 10)}, {"packed-refs", refs.String()},
	} {
		if err := replaceFile(filepath.Join(g.dir, f.name), []byte(f.text)); err != nil {
			return fmt.Errorf("store refs: %w", err)
		}
	}
	return nil
}

// replaceFile changes a file at once or not at all.
func replaceFile(name string, data []byte) error {
	part := name + ".part"
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return err
	}
	return os.Rename(part, name)
}
