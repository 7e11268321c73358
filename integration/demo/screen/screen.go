// Package screen prints what the demo does: headings, steps with their times,
// progress while something takes long, boxes and tables. It knows nothing of
// Plumb and imports the standard library and x/term. Errors of the terminal are
// passed over: there is nobody left to tell.
package screen

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Widths of the columns of a step.
const (
	textWidth = 56
	timeWidth = 10
	lineWidth = 100
)

// Screen is safe for concurrent use.
type Screen struct {
	out  io.Writer
	look look
	live bool // lines can be drawn again
	tick func(time.Duration) (<-chan time.Time, func())

	mu    sync.Mutex
	drawn bool // a line of progress is on the screen
}

// New returns the screen of a file: with colours and moving progress on a
// terminal, plain lines elsewhere. NO_COLOR (no-color.org) and TERM=dumb count.
func New(out *os.File, getenv func(string) string) *Screen {
	terminal := term.IsTerminal(int(out.Fd())) && getenv("TERM") != "dumb"
	return &Screen{out: out, live: terminal, look: look{colour: terminal && getenv("NO_COLOR") == ""}, tick: ticker}
}

func ticker(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}

// Line is a step that was made: a mark, what, how long, and a remark.
type Line struct {
	Failed bool
	Text   string
	Took   time.Duration // not shown when zero
	Note   string
}

// Title begins everything.
func (s *Screen) Title(text, remark string) {
	s.print("", s.look.title(text)+"  "+s.look.dim(remark))
}

// Heading begins a part; the story below it is wrapped.
func (s *Screen) Heading(text, story string) {
	s.print("", s.look.bold(text))
	if story != "" {
		s.Remark(story)
	}
}

// Remark prints a text in lines that fit.
func (s *Screen) Remark(text string) {
	for _, l := range wrap(text, lineWidth-2) {
		s.print("  " + s.look.dim(l))
	}
}

// Step prints a line.
func (s *Screen) Step(l Line) { s.print(s.step(l)) }

func (s *Screen) step(l Line) string {
	took := ""
	if l.Took != 0 {
		took = Duration(l.Took)
	}
	text := "  " + s.look.mark(l.Failed) + " " + left(l.Text, textWidth) + right(took, timeWidth)
	if l.Note != "" {
		text += "  " + s.look.dim(l.Note)
	}
	return strings.TrimRight(text, " ")
}

// Text prints lines as they are, indented.
func (s *Screen) Text(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		s.print(strings.TrimRight("    "+line, " "))
	}
}

// Failure prints what went wrong below a step.
func (s *Screen) Failure(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		s.print("    " + s.look.bad(line))
	}
}

// Box prints a message that somebody got, with a bar at its side.
func (s *Screen) Box(head string, lines ...string) {
	out := []string{"    " + s.look.dim("╭ "+head)}
	for _, text := range lines {
		for _, l := range wrap(text, lineWidth-8) {
			out = append(out, "    "+s.look.dim("│")+" "+l)
		}
	}
	s.print(append(out, "    "+s.look.dim("╰"))...)
}

// Pair is a row of a table without heads.
type Pair struct{ Name, Value string }

// Pairs prints names and values in two columns.
func (s *Screen) Pairs(pairs ...Pair) {
	width := 0
	for _, p := range pairs {
		width = max(width, len([]rune(p.Name)))
	}
	for _, p := range pairs {
		s.print("  " + s.look.dim(left(p.Name, width)) + "  " + p.Value)
	}
}

// Progress shows that something is under way once it takes more than a second,
// until the returned function is called.
func (s *Screen) Progress(text string) (done func()) {
	ticks, stop := s.tick(time.Second)
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		defer stop()
		for seconds := 1; ; seconds++ {
			select {
			case <-ticks:
				s.draw(text, seconds)
			case <-ended:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(ended)
		<-gone
		s.print()
	})
}

// draw shows progress: on a terminal on one line, elsewhere now and then.
func (s *Screen) draw(text string, seconds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.live:
		fmt.Fprintf(s.out, "\r\x1b[K  %s", s.look.dim(fmt.Sprintf("… %s, %d s", text, seconds)))
		s.drawn = true
	case seconds == 1 || seconds%10 == 0:
		fmt.Fprintf(s.out, "  … %s, %d s\n", text, seconds)
	}
}

// print wipes the progress away and prints lines.
func (s *Screen) print(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.drawn = false
	}
	for _, l := range lines {
		fmt.Fprintln(s.out, l)
	}
}
