package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// packLimits bound one pack, whoever made it.
type packLimits struct {
	work    int64 // bytes unpacked to index it: what zlib and delta bombs cost
	objects int
}

var (
	errWork      = errors.New("unpacking it takes more than the limit")
	errObjects   = errors.New("it holds more objects than the limit")
	errMalformed = errors.New("the pack is malformed or cut short")
)

// item is one object of a pack being indexed.
type item struct {
	offset int64
	base   int64 // offset, of an OFS_DELTA
	target int64 // size once unpacked
	hash   plumbing.Hash
	ref    plumbing.Hash // of a REF_DELTA
	crc    uint32
	depth  uint32 // deltas below it
	kind   plumbing.ObjectType
	state  state
}

type state byte

const (
	pending state = iota // a delta whose base is not known yet
	known                // hash is set
	large                // a delta over maxDelta, or on such a base: left out of the index
)

// ingestion turns a stream into an indexed pack in bounded memory. go-git's own
// parser unpacks every object into memory and believes the object count.
type ingestion struct {
	ctx    context.Context // of the fetch: unpacking one object can take long
	limits packLimits
	work   int64
	items  []item
	byHash map[plumbing.Hash]int64
	cache  *lru[bodyKey, body]
}

// ingest copies the pack in r to file and indexes it. A nil index means that the
// pack is empty.
func ingest(ctx context.Context, r io.Reader, file *os.File, limits packLimits) (index *idxfile.MemoryIndex, partial bool, err error) {
	in := &ingestion{ctx: ctx, limits: limits, byHash: map[plumbing.Hash]int64{}, cache: newLRU[bodyKey, body](32 << 20)}
	out := bufio.NewWriterSize(file, 64<<10)
	sum, err := in.scan(packfile.NewScanner(io.TeeReader(r, out)))
	if err != nil {
		return nil, false, malformed(err)
	}
	if err := out.Flush(); err != nil {
		return nil, false, fmt.Errorf("write pack: %w", err)
	}
	size, err := checkTrailer(file, sum)
	if err != nil || len(in.items) == 0 {
		return nil, false, err
	}
	if err := in.resolve(file, size); err != nil {
		return nil, false, malformed(err)
	}
	return in.index(sum)
}

// malformed marks errors that the reading of a pack ends with, but not those of
// the connection and of limits.
func malformed(err error) error {
	var large *largeError
	for _, other := range []error{errStalled, errTooBig, errWork, errObjects, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, other) {
			return err
		}
	}
	if errors.As(err, &large) {
		return err
	}
	return fmt.Errorf("%w: %w", errMalformed, err)
}

// Write counts what is unpacked, and stops a bomb in the middle of an object.
func (in *ingestion) Write(b []byte) (int, error) { return len(b), in.spend(int64(len(b))) }

func (in *ingestion) spend(n int64) error {
	if in.work += n; in.work > in.limits.work {
		return fmt.Errorf("%w of %d bytes", errWork, in.limits.work)
	}
	return in.ctx.Err()
}

func (in *ingestion) scan(s *packfile.Scanner) (plumbing.Hash, error) {
	_, count, err := s.Header()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if int64(count) > int64(in.limits.objects) {
		return plumbing.ZeroHash, fmt.Errorf("%w: %d, the limit is %d", errObjects, count, in.limits.objects)
	}
	in.items = make([]item, 0, min(count, 1<<16))
	for range count {
		it, err := in.next(s)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		in.items = append(in.items, it)
	}
	return s.Checksum()
}

func (in *ingestion) next(s *packfile.Scanner) (item, error) {
	h, err := s.NextObjectHeader()
	if err != nil {
		return item{}, err
	}
	it := item{offset: h.Offset, base: h.OffsetReference, ref: h.Reference, kind: h.Type, target: h.Length}
	if h.Type.IsDelta() {
		err := in.nextDelta(s, h, &it)
		return it, err
	}
	if !plain(h.Type) {
		return item{}, fmt.Errorf("an object of type %d", h.Type)
	}
	hasher := plumbing.NewHasher(h.Type, h.Length)
	n, crc, err := s.NextObject(io.MultiWriter(in, hasher))
	if err == nil && n != h.Length {
		err = io.ErrUnexpectedEOF
	}
	it.crc, it.hash, it.state = crc, hasher.Sum(), known
	in.byHash[it.hash] = it.offset
	return it, err
}

func plain(kind plumbing.ObjectType) bool {
	return kind >= plumbing.CommitObject && kind <= plumbing.TagObject
}

func (in *ingestion) nextDelta(s *packfile.Scanner, h *packfile.ObjectHeader, it *item) error {
	begin := &prefix{left: 20}
	n, crc, err := s.NextObject(io.MultiWriter(in, begin))
	if err != nil {
		return err
	}
	if n != h.Length {
		return io.ErrUnexpectedEOF
	}
	it.crc = crc
	it.target, err = deltaTarget(begin.data)
	if it.target > maxDelta || h.Length > maxDelta {
		it.state = large
	}
	return err
}

// prefix keeps the first bytes written to it.
type prefix struct {
	data []byte
	left int
}

func (p *prefix) Write(b []byte) (int, error) {
	n := min(p.left, len(b))
	p.data, p.left = append(p.data, b[:n]...), p.left-n
	return len(b), nil
}

// checkTrailer finds out that the pack ends where the file does.
func checkTrailer(file *os.File, sum plumbing.Hash) (size int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("read pack: %w", err)
	}
	var trailer [packTrailer]byte
	if _, err := file.ReadAt(trailer[:], info.Size()-packTrailer); err != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if !bytes.Equal(trailer[:], sum[:]) {
		return 0, fmt.Errorf("%w: something follows it", errMalformed)
	}
	return info.Size(), nil
}

// resolve finds the hashes of deltas, in rounds, since the base of a REF_DELTA
// may come after it.
func (in *ingestion) resolve(file *os.File, size int64) error {
	p := &pack{at: file, size: size, spend: in.spend, find: func(h plumbing.Hash) (int64, bool) {
		offset, ok := in.byHash[h]
		return offset, ok
	}}
	for {
		left, progress, err := in.round(p)
		switch {
		case err != nil:
			return err
		case left == 0:
			return nil
		case !progress:
			return fmt.Errorf("%d deltas have no base in the pack", left)
		}
	}
}

func (in *ingestion) round(p *pack) (left int, progress bool, err error) {
	for i := range in.items {
		it := &in.items[i]
		if it.state != pending {
			continue
		}
		if err := in.resolveOne(p, it); err != nil {
			return 0, false, err
		}
		if it.state == pending {
			left++
		} else {
			progress = true
		}
	}
	return left, progress, nil
}

func (in *ingestion) resolveOne(p *pack, it *item) error {
	base, err := in.baseOf(it)
	if base == nil || err != nil || base.state == pending {
		return err
	}
	if it.depth = base.depth + 1; it.depth > maxChain {
		return fmt.Errorf("a chain of more than %d deltas", maxChain)
	}
	if base.state == large || base.target > maxDelta {
		it.state = large
		return nil
	}
	b, err := p.object(it.offset, maxDelta, in.cache)
	if err != nil {
		return err
	}
	it.hash, it.state = plumbing.ComputeHash(b.kind, b.data), known
	in.byHash[it.hash] = it.offset
	return nil
}

// baseOf is nil where the base is not known yet.
func (in *ingestion) baseOf(it *item) (*item, error) {
	offset := it.base
	if it.kind == plumbing.REFDeltaObject {
		var ok bool
		if offset, ok = in.byHash[it.ref]; !ok {
			return nil, nil
		}
	}
	i := sort.Search(len(in.items), func(i int) bool { return in.items[i].offset >= offset })
	if i == len(in.items) || in.items[i].offset != offset {
		return nil, errors.New("the base of a delta is no object")
	}
	return &in.items[i], nil
}

func (in *ingestion) index(sum plumbing.Hash) (index *idxfile.MemoryIndex, partial bool, err error) {
	var w idxfile.Writer
	if err := w.OnHeader(uint32(len(in.items))); err != nil {
		return nil, false, fmt.Errorf("index pack: %w", err)
	}
	for _, it := range in.items {
		if it.state == large {
			partial = true
			continue
		}
		w.Add(it.hash, uint64(it.offset), it.crc)
	}
	if err := w.OnFooter(sum); err != nil {
		return nil, false, fmt.Errorf("index pack: %w", err)
	}
	index, err = w.Index()
	return index, partial, err
}
