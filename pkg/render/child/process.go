package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// process is one child as its parent sees it. One goroutine uses it at a time.
type process struct {
	o      Options
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	words  *lastWords
	exited chan struct{}

	renders int
	clean   bool

	mu      sync.Mutex
	cause   string // why it was killed
	yielded bool
}

func startProcess(o Options) (*process, error) {
	file, err := executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	c := &process{o: o, words: &lastWords{}, exited: make(chan struct{})}
	c.cmd = &exec.Cmd{
		Path: file, Dir: "/", Env: []string{}, Stderr: c.words, SysProcAttr: attributes(),
		Args: []string{argv0, strconv.FormatInt(o.Memory, 10), strconv.FormatInt(int64(o.CPU/time.Second), 10)},
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	c.out = bufio.NewReaderSize(out, 64<<10)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("execute own binary: %w", err)
	}
	go func() {
		_ = c.cmd.Wait() // and for the last words
		close(c.exited)
	}()
	return c, nil
}

func (c *process) alive() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// kill ends the process; the first cause is kept.
func (c *process) kill(cause string) {
	c.mu.Lock()
	if c.cause == "" {
		c.cause = cause
	}
	c.mu.Unlock()
	_ = c.cmd.Process.Kill()
}

// yield lets others have the processor first. There is no way back.
func (c *process) yield() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.yielded = true
	lowPriority(c.cmd.Process.Pid)
}

// reusable is true for a child that left nothing behind and is as at its start.
func (c *process) reusable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clean && !c.yielded && c.cause == ""
}

// end kills the process and waits until it is gone.
func (c *process) end() {
	c.kill("the pool has ended it")
	<-c.exited
	_ = c.in.Close()
}

// render runs one job to its end, the child's end or that of ctx.
func (c *process) render(ctx context.Context, job Job, tree Tree) ([]manifest.Rendered, error) {
	c.renders, c.clean = c.renders+1, false
	defer context.AfterFunc(ctx, func() { c.kill("cancelled") })()
	timer := time.AfterFunc(c.o.Timeout, func() {
		c.kill(fmt.Sprintf("it took longer than %s", c.o.Timeout))
	})
	defer timer.Stop()
	items, err := c.converse(job, tree)
	if errors.Is(err, errPipe) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		_ = c.cmd.Process.Kill()
		<-c.exited
		return nil, c.death()
	}
	return items, err
}

// errPipe marks errors of the conversation itself: the child is gone or not sane.
var errPipe = errors.New("the render child does not answer")

func (c *process) converse(job Job, tree Tree) ([]manifest.Rendered, error) {
	body, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	if err := writeFrame(c.in, header{Kind: kindRender}, body); err != nil {
		return nil, errPipe
	}
	for {
		h, body, err := readFrame(c.out, c.o.MaxBytes)
		switch {
		case errors.Is(err, errTooLarge):
			return nil, refuse(fault.Place{}, "the render gives more than %d bytes", c.o.MaxBytes)
		case err != nil:
			return nil, errPipe
		}
		switch h.Kind {
		case kindDone:
			c.clean = h.Clean
			return c.decode(body)
		case kindFailed:
			place := fault.Place{}
			if h.Place != nil {
				place = *h.Place
			}
			return nil, refuse(place, "%s", h.Error)
		}
		answer, body := serve(h, tree)
		if err := writeFrame(c.in, answer, body); err != nil {
			return nil, errPipe
		}
	}
}

func refuse(place fault.Place, format string, args ...any) error {
	return fault.Refuse(fault.RenderFailed, place, format, args...)
}

// decode reads a result, whose objects the caller decodes.
func (c *process) decode(body []byte) ([]manifest.Rendered, error) {
	var items []manifest.Rendered
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, refuse(fault.Place{}, "the render child's result is not JSON")
	}
	if c.o.MaxObjects > 0 && len(items) > c.o.MaxObjects {
		return nil, refuse(fault.Place{}, "the render gives %d objects, more than %d; split the Application", len(items), c.o.MaxObjects)
	}
	return items, nil
}

// serve answers one question of a child from the tree.
func serve(h header, tree Tree) (header, []byte) {
	body, err := consult(h, tree)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return header{Kind: kindAnswer, Absent: true}, nil
	case err != nil:
		message := err.Error()
		return header{Kind: kindAnswer, Error: message[:min(len(message), 4<<10)]}, nil
	}
	return header{Kind: kindAnswer}, body
}

func consult(h header, tree Tree) ([]byte, error) {
	var entries []entry
	switch h.Kind {
	case kindRead:
		return tree.ReadFile(h.Path)
	case kindStat:
		info, err := tree.Stat(h.Path)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entryOf(info))
	case kindList:
		list, err := tree.ReadDir(h.Path)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			entries = append(entries, entry{Name: e.Name(), Mode: uint32(e.Type())})
		}
	default:
		return nil, fmt.Errorf("no such question")
	}
	return json.Marshal(entries)
}

func entryOf(i fs.FileInfo) entry {
	real, _ := i.Sys().(string)
	return entry{Name: i.Name(), Mode: uint32(i.Mode()), Size: i.Size(), Real: real}
}
