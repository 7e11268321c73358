// Package child runs renders of foreign code paths (kustomize, Helm, Jsonnet) in
// processes that can do nothing but render: Plumb's own binary, executed again with
// an empty environment and no credential, limited in memory and CPU time, without
// the right to open a file or a socket, and killed by wall clock. A render in
// process could not be cancelled.
//
// The tree stays with the parent, which answers each read over a pipe, so limits and
// the record of accesses do not depend on the child. The package may import
// render/kustomize, render/helm, render/jsonnet, render/manifest and fault.
//
// A failed render is a permanent fault. A child that dies is a transient one the
// first time; from the second time on the same tree is refused without a try.
package child

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/helm"
	"github.com/plumb-gitops/plumb/pkg/render/jsonnet"
	"github.com/plumb-gitops/plumb/pkg/render/kustomize"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// argv0 tells a child from a program: no flag or environment variable can.
const argv0 = "plumb-render-child"

// Job is what a child renders. Exactly one part is set.
type Job struct {
	Kustomize *kustomize.Params `json:"kustomize,omitempty"`
	Helm      *helm.Params      `json:"helm,omitempty"`
	Jsonnet   *jsonnet.Params   `json:"jsonnet,omitempty"`
}

// Main serves renders when this process is a child, until its parent goes, and
// returns true; otherwise it returns false at once. A program that renders calls it
// first in main, a test binary first in TestMain.
func Main() bool {
	if len(os.Args) != 3 || os.Args[0] != argv0 {
		return false
	}
	memory, _ := strconv.ParseInt(os.Args[1], 10, 64)
	cpu, _ := strconv.ParseInt(os.Args[2], 10, 64)
	in, out := os.Stdin, os.Stdout
	if err := confine(memory); err != nil {
		fmt.Fprintln(os.Stderr, "confine render child:", err)
		return true
	}
	silence()
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))
	debug.SetMemoryLimit(memory / 4 * 3)
	debug.SetGCPercent(200)
	debug.SetMaxStack(64 << 20)
	debug.SetTraceback("none")
	(&server{out: out, in: frames(in), cpu: cpu, memory: uint64(memory)}).serve()
	return true
}

// silence keeps libraries from writing values of the source anywhere: only the
// runtime's own last words reach stderr.
func silence() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	log.SetOutput(io.Discard)
	os.Stdout, os.Stderr = nil, nil // writing to a nil file is an error, no more
}

type frame struct {
	header
	body []byte
}

// frames reads all the time, so that the child ends with its parent even in the
// middle of a render.
func frames(in io.Reader) <-chan frame {
	out := make(chan frame, 1)
	reader := bufio.NewReaderSize(in, 64<<10)
	go func() {
		for {
			h, body, err := readFrame(reader, 1<<31)
			if err != nil {
				os.Exit(0)
			}
			out <- frame{h, body}
		}
	}()
	return out
}

type server struct {
	in     <-chan frame
	out    io.Writer
	cpu    int64
	memory uint64
}

// serve answers one render after the other. Idle, it gives memory back.
func (s *server) serve() {
	goroutines := runtime.NumGoroutine()
	for {
		idle := time.NewTimer(200 * time.Millisecond)
		var f frame
		select {
		case f = <-s.in:
		case <-idle.C:
			debug.FreeOSMemory()
			f = <-s.in
		}
		idle.Stop()
		if err := allowCPU(s.cpu); err != nil {
			return
		}
		h, body := s.answer(f)
		// A failed render may have left anything behind, a goroutine too.
		h.Clean = h.Kind == kindDone && runtime.NumGoroutine() <= goroutines && s.small()
		if err := writeFrame(s.out, h, body); err != nil {
			return
		}
	}
}

func (s *server) small() bool {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse < s.memory/2
}

func (s *server) answer(f frame) (header, []byte) {
	items, err := s.render(f)
	if err == nil {
		var body []byte
		if body, err = json.Marshal(items); err == nil {
			return header{Kind: kindDone}, body
		}
	}
	h := header{Kind: kindFailed, Error: err.Error()}
	var classified *fault.Error
	if errors.As(err, &classified) {
		h.Place, h.Error = &classified.Place, classified.Err.Error()
	}
	const most = 8 << 10
	h.Error = h.Error[:min(len(h.Error), most)]
	return h, nil
}

func (s *server) render(f frame) (items []manifest.Rendered, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the renderer gave up on this source (panic)")
			if e, ok := r.(runtime.Error); ok {
				err = fmt.Errorf("the renderer gave up on this source: %s", e.Error())
			}
		}
	}()
	var job Job
	if err := json.Unmarshal(f.body, &job); err != nil {
		return nil, fmt.Errorf("decode job: %w", err)
	}
	tree := &remote{server: s}
	switch {
	case job.Kustomize != nil:
		return kustomize.Build(tree, *job.Kustomize)
	case job.Helm != nil:
		return helm.Template(tree, *job.Helm)
	case job.Jsonnet != nil:
		return jsonnet.Evaluate(tree, *job.Jsonnet)
	}
	return nil, errors.New("the job names no renderer")
}
