package git

import (
	"bufio"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

// Each push brings a small pack. When there are many of them they become one,
// so that a lookup stays short and files stay few.
const (
	manyPacks = 16
	smallPack = 8 << 20 // bytes
)

// tidy merges the small packs when there are many. Readers keep the old ones
// open as long as they need them.
func (g *generation) tidy() error {
	var small, rest []*pack
	for _, p := range *g.packs.Load() {
		if p.size < smallPack {
			small = append(small, p)
		} else {
			rest = append(rest, p)
		}
	}
	if len(small) < manyPacks {
		return nil
	}
	file, err := os.CreateTemp(g.packDir(), "tmp_pack_")
	if err != nil {
		return fmt.Errorf("merge packs: %w", err)
	}
	index, err := merge(file, small)
	if err != nil {
		return errors.Join(fmt.Errorf("merge packs: %w", err), file.Close(), os.Remove(file.Name()))
	}
	partial := slices.ContainsFunc(small, func(p *pack) bool { return p.partial })
	if _, err := g.keep(file, index, partial); err != nil {
		return err
	}
	merged := slices.Concat((*g.packs.Load())[:1], rest)
	g.packs.Store(&merged)
	for _, p := range small {
		for _, ext := range []string{".idx", ".pack", partialExt} {
			if err := os.Remove(p.path + ext); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("remove merged pack: %w", err)
			}
		}
	}
	return nil
}

// merge writes the objects of the packs one after another, as they are: the base
// of a delta is named by its distance or by its hash, and both stay true.
func merge(file *os.File, packs []*pack) (*idxfile.MemoryIndex, error) {
	entries := make([][]*idxfile.Entry, len(packs))
	count := uint32(0)
	for i, p := range packs {
		n, err := p.count()
		if err != nil {
			return nil, err
		}
		count += n
		if entries[i], err = entriesOf(p); err != nil {
			return nil, err
		}
	}
	out := &summed{w: bufio.NewWriterSize(file, 64<<10), sum: sha1.New()}
	out.write([]byte("PACK"), binary.BigEndian.AppendUint32(nil, 2), binary.BigEndian.AppendUint32(nil, count))
	var w idxfile.Writer
	if err := w.OnHeader(count); err != nil {
		return nil, err
	}
	for i, p := range packs {
		shift := out.n - packPreamble
		for _, e := range entries[i] {
			w.Add(e.Hash, uint64(int64(e.Offset)+shift), e.CRC32)
		}
		out.copy(io.NewSectionReader(p.at, packPreamble, p.size-packPreamble-packTrailer))
	}
	sum := plumbing.Hash(out.sum.Sum(nil))
	out.write(sum[:])
	if err := errors.Join(out.err, out.w.Flush(), w.OnFooter(sum)); err != nil {
		return nil, err
	}
	return w.Index()
}

// count is what the pack says of itself; with duplicates and left out objects it
// is more than its index holds.
func (p *pack) count() (uint32, error) {
	var b [4]byte
	_, err := p.at.ReadAt(b[:], 8)
	return binary.BigEndian.Uint32(b[:]), err
}

func entriesOf(p *pack) ([]*idxfile.Entry, error) {
	it, err := p.index.Entries()
	if err != nil {
		return nil, err
	}
	defer func() { _ = it.Close() }()
	var out []*idxfile.Entry
	for {
		e, err := it.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
}

// summed is a writer with a checksum, a position and a sticky error.
type summed struct {
	w   *bufio.Writer
	sum hash.Hash
	n   int64
	err error
}

func (s *summed) write(parts ...[]byte) {
	for _, p := range parts {
		if s.err == nil {
			_, s.err = s.w.Write(p)
			s.sum.Write(p)
			s.n += int64(len(p))
		}
	}
}

func (s *summed) copy(r io.Reader) {
	if s.err == nil {
		var n int64
		n, s.err = io.Copy(io.MultiWriter(s.w, s.sum), r)
		s.n += n
	}
}
