package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one case over all rounds, in seconds.
type figure struct {
	Case  string    `json:"case"`
	Floor []float64 `json:"floorSeconds,omitempty"`
	Plumb []float64 `json:"plumbSeconds"`
	Ratio []float64 `json:"ratio,omitempty"` // round by round
	Goal  string    `json:"goal"`
}

// result is what a run found.
type result struct {
	At           time.Time `json:"at"`
	Applications int       `json:"applications"`
	Rounds       int       `json:"rounds"`
	Figures      []figure  `json:"figures"`
	RestMB       []float64 `json:"restMB"` // Pss of the process tree after the last push
	PeakMB       []float64 `json:"peakMB"` // after the first sync
}

func summarize(o options, rounds []round) result {
	first := figure{Case: fmt.Sprintf("first sync of all %d, until Ready", o.applications), Goal: "1.5 x F1"}
	all := figure{Case: fmt.Sprintf("one commit changes all %d, until Ready", o.applications), Goal: "1.5 x F2"}
	one := figure{Case: fmt.Sprintf("one commit changes one of %d, until live", o.applications), Goal: "p50 0.25 s, p99 1 s"}
	r := result{At: time.Now().UTC(), Applications: o.applications, Rounds: o.rounds}
	for _, m := range rounds {
		first.add(m.floor.first, m.first)
		all.add(m.floor.all, m.all)
		for _, d := range m.one {
			one.Plumb = append(one.Plumb, d.Seconds())
		}
		r.RestMB, r.PeakMB = append(r.RestMB, m.rest.megabytes()), append(r.PeakMB, m.peak.megabytes())
	}
	r.Figures = []figure{first, all, one}
	return r
}

func (f *figure) add(floor, plumb time.Duration) {
	f.Floor = append(f.Floor, floor.Seconds())
	f.Plumb = append(f.Plumb, plumb.Seconds())
	f.Ratio = append(f.Ratio, plumb.Seconds()/floor.Seconds())
}

func (r result) print(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nCASE\tFLOOR\tPLUMB\tRATIO (MIN..MAX)\tGOAL")
	for _, f := range r.Figures {
		floor, ratio := "-", fmt.Sprintf("p99 %.2f s", quantile(f.Plumb, 0.99))
		if len(f.Floor) > 0 {
			floor = fmt.Sprintf("%.2f s", quantile(f.Floor, 0.5))
			ratio = fmt.Sprintf("%.2f (%.2f..%.2f)", quantile(f.Ratio, 0.5), slices.Min(f.Ratio), slices.Max(f.Ratio))
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f s\t%s\t%s\n", f.Case, floor, quantile(f.Plumb, 0.5), ratio, f.Goal)
	}
	fmt.Fprintf(t, "memory of plumb up after the last push\t-\t%.0f MB\tat most %.0f MB\t150 MB\n", quantile(r.RestMB, 0.5), slices.Max(r.RestMB))
	fmt.Fprintf(t, "memory of plumb up after the first sync\t-\t%.0f MB\tat most %.0f MB\t300 MB\n", quantile(r.PeakMB, 0.5), slices.Max(r.PeakMB))
	t.Flush()
}

func (r result) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	fmt.Println("\nall figures:", file)
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// quantile of values that need not be sorted; 0.5 is the median.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// memory is the Pss of a process and all below it, in bytes: what they share is
// counted once.
type memory int64

func (m memory) megabytes() float64 { return float64(m) / 1e6 }

func memoryOf(pid int) (memory, error) {
	var sum memory
	for _, p := range tree(pid) {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			continue // it ended meanwhile
		}
		for line := range strings.Lines(string(rollup)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
				kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
				if err != nil {
					return 0, fmt.Errorf("read memory of process %d: %w", p, err)
				}
				sum += memory(kilobytes << 10)
			}
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("read memory of process %d: nothing found", pid)
	}
	return sum, nil
}

// tree is a process and all below it.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, file := range children {
			text, _ := os.ReadFile(file)
			for _, child := range strings.Fields(string(text)) {
				if n, err := strconv.Atoi(child); err == nil {
					all = append(all, n)
				}
			}
		}
	}
	return all
}
