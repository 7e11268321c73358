package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// figure is what was measured beside what the model predicts.
type figure struct {
	what, unit          string
	measured, predicted float64
	// factor is by how much the measured may be off either way, 1 not at all, and slack
	// what it may be off in any case; a factor of 0 is for what has no prediction.
	factor, slack float64
	most          bool // the prediction is the most that it may be
}

// within is the bound of times and of memory: on a machine that others use, the same run
// differs by half from one time to the next, and the model knows no queue within a
// queue. What breaks a fleet is off by ten.
const within = 2

// wait is a time. Below slack two processors that two hundred clients share decide.
func wait(what string, measured, predicted time.Duration) figure {
	return figure{what: what, unit: "s", measured: measured.Seconds(), predicted: predicted.Seconds(), factor: within, slack: 0.25}
}

// limit is a time that may be shorter.
func limit(what string, measured, predicted time.Duration) figure {
	f := wait(what, measured, predicted)
	f.most = true
	return f
}

// count is a number that is predicted exactly.
func count[N int | uint64 | int64](what string, measured N, predicted int) figure {
	return figure{what: what, measured: float64(measured), predicted: float64(predicted), factor: 1}
}

// told is a number that nobody predicts.
func told(what, unit string, measured float64) figure {
	return figure{what: what, unit: unit, measured: measured}
}

func (f figure) holds() bool {
	least := f.predicted/f.factor - f.slack
	if f.most {
		least = 0
	}
	return f.factor == 0 || f.measured <= f.predicted*f.factor+f.slack && f.measured >= least
}

// table prints figures, and says how many are not as predicted.
func table(out io.Writer, title string, figures []figure) (off int) {
	fmt.Fprintf(out, "\n%s\n", title)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tmeasured\tpredicted\tbound\t")
	for _, f := range figures {
		predicted, bound := "-", "-"
		if f.factor > 0 {
			predicted, bound = number(f.predicted, f.unit), fmt.Sprintf("x%g", f.factor)
		}
		if f.most {
			bound = "< " + bound
		}
		if !f.holds() {
			bound += " MISSED"
			off++
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t\n", f.what, number(f.measured, f.unit), predicted, bound)
	}
	_ = t.Flush() // out is ours
	return off
}

func number(v float64, unit string) string {
	if unit == "" {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}

// quantile of times that need not be sorted, by nearest rank.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
