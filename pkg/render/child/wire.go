package child

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// The protocol: the parent sends "render"; the child asks "stat", "list" and "read"
// one at a time, each answered by "answer"; then it sends "done" or "failed" and
// waits for the next "render". A frame is the lengths of its two parts, four bytes
// each, big endian; a header in JSON; and a body whose meaning the kind tells.
const (
	kindRender = "render" // body: Job
	kindStat   = "stat"
	kindList   = "list"
	kindRead   = "read"
	kindAnswer = "answer" // body: the file, or []entry
	kindDone   = "done"   // body: []manifest.Rendered
	kindFailed = "failed"
)

type header struct {
	Kind   string       `json:"kind"`
	Path   string       `json:"path,omitempty"`
	Absent bool         `json:"absent,omitempty"`
	Error  string       `json:"error,omitempty"`
	Place  *fault.Place `json:"place,omitempty"`
	Clean  bool         `json:"clean,omitempty"` // the child may serve again
}

// entry is what the child learns about a file or directory.
type entry struct {
	Name string `json:"name"`
	Real string `json:"real,omitempty"` // the path that symlinks lead to
	Mode uint32 `json:"mode"`
	Size int64  `json:"size,omitempty"`
}

const maxHeader = 64 << 10

var errTooLarge = errors.New("frame too large")

func writeFrame(w io.Writer, h header, body []byte) error {
	head, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode header: %w", err)
	}
	out := make([]byte, 8, 8+len(head)+len(body))
	binary.BigEndian.PutUint32(out, uint32(len(head)))
	binary.BigEndian.PutUint32(out[4:], uint32(len(body)))
	out = append(append(out, head...), body...)
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func readFrame(r io.Reader, maxBody int64) (header, []byte, error) {
	var sizes [8]byte
	if _, err := io.ReadFull(r, sizes[:]); err != nil {
		return header{}, nil, fmt.Errorf("read frame: %w", err)
	}
	head, body := binary.BigEndian.Uint32(sizes[:]), binary.BigEndian.Uint32(sizes[4:])
	if head > maxHeader || int64(body) > maxBody {
		return header{}, nil, errTooLarge
	}
	buffer := make([]byte, int(head)+int(body))
	if _, err := io.ReadFull(r, buffer); err != nil {
		return header{}, nil, fmt.Errorf("read frame: %w", err)
	}
	var h header
	if err := json.Unmarshal(buffer[:head], &h); err != nil {
		return header{}, nil, fmt.Errorf("decode header: %w", err)
	}
	return h, buffer[head:], nil
}
