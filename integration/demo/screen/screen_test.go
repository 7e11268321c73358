package screen

import (
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDurationHasThreeDigitsAndAUnit(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0.0 ms":      0,
		"0.4 ms":      400 * time.Microsecond,
		"9.9 ms":      9949 * time.Microsecond,
		"10 ms":       9950 * time.Microsecond,
		"142 ms":      141600 * time.Microsecond,
		"999 ms":      999499 * time.Microsecond,
		"1.00 s":      999500 * time.Microsecond,
		"9.99 s":      9994 * time.Millisecond,
		"10.0 s":      9995 * time.Millisecond,
		"59.9 s":      59949 * time.Millisecond,
		"1 min 00 s":  59950 * time.Millisecond,
		"11 min 05 s": 11*time.Minute + 5*time.Second,
		"-3.0 ms":     -3 * time.Millisecond,

		"-153722867 min 16 s": math.MinInt64,
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	const ms = time.Millisecond
	for sentence, c := range map[string]struct {
		times []time.Duration
		want  time.Duration
	}{
		"of none":                  {nil, 0},
		"of one":                   {[]time.Duration{7 * ms}, 7 * ms},
		"of an odd number":         {[]time.Duration{900 * ms, 1 * ms, 5 * ms}, 5 * ms},
		"of an even number":        {[]time.Duration{4 * ms, 1 * ms, 2 * ms, 90 * ms}, 3 * ms},
		"is not moved by one slow": {[]time.Duration{2 * ms, 2 * ms, 2 * ms, 2 * ms, time.Hour}, 2 * ms},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := append([]time.Duration(nil), c.times...)
			if got := Median(c.times); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if diff := cmp.Diff(before, c.times); diff != "" {
				t.Errorf("the argument was changed:\n%s", diff)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	for sentence, c := range map[string]struct {
		text string
		want []string
	}{
		"between words":             {"one two three", []string{"one two", "three"}},
		"words that are too long":   {"a exceptionally b", []string{"a", "exceptionally", "b"}},
		"lines stay lines":          {"a\n\nb\n", []string{"a", "", "b"}},
		"characters, not bytes":     {"äöü äöü", []string{"äöü äöü"}},
		"no line for nothing alone": {"", []string{""}},
	} {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(c.want, wrap(c.text, 8)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// paper is what was printed; it can be read while others print.
type paper struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func TestStepsAreAligned(t *testing.T) {
	var out paper
	s := &Screen{out: &out}
	s.Step(Line{Text: "web", Took: 142 * time.Millisecond, Note: "a1b2c3d4"})
	s.Step(Line{Text: "größer → kleiner", Took: 1210 * time.Millisecond})
	s.Step(Line{Text: "shop", Failed: true, Note: "why"})
	lines := strings.Split(out.String(), "\n")
	want := []string{
		"  ✓ web" + strings.Repeat(" ", 53+4) + "142 ms  a1b2c3d4",
		"  ✓ größer → kleiner" + strings.Repeat(" ", 40+4) + "1.21 s",
		"  ✗ shop" + strings.Repeat(" ", 52+10) + "  why",
		"",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPartsOfThePageArePlainWithoutColours(t *testing.T) {
	var out paper
	s := &Screen{out: &out}
	s.Title("Plumb", "demo")
	s.Heading("1  First", "a story")
	s.Box("Slack #ops", "title", "two\nlines")
	s.Pairs(Pair{"Git", "http://x"}, Pair{"registry", "y"})
	s.Failure(errors.New("bad\nworse"))
	s.Text("NAME\nweb\n")
	want := "\nPlumb  demo\n\n1  First\n  a story\n    ╭ Slack #ops\n    │ title\n    │ two\n    │ lines\n    ╰\n" +
		"  Git       http://x\n  registry  y\n    bad\n    worse\n    NAME\n    web\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	var out paper
	s := &Screen{out: &out, look: look{colour: true}}
	s.Step(Line{Text: "x"})
	if want := "\x1b[32m✓\x1b[0m"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in %q", want, out.String())
	}
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if s := New(file, func(string) string { return "" }); s.look.colour || s.live {
		t.Error("a file gets colours")
	}
}

// ticked is a screen whose seconds the test makes.
func ticked(out *paper, live bool) (*Screen, chan time.Time) {
	ticks := make(chan time.Time)
	return &Screen{out: out, live: live, tick: func(time.Duration) (<-chan time.Time, func()) { return ticks, func() {} }}, ticks
}

func TestProgressIsSilentBeforeTheFirstSecond(t *testing.T) {
	var out paper
	s, _ := ticked(&out, true)
	s.Progress("waiting")()
	if out.String() != "" {
		t.Errorf("printed %q", out.String())
	}
}

func TestProgressOnATerminalIsWipedAway(t *testing.T) {
	var out paper
	s, ticks := ticked(&out, true)
	done := s.Progress("waiting")
	ticks <- time.Time{}
	ticks <- time.Time{}
	done()
	done()
	s.Step(Line{Text: "x"})
	want := "\r\x1b[K  … waiting, 1 s\r\x1b[K  … waiting, 2 s\r\x1b[K  ✓ x\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestProgressElsewhereIsALineNowAndThen(t *testing.T) {
	var out paper
	s, ticks := ticked(&out, false)
	done := s.Progress("waiting")
	for range 21 {
		ticks <- time.Time{}
	}
	done()
	want := "  … waiting, 1 s\n  … waiting, 10 s\n  … waiting, 20 s\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
