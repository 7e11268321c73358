package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// packed writes packs by hand, hostile ones included.
type packed struct {
	body    bytes.Buffer
	count   uint32
	offsets []int64
}

func (p *packed) object(kind plumbing.ObjectType, size int, base []byte, content string) *packed {
	p.offsets = append(p.offsets, int64(packPreamble+p.body.Len()))
	p.count++
	b := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.body.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	p.body.WriteByte(b)
	p.body.Write(base)
	z := zlib.NewWriter(&p.body)
	_, _ = z.Write([]byte(content)) // to memory
	_ = z.Close()
	return p
}

func (p *packed) blob(content string) *packed {
	return p.object(plumbing.BlobObject, len(content), nil, content)
}

func (p *packed) ref(base plumbing.Hash, delta string) *packed {
	return p.object(plumbing.REFDeltaObject, len(delta), base[:], delta)
}

// back is a delta on the object that begins at offset.
func (p *packed) back(offset int64, delta string) *packed {
	n := int64(packPreamble+p.body.Len()) - offset
	enc := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		enc = append([]byte{0x80 | byte(n&0x7f)}, enc...)
	}
	return p.object(plumbing.OFSDeltaObject, len(delta), enc, delta)
}

func (p *packed) bytes() []byte { return p.bytesCounting(p.count) }

func (p *packed) bytesCounting(count uint32) []byte {
	out := append([]byte("PACK\x00\x00\x00\x02"), binary.BigEndian.AppendUint32(nil, count)...)
	out = append(out, p.body.Bytes()...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

func leb(n int) string {
	var out []byte
	for ; n > 0x7f; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return string(append(out, byte(n)))
}

// delta inserts text where it is short, and copies the whole of a base of up to
// 16 MB as often as it says.
func delta(base, copies int, text string) string {
	d := leb(base) + leb(base*copies+len(text))
	for range copies {
		d += "\xf0" + string([]byte{byte(base), byte(base >> 8), byte(base >> 16)})
	}
	if text != "" {
		d += string([]byte{byte(len(text))}) + text
	}
	return d
}

func hashed(content string) plumbing.Hash {
	return plumbing.ComputeHash(plumbing.BlobObject, []byte(content))
}

// ingested runs ingest and makes a pack of what it found.
func ingested(t *testing.T, data []byte, l packLimits) (*pack, error) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "pack"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	index, partial, err := ingest(t.Context(), bytes.NewReader(data), file, l)
	if err != nil || index == nil {
		return nil, err
	}
	p := newPack("", file, int64(len(data)), index)
	p.partial = partial
	return p, nil
}

var roomy = packLimits{work: 1 << 30, objects: 10_000}

func TestIngestIndexesEveryKindOfObject(t *testing.T) {
	base := "a base of some length"
	one, two := base+" and more", base+" and more"+base+" and more!"
	p := (&packed{}).
		ref(hashed(one), delta(len(one), 2, "!")[:0]+leb(len(one))+leb(len(two))+"\x90"+string([]byte{byte(len(one))})+string([]byte{byte(len(base))})+base+"\x0a and more!").
		blob(base)
	p.back(p.offsets[1], delta(len(base), 1, " and more"))
	got, err := ingested(t, p.bytes(), roomy)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{base, one, two} {
		offset, ok := got.find(hashed(content))
		if !ok {
			t.Errorf("%q is not in the index", content)
			continue
		}
		b, err := got.object(offset, 1<<20, newLRU[bodyKey, body](1<<20))
		size, sizeErr := got.length(offset)
		if err != nil || sizeErr != nil || string(b.data) != content || b.kind != plumbing.BlobObject || size != int64(len(content)) {
			t.Errorf("%q reads as %q, a %s of %d bytes (%v, %v)", content, b.data, b.kind, size, err, sizeErr)
		}
	}
}

func TestIngestEmptyPack(t *testing.T) {
	if p, err := ingested(t, (&packed{}).bytes(), roomy); p != nil || err != nil {
		t.Errorf("an empty pack gives %v, %v", p, err)
	}
}

func TestIngestRefuses(t *testing.T) {
	megabyte := strings.Repeat("\x00", 1<<20)
	loop := (&packed{}).ref(hashed("b"), delta(1, 1, "")).ref(hashed("a"), delta(1, 1, ""))
	into := (&packed{}).blob("some base")
	into.back(into.offsets[0]+1, delta(9, 1, "x"))
	wrong := (&packed{}).blob("x").bytes()
	wrong[len(wrong)-1] ^= 1
	var chain packed
	chain.blob("x")
	for range maxChain + 10 {
		chain.back(chain.offsets[len(chain.offsets)-1], delta(1, 1, ""))
	}
	tests := map[string]struct {
		pack   []byte
		limits packLimits
		want   error
	}{
		"a count that is a lie":                 {(&packed{}).blob("x").bytesCounting(1<<32 - 1), roomy, errObjects},
		"a count one too high":                  {(&packed{}).blob("x").bytesCounting(2), roomy, errMalformed},
		"a count one too low":                   {(&packed{}).blob("x").blob("y").bytesCounting(1), roomy, errMalformed},
		"a zlib bomb of the size it says":       {(&packed{}).blob(megabyte).bytes(), packLimits{work: 1 << 19, objects: 10}, errWork},
		"a zlib bomb that says it is small":     {(&packed{}).object(plumbing.BlobObject, 10, nil, megabyte).bytes(), roomy, errMalformed},
		"an object shorter than it says":        {(&packed{}).object(plumbing.BlobObject, 10, nil, "x").bytes(), roomy, errMalformed},
		"many bombs within their limit":         {(&packed{}).blob(megabyte).blob(megabyte).blob(megabyte).bytes(), packLimits{work: 5 << 19, objects: 10}, errWork},
		"deltas that cost more than the limit":  {(&packed{}).blob(megabyte).ref(hashed(megabyte), delta(1<<20, 16, "")).bytes(), packLimits{work: 8 << 20, objects: 10}, errWork},
		"a delta without its base":              {(&packed{}).ref(hashed("nobody"), delta(6, 1, "x")).bytes(), roomy, errMalformed},
		"deltas that are each other's base":     {loop.bytes(), roomy, errMalformed},
		"a base that begins within an object":   {into.bytes(), roomy, errMalformed},
		"a delta for a base of another size":    {(&packed{}).blob("xyz").ref(hashed("xyz"), delta(4, 1, "")).bytes(), roomy, errMalformed},
		"a delta that copies beyond its base":   {(&packed{}).blob("xyz").ref(hashed("xyz"), leb(3)+leb(4)+"\x90\x04").bytes(), roomy, errMalformed},
		"a delta that stops early":              {(&packed{}).blob("xyz").ref(hashed("xyz"), leb(3)+leb(4)).bytes(), roomy, errMalformed},
		"a delta without sizes":                 {(&packed{}).blob("xyz").ref(hashed("xyz"), "\xff\xff").bytes(), roomy, errMalformed},
		"a chain of deltas too long":            {chain.bytes(), roomy, errMalformed},
		"an object of a kind that is not known": {(&packed{}).object(5, 1, nil, "x").bytes(), roomy, errMalformed},
		"another checksum":                      {wrong, roomy, errMalformed},
		"something after its end":               {append((&packed{}).blob("x").bytes(), "more"...), roomy, errMalformed},
		"no pack":                               {[]byte("<html>"), roomy, errMalformed},
		"nothing":                               {nil, roomy, errMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if p, err := ingested(t, tt.pack, tt.limits); !errors.Is(err, tt.want) {
				t.Errorf("got %v and error %v, want %v", p, err, tt.want)
			}
		})
	}
}

func TestIngestRefusesEveryBeginningOfAPack(t *testing.T) {
	p := (&packed{}).blob("some base")
	p.back(p.offsets[0], delta(9, 2, "more"))
	whole := p.bytes()
	for n := range whole {
		if _, err := ingested(t, whole[:n], roomy); err == nil {
			t.Fatalf("the first %d of %d bytes pass for a pack", n, len(whole))
		}
	}
}

// TestLargeDeltasAreLeftOut grows an object by deltas far beyond what may be
// held in memory: it is left out, and the rest stays usable.
func TestLargeDeltasAreLeftOut(t *testing.T) {
	kb := strings.Repeat("x", 1<<10)
	p := (&packed{}).blob(kb).blob("small")
	size := 1 << 10
	for size <= maxDelta {
		p.back(p.offsets[len(p.offsets)-1-b2i(size == 1<<10)], delta(min(size, 0xffffff), 60, ""))
		size *= 60
	}
	got, err := ingested(t, p.bytes(), roomy)
	if err != nil || !got.partial {
		t.Fatalf("got %+v (%v), want a partial pack", got, err)
	}
	o := &objects{packs: []*pack{got}, memory: newMemory(1 << 20), suspect: nil}
	if data, err := o.read(hashed("small"), plumbing.BlobObject, 100); err != nil || string(data) != "small" {
		t.Errorf("small is %q (%v)", data, err)
	}
	if err := o.held(hashed("what was left out")); err != nil {
		t.Errorf("an object that may have been left out counts as missing: %v", err)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestIngestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file, err := os.Create(filepath.Join(t.TempDir(), "pack"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	_, _, err = ingest(ctx, bytes.NewReader((&packed{}).blob("x").bytes()), file, roomy)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestObjectWithOtherContentIsDamage(t *testing.T) {
	p, err := ingested(t, (&packed{}).blob("one").blob("two").bytes(), roomy)
	if err != nil {
		t.Fatal(err)
	}
	two, _ := p.find(hashed("two"))
	p.find = func(plumbing.Hash) (int64, bool) { return two, true }
	o := &objects{packs: []*pack{p}, memory: newMemory(1 << 20), suspect: &atomic.Bool{}}
	if _, err := o.read(hashed("one"), plumbing.BlobObject, 100); !errors.Is(err, errCorrupt) || !o.suspect.Load() {
		t.Errorf("error is %v, suspect %v", err, o.suspect.Load())
	}
}

func TestMergedPacksReadAsBefore(t *testing.T) {
	var packs []*pack
	var contents []string
	for i := range 5 {
		base := fmt.Sprintf("base %d of a pack, of some length", i)
		grown := base + base + "!"
		p := (&packed{}).blob("in every pack").blob(base)
		p.back(p.offsets[1], delta(len(base), 2, "!"))
		p.ref(hashed(grown), delta(len(grown), 1, "?"))
		contents = append(contents, base, grown, grown+"?")
		got, err := ingested(t, p.bytes(), roomy)
		if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, got)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "merged"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	index, err := merge(file, packs)
	if err != nil {
		t.Fatal(err)
	}
	size, err := checkTrailer(file, index.PackfileChecksum)
	if err != nil {
		t.Fatal(err)
	}
	merged := newPack("", file, size, index)
	o := &objects{packs: []*pack{merged}, memory: newMemory(1 << 20)}
	for _, content := range append(contents, "in every pack") {
		if data, err := o.read(hashed(content), plumbing.BlobObject, 1000); err != nil || string(data) != content {
			t.Errorf("%q reads as %q (%v)", content, data, err)
		}
	}
}

func FuzzIngest(f *testing.F) {
	p := (&packed{}).blob("some base").ref(hashed("some base"), delta(9, 2, "x"))
	p.back(p.offsets[0], delta(9, 1, "more"))
	f.Add(p.body.Bytes(), p.count)
	f.Add((&packed{}).object(plumbing.TreeObject, 3, nil, "abc").body.Bytes(), uint32(1))
	f.Fuzz(func(t *testing.T, content []byte, count uint32) {
		raw := packed{count: count}
		raw.body.Write(content)
		got, err := ingested(t, raw.bytes(), packLimits{work: 1 << 20, objects: 100})
		if err != nil || got == nil {
			return
		}
		entries, err := entriesOf(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			b, err := got.object(int64(e.Offset), 1<<20, newLRU[bodyKey, body](1<<20))
			if err != nil || hashOf(b) != e.Hash {
				t.Fatalf("%s does not read as itself: %v", e.Hash, err)
			}
		}
	})
}

func FuzzParseDir(f *testing.F) {
	f.Add([]byte("100644 a\x0001234567890123456789" + "40000 b\x0001234567890123456789"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parseDir(data)
		if err != nil {
			return
		}
		for _, e := range d.entries {
			if found, ok := d.find(e.name); !ok || found != e {
				t.Fatalf("%q is listed and not found", e.name)
			}
		}
	})
}
