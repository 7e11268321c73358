// Package process runs the programs of the demo: each with a log file, ended with
// the demo however that ends. It imports the standard library only; what fails
// says so with the end of the program's log.
package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is what to run.
type Command struct {
	Name    string // for people
	Program string
	Args    []string
	Env     []string // added to the environment
	Log     string   // file for all that it prints
	Ready   string   // the line it prints when it is ready; may be empty
}

// Process is one run of a program.
type Process struct {
	command Command
	program *os.Process
	ready   chan struct{}
	ended   chan struct{}
	err     error // how it ended
}

// Start returns once the program runs.
func Start(c Command) (*Process, error) {
	log, err := os.Create(c.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{command: c, ready: make(chan struct{}), ended: make(chan struct{})}
	started := make(chan error)
	go p.run(log, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	return p, nil
}

// run keeps the program's parent, an operating system thread, alive for as long
// as the program: when the thread is killed with the demo, so is the program. It
// is in a process group of its own, so that Ctrl-C reaches the demo alone, which
// ends the parts in order.
func (p *Process) run(log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer log.Close()
	cmd := exec.Command(p.command.Program, p.command.Args...)
	cmd.Env = append(os.Environ(), p.command.Env...)
	out := &listener{log: log, line: p.command.Ready, heard: sync.OnceFunc(func() { close(p.ready) })}
	cmd.Stdout, cmd.Stderr = out, out // one pipe, so that lines stay in order
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.program = cmd.Process
	started <- nil
	p.err = cmd.Wait()
	close(p.ended)
}

// Ready is closed when the program has said that it is ready.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// Ended is closed when the program is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Running says whether the program is not gone yet.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Failure tells that the program is gone, how it ended and what it said last.
func (p *Process) Failure() error {
	<-p.ended
	how := "exit code 0"
	if p.err != nil {
		how = p.err.Error()
	}
	return p.Explain(fmt.Errorf("%s ended: %s", p.command.Name, how))
}

// Explain adds the end of the program's log to an error.
func (p *Process) Explain(err error) error {
	return fmt.Errorf("%w\nlast lines of %s:\n%s", err, p.command.Log, Tail(p.command.Log, 12))
}

// Stop asks the program to end, and makes it when it does not within patience.
func (p *Process) Stop(patience time.Duration) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !p.Running() {
			return
		}
		_ = p.program.Signal(signal) // an error says that it has just ended
		limit := time.NewTimer(patience)
		select {
		case <-p.ended:
		case <-limit.C:
		}
		limit.Stop()
	}
	<-p.ended
}

// Tail is the end of a file, as many lines as that, indented.
func Tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "  " + err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(all) == 1 && all[0] == "" {
		return "  (it said nothing)"
	}
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}

// listener writes on and waits for a line.
type listener struct {
	log   *os.File
	line  string
	heard func()
	rest  []byte
}

func (l *listener) Write(p []byte) (int, error) {
	for l.rest = append(l.rest, p...); ; {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			break
		}
		if l.line != "" && string(line) == l.line {
			l.heard()
		}
		l.rest = rest
	}
	return l.log.Write(p)
}
