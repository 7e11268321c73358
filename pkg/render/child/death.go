package child

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// deathError says why a child died in the middle of a render.
type deathError struct{ cause string }

func (e *deathError) Error() string { return "the render child died: " + e.cause }

// death reads the cause from what was done to the child or what it said last.
func (c *process) death() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != "" {
		return &deathError{c.cause}
	}
	words := c.words.String()
	for _, known := range []struct{ sign, cause string }{
		{"stack exceeds", "it recursed too deeply; look for a template that includes itself"},
		{"stack overflow", "it recursed too deeply; look for a template that includes itself"},
		{"out of memory", fmt.Sprintf("it needed more than %d MiB of memory", c.o.Memory>>20)},
		{"cannot allocate", fmt.Sprintf("it needed more than %d MiB of memory", c.o.Memory>>20)},
		{"pthread_create failed", fmt.Sprintf("it needed more than %d MiB of memory", c.o.Memory>>20)}, // no room for a stack
		{"SIGXCPU", fmt.Sprintf("it needed more than %s of CPU time", c.o.CPU)},
	} {
		if strings.Contains(words, known.sign) {
			return &deathError{known.cause}
		}
	}
	if line := fatalLine.FindString(words); line != "" {
		return &deathError{line}
	}
	return &deathError{"it was killed, perhaps by the kernel for want of memory"}
}

var fatalLine = regexp.MustCompile(`(?m)^(fatal error|runtime|confine render child): [ -~]{0,200}`)

// lastWords keeps the beginning of what a child writes to stderr.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const most = 4 << 10
	w.text = append(w.text, b[:min(len(b), most-len(w.text))]...)
	return len(b), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// poison remembers the keys whose child died or was slow, the newest of them.
type poison struct {
	mu     sync.Mutex
	deaths map[string]*record
	order  []string
}

type record struct {
	count int
	cause string
}

const (
	maxDeaths   = 2
	maxPoisoned = 4096
)

// check refuses a key whose child died twice.
func (p *poison) check(key string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.deaths[key]; r != nil && r.count >= maxDeaths {
		return r.fault()
	}
	return nil
}

// slow is true for a key that died, or was marked.
func (p *poison) slow(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaths[key] != nil
}

// mark remembers a key that took long.
func (p *poison) mark(key string) {
	if key == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record(key)
}

func (p *poison) record(key string) *record {
	if r := p.deaths[key]; r != nil {
		return r
	}
	if p.deaths == nil {
		p.deaths = map[string]*record{}
	}
	if len(p.order) >= maxPoisoned {
		delete(p.deaths, p.order[0])
		p.order = p.order[1:]
	}
	p.deaths[key] = &record{}
	p.order = append(p.order, key)
	return p.deaths[key]
}

func (p *poison) add(key string, died *deathError) error {
	if key == "" {
		return fault.Retry(fault.RenderFailed, "%w", died)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.record(key)
	r.count++
	r.cause = died.cause
	if r.count < maxDeaths {
		return fault.Retry(fault.RenderFailed, "%w; it is tried once more", died)
	}
	return r.fault()
}

func (r *record) fault() error {
	return refuse(fault.Place{}, "%w", &poisonedError{r.count, r.cause})
}

// poisonedError says why a render was not tried.
type poisonedError struct {
	count int
	cause string
}

func (e *poisonedError) Error() string {
	return fmt.Sprintf("the render child died %d times on this source: %s; it is not tried again before the source changes", e.count, e.cause)
}

// Died is true for errors that say that a child died or would. Unlike other failures
// they are no function of the source alone: memory and time are the machine's.
func Died(err error) bool {
	var died *deathError
	var poisoned *poisonedError
	return errors.As(err, &died) || errors.As(err, &poisoned)
}
