package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// onTerminal says whether a person is at the other end of a stream.
func (env Env) onTerminal(stream any) bool {
	if env.Terminal != nil {
		return env.Terminal(stream)
	}
	f, is := stream.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

// colours says whether the output is coloured: on a terminal, unless NO_COLOR
// (https://no-color.org) says otherwise.
func (env Env) colours() bool {
	return env.Getenv("NO_COLOR") == "" && env.Getenv("TERM") != "dumb" && env.onTerminal(env.Out)
}

// agreed asks a person on the terminal for a yes.
func (env Env) agreed(question string) (bool, error) {
	fmt.Fprintf(env.Err, "%s Type yes to go on: ", question)
	answer, err := bufio.NewReader(env.In).ReadString('\n')
	if err != nil && answer == "" {
		fmt.Fprintln(env.Err)
		return false, fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(answer) == "yes", nil
}

// Progress is told when a step takes longer than a second, and then every ten.
const (
	progressAfter = time.Second
	progressEvery = 10 * time.Second
)

// progress tells what takes long, on a stream that is not the result's.
type progress struct {
	out   io.Writer
	mu    sync.Mutex
	timer *time.Timer
}

// step begins a step and ends the one before; an empty one is none.
func (p *progress) step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if what == "" {
		return
	}
	began := time.Now()
	var timer *time.Timer
	timer = time.AfterFunc(progressAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.timer != timer {
			return // the step ended meanwhile
		}
		fmt.Fprintf(p.out, "plumb: %s, %s so far\n", cell(what), time.Since(began).Round(time.Second))
		timer.Reset(progressEvery)
	})
	p.timer = timer
}
