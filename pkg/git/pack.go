package git

import (
	"bufio"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// Bounds on what one object may cost. Git's own packs keep chains at 50 deltas
// or fewer; 4095 is the deepest it can write.
const (
	maxChain     = 4095
	maxDelta     = 64 << 20  // bytes of an object that takes part in a delta
	maxReadWork  = 512 << 20 // bytes unpacked to read one object
	packTrailer  = 20
	packPreamble = 12
)

var errCorrupt = errors.New("the stored pack is damaged")

// largeError is an object over a limit.
type largeError struct {
	size  int64 // 0: over every limit
	limit int64
}

func (e *largeError) Error() string { return fmt.Sprintf("object is over %d bytes", e.limit) }

// pack is one pack file, open for reading by many. It stays readable after the
// file is removed: the descriptor is closed when the last reader has let go.
type pack struct {
	id      uint64
	path    string
	at      io.ReaderAt
	size    int64
	index   *idxfile.MemoryIndex
	find    func(plumbing.Hash) (int64, bool) // where an object of this pack begins
	partial bool                              // holds deltas of objects over maxDelta, which are not indexed
	spend   func(int64) error                 // told each byte that is unpacked; may be nil
}

var packIDs atomic.Uint64

func newPack(path string, file *os.File, size int64, index *idxfile.MemoryIndex) *pack {
	return &pack{id: packIDs.Add(1), path: path, at: file, size: size, index: index, find: func(h plumbing.Hash) (int64, bool) {
		offset, err := index.FindOffset(h)
		return offset, err == nil
	}}
}

// header is the beginning of an object in a pack; see gitformat-pack(5).
type header struct {
	kind plumbing.ObjectType
	size int64         // as unpacked; of the delta, if it is one
	data int64         // where the zlib stream begins
	base int64         // of an OFS_DELTA
	ref  plumbing.Hash // of a REF_DELTA
}

func (h header) delta() bool { return h.kind.IsDelta() }

func (p *pack) header(offset int64) (header, error) {
	var buf [32]byte
	n, err := p.at.ReadAt(buf[:], offset)
	if n == 0 || err != nil && err != io.EOF {
		return header{}, fmt.Errorf("%w: read at %d: %w", errCorrupt, offset, err)
	}
	b := buf[:n]
	h := header{kind: plumbing.ObjectType(b[0] >> 4 & 7), size: int64(b[0] & 15)}
	i, shift := 1, 4
	for b[i-1]&0x80 != 0 {
		if i >= len(b) || shift > 56 {
			return header{}, errCorrupt
		}
		h.size |= int64(b[i]&0x7f) << shift
		i, shift = i+1, shift+7
	}
	switch h.kind {
	case plumbing.OFSDeltaObject:
		back, used := offsetBack(b[i:])
		if used == 0 || back <= 0 || back > offset-packPreamble {
			return header{}, errCorrupt
		}
		h.base, i = offset-back, i+used
	case plumbing.REFDeltaObject:
		i += copy(h.ref[:], b[i:])
	}
	h.data = offset + int64(i)
	return h, nil
}

func offsetBack(b []byte) (back int64, used int) {
	for i, c := range b {
		if i == 8 {
			break
		}
		if i > 0 {
			back++
		}
		back = back<<7 | int64(c&0x7f)
		if c&0x80 == 0 {
			return back, i + 1
		}
	}
	return 0, 0
}

// inflater is a zlib reader that is used again.
type inflater struct {
	in  *bufio.Reader
	out io.ReadCloser
}

var inflaters = sync.Pool{New: func() any { return &inflater{in: bufio.NewReaderSize(nil, 4096)} }}

// inflate unpacks n bytes of the stream at offset; whole demands that it ends there.
func (p *pack) inflate(offset, n int64, whole bool) ([]byte, error) {
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	z.in.Reset(io.NewSectionReader(p.at, offset, p.size-offset))
	var err error
	if z.out == nil {
		z.out, err = zlib.NewReader(z.in)
	} else {
		err = z.out.(zlib.Resetter).Reset(z.in, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	buf := make([]byte, n)
	got, err := io.ReadFull(z.out, buf)
	if !whole {
		return buf[:got], nil
	}
	if err == nil {
		// The checksum is read with the end of the stream.
		if extra, end := z.out.Read(make([]byte, 1)); extra != 0 || end != io.EOF {
			err = fmt.Errorf("the object does not end: %w", end)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if p.spend != nil {
		return buf, p.spend(n)
	}
	return buf, nil
}

// length is how large the object is once unpacked.
func (p *pack) length(offset int64) (int64, error) {
	h, err := p.header(offset)
	if err != nil || !h.delta() {
		return h.size, err
	}
	begin, err := p.inflate(h.data, min(h.size, 20), false)
	if err != nil {
		return 0, err
	}
	return deltaTarget(begin)
}

// deltaTarget reads the second of the two sizes at the beginning of a delta.
func deltaTarget(delta []byte) (int64, error) {
	var sizes [2]int64
	for s := range sizes {
		for shift := 0; ; shift += 7 {
			if len(delta) == 0 || shift > 56 {
				return 0, errCorrupt
			}
			c := delta[0]
			delta = delta[1:]
			sizes[s] |= int64(c&0x7f) << shift
			if c&0x80 == 0 {
				break
			}
		}
	}
	return sizes[1], nil
}

// body is an unpacked object.
type body struct {
	kind plumbing.ObjectType
	data []byte
}

// bodyKey is where an object stands.
type bodyKey struct {
	pack   uint64
	offset int64
}

// object unpacks the object at offset if it is at most limit bytes. Bases of
// deltas go through the cache.
func (p *pack) object(offset, limit int64, cache *lru[bodyKey, body]) (body, error) {
	chain, base, err := p.chain(offset, limit, cache)
	if err != nil {
		return body{}, err
	}
	work := int64(len(base.data))
	for i := len(chain) - 1; i >= 0; i-- {
		delta, err := p.inflate(chain[i].data, chain[i].size, true)
		if err != nil {
			return body{}, err
		}
		target, err := deltaTarget(delta)
		if err != nil {
			return body{}, err
		}
		if work += target + int64(len(delta)); target > maxDelta || work > maxReadWork {
			return body{}, &largeError{size: target, limit: maxDelta}
		}
		data, err := packfile.PatchDelta(base.data, delta)
		if err != nil {
			return body{}, fmt.Errorf("%w: %w", errCorrupt, err)
		}
		if p.spend != nil {
			if err := p.spend(target); err != nil {
				return body{}, err
			}
		}
		base.data = data
		cache.put(bodyKey{p.id, chain[i].at}, base, int64(len(data)))
	}
	return base, nil
}

// link is one delta on the way from an object to its base.
type link struct {
	header
	at int64
}

// chain walks from offset down to an object that is whole or in the cache.
func (p *pack) chain(offset, limit int64, cache *lru[bodyKey, body]) ([]link, body, error) {
	size, err := p.length(offset)
	if err != nil {
		return nil, body{}, err
	}
	if size > limit {
		return nil, body{}, &largeError{size: size, limit: limit}
	}
	var chain []link
	for len(chain) <= maxChain {
		if b, ok := cache.get(bodyKey{p.id, offset}); ok {
			return chain, b, nil
		}
		h, err := p.header(offset)
		if err != nil {
			return nil, body{}, err
		}
		if h.size > maxDelta && (h.delta() || len(chain) > 0) {
			return nil, body{}, &largeError{size: h.size, limit: maxDelta}
		}
		if !h.delta() {
			data, err := p.inflate(h.data, h.size, true)
			b := body{h.kind, data}
			if err == nil {
				cache.put(bodyKey{p.id, offset}, b, int64(len(data)))
			}
			return chain, b, err
		}
		chain = append(chain, link{h, offset})
		if offset, err = p.baseOf(h); err != nil {
			return nil, body{}, err
		}
	}
	return nil, body{}, fmt.Errorf("%w: a chain of more than %d deltas", errCorrupt, maxChain)
}

func (p *pack) baseOf(h header) (int64, error) {
	if h.kind == plumbing.OFSDeltaObject {
		return h.base, nil
	}
	offset, ok := p.find(h.ref)
	if !ok {
		return 0, fmt.Errorf("%w: the base of a delta is not in its pack", errCorrupt)
	}
	return offset, nil
}
