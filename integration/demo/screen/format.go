package screen

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Duration is a time for people: three digits and a unit.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-max(d, -math.MaxInt64)) // the smallest has no counterpart
	case d < 9950*time.Microsecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < 999500*time.Microsecond:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d < 9995*time.Millisecond:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	whole := d.Round(time.Second)
	return fmt.Sprintf("%d min %02d s", int(whole.Minutes()), int(whole.Seconds())%60)
}

// Median is the middle one, or the mean of the two in the middle; 0 of none.
func Median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// left and right fill a text with blanks up to a width in characters.
func left(s string, width int) string  { return s + blanks(s, width) }
func right(s string, width int) string { return blanks(s, width) + s }

func blanks(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// wrap breaks a text into lines of at most width characters where it has
// blanks; longer words stay whole.
func wrap(s string, width int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
				lines = append(lines, line)
				line = word
			default:
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// look is how things are marked.
type look struct{ colour bool }

func (l look) in(code, s string) string {
	if !l.colour || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (l look) bold(s string) string  { return l.in("1", s) }
func (l look) dim(s string) string   { return l.in("2", s) }
func (l look) good(s string) string  { return l.in("32", s) }
func (l look) bad(s string) string   { return l.in("31", s) }
func (l look) title(s string) string { return l.in("1;36", s) }

func (l look) mark(failed bool) string {
	if failed {
		return l.bad("✗")
	}
	return l.good("✓")
}
