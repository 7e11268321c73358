// Package figures holds what a run of the bench measured, says whether goals are met,
// and compares two runs.
package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// Figure is one quantity, measured several times in one run.
type Figure struct {
	Case   string    `json:"case"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	// Floor and Plumb are the measurements behind a ratio, round by round.
	Floor []float64 `json:"floor,omitempty"`
	Plumb []float64 `json:"plumb,omitempty"`
	Goals []Goal    `json:"goals,omitempty"`
}

// Goal bounds a quantile of the values. One of AtMost and AtLeast is set.
type Goal struct {
	Quantile float64  `json:"quantile"` // 0.5 is the median, 1 the greatest value
	AtMost   *float64 `json:"atMost,omitempty"`
	AtLeast  *float64 `json:"atLeast,omitempty"`
}

// AtMost is the goal that a quantile is no greater than limit.
func AtMost(quantile, limit float64) Goal { return Goal{Quantile: quantile, AtMost: &limit} }

// AtLeast is the goal that a quantile is no less than limit.
func AtLeast(quantile, limit float64) Goal { return Goal{Quantile: quantile, AtLeast: &limit} }

// Median is the goal that the median is no greater than limit.
func Median(limit float64) Goal { return AtMost(0.5, limit) }

func (g Goal) met(values []float64) bool {
	v := Quantile(values, g.Quantile)
	return len(values) > 0 && (g.AtMost == nil || v <= *g.AtMost) && (g.AtLeast == nil || v >= *g.AtLeast)
}

func (g Goal) String() string {
	if g.AtLeast != nil {
		return fmt.Sprintf("%s at least %.4g", name(g.Quantile), *g.AtLeast)
	}
	return fmt.Sprintf("%s at most %.4g", name(g.Quantile), *g.AtMost)
}

func name(quantile float64) string {
	switch quantile {
	case 0.5:
		return "median"
	case 1:
		return "maximum"
	}
	return fmt.Sprintf("p%.4g", quantile*100)
}

// Ratio is a figure of Plumb's measurements over the floor's, of the same rounds.
func Ratio(of, unit string, floor, plumb []float64, goals ...Goal) Figure {
	f := Figure{Case: of, Unit: unit, Floor: floor, Plumb: plumb, Goals: goals}
	for i := range floor {
		f.Values = append(f.Values, plumb[i]/floor[i])
	}
	return f
}

// Missed are the goals that the values do not meet.
func (f Figure) Missed() []Goal {
	var missed []Goal
	for _, g := range f.Goals {
		if !g.met(f.Values) {
			missed = append(missed, g)
		}
	}
	return missed
}

// Result is what a run found.
type Result struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"` // of Plumb
	Machine string    `json:"machine"`
	Rounds  int       `json:"rounds"`
	Figures []Figure  `json:"figures"`
}

// Missed counts the goals that were not met.
func (r Result) Missed() int {
	count := 0
	for _, f := range r.Figures {
		count += len(f.Missed())
	}
	return count
}

// Read reads a result that Write wrote.
func Read(file string) (r Result, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// Write writes all figures as JSON.
func (r Result) Write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Table prints a line for each figure.
func (r Result) Table(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tUNIT\tMEDIAN\tP99\tMIN..MAX\tFLOOR\tPLUMB\tGOAL\tMET")
	for _, f := range r.Figures {
		fmt.Fprintln(t, row(f, "\t"))
	}
	t.Flush()
}

// Markdown prints the same table for a page.
func (r Result) Markdown(out io.Writer) {
	fmt.Fprintf(out, "| case | unit | median | p99 | min..max | floor | Plumb | goal | met |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range r.Figures {
		fmt.Fprintf(out, "| %s |\n", row(f, " | "))
	}
}

func row(f Figure, between string) string {
	if len(f.Values) == 0 {
		return f.Case + between + f.Unit + between + "nothing measured"
	}
	floor, plumb, goal, met := "-", "-", "", "-"
	if len(f.Floor) > 0 {
		floor, plumb = short(Quantile(f.Floor, 0.5)), short(Quantile(f.Plumb, 0.5))
	}
	for i, g := range f.Goals {
		if i > 0 {
			goal += ", "
		}
		goal, met = goal+g.String(), "yes"
	}
	if len(f.Missed()) > 0 {
		met = "NO"
	}
	text := ""
	for _, cell := range []string{
		f.Case, f.Unit, short(Quantile(f.Values, 0.5)), short(Quantile(f.Values, 0.99)),
		short(slices.Min(f.Values)) + ".." + short(slices.Max(f.Values)), floor, plumb, goal, met,
	} {
		if text != "" {
			text += between
		}
		text += cell
	}
	return text
}

func short(v float64) string { return fmt.Sprintf("%.3g", v) }

// Quantile of values that need not be sorted, by nearest rank; 0.5 is the median.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
