package oci

import (
	"io"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// maxAnswer bounds every answer but blobs: manifests (4 MiB is what the
// distribution specification asks registries to take), lists of tags, tokens.
const maxAnswer = 4 << 20

type clock func() time.Time

func (g *guard) now() time.Time { return g.clock() }

// limited is a body that fails beyond its limit, where io.LimitReader would end.
type limited struct {
	io.Closer
	in    io.Reader
	left  int64
	limit int64
}

func bounded(body io.ReadCloser, limit int64) io.ReadCloser {
	return &limited{Closer: body, in: body, left: limit, limit: limit}
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, fault.Refuse(fault.SourceRefused, fault.Place{}, "the registry's answer has more than %d bytes", l.limit)
	}
	n, err := l.in.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, fault.Refuse(fault.SourceRefused, fault.Place{}, "the registry's answer has more than %d bytes", l.limit)
	}
	return n, err
}
