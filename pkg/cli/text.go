package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// printable replaces what could steer a terminal: names and messages come from
// repositories and clusters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// cell is printable on one line.
func cell(s string) string {
	return strings.Join(strings.Fields(printable(s)), " ")
}

// table writes rows in columns as kubectl does: three blanks between, nothing
// behind the last.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 6, 4, 3, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = cell(c)
			if cells[i] == "" && i < len(row)-1 {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// short is a commit or trace as people read it.
func short(sha string) string {
	if len(sha) > 8 {
		return sha[:8]
	}
	return sha
}
