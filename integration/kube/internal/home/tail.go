package home

import (
	"io"
	"os"
	"strings"
)

// tailBytes is how much of a log's end is looked at.
const tailBytes = 64 << 10

// Tail returns the last n lines of a log that matter to a person: those that keep accepts, or, when it accepts
// none, whatever was last. A log that cannot be read has no tail.
func Tail(path string, n int, keep func(line string) bool) []string {
	lines := lastLines(path)
	var kept []string
	for _, line := range lines {
		if keep(line) {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		kept = lines
	}
	return kept[max(0, len(kept)-n):]
}

func lastLines(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = f.Seek(-tailBytes, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}
