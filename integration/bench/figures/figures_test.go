package figures_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/bench/figures"
)

func TestGoalsAreOfQuantiles(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(100 - i) // 100 down to 1
	}
	for name, c := range map[string]struct {
		values []float64
		goal   figures.Goal
		met    bool
	}{
		"a median at its limit is met":       {values, figures.Median(51), true},
		"a median over its limit is missed":  {values, figures.Median(50.9), false},
		"a p99 is nearly the greatest":       {values, figures.AtMost(0.99, 99), false},
		"a p99 at its limit is met":          {values, figures.AtMost(0.99, 100), true},
		"the maximum is the greatest":        {values, figures.AtMost(1, 99.9), false},
		"at least, met":                      {values, figures.AtLeast(0.5, 51), true},
		"at least, missed":                   {values, figures.AtLeast(0.5, 51.1), false},
		"what was not measured meets no end": {nil, figures.Median(1), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := figures.Figure{Values: c.values, Goals: []figures.Goal{c.goal}}
			if got := len(f.Missed()) == 0; got != c.met {
				t.Errorf("%s met: %v", c.goal, got)
			}
		})
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	f := figures.Ratio("first", "x F1", []float64{2, 4}, []float64{3, 4})
	if diff := cmp.Diff([]float64{1.5, 1}, f.Values); diff != "" {
		t.Error(diff)
	}
}

func TestCompare(t *testing.T) {
	ratio := func(values ...float64) figures.Figure {
		return figures.Figure{Case: "first", Unit: "x F1", Values: values, Goals: []figures.Goal{figures.Median(1.5)}}
	}
	rate := func(values ...float64) figures.Figure {
		return figures.Figure{Case: "receiver", Unit: "of bare", Values: values, Goals: []figures.Goal{figures.AtLeast(0.5, 0.8)}}
	}
	for name, c := range map[string]struct {
		was, now figures.Figure
		worse    bool
	}{
		"the same is no regression":                           {ratio(1, 1.1, 1.2), ratio(1, 1.1, 1.2), false},
		"a fifth more, ranges apart, is one":                  {ratio(1, 1.1, 1.2), ratio(1.3, 1.4, 1.5), true},
		"a fifth more is none while ranges overlap":           {ratio(1, 1.1, 1.2), ratio(1.2, 1.4, 1.5), false},
		"less than a fifth is none, however far apart":        {ratio(1, 1, 1), ratio(1.19, 1.19, 1.19), false},
		"less is no regression where less is better":          {ratio(2, 2, 2), ratio(1, 1, 1), false},
		"less is a regression where more is better":           {rate(0.9, 0.9, 0.9), rate(0.6, 0.6, 0.7), true},
		"more is no regression where more is better":          {rate(0.6), rate(0.9), false},
		"a time is not compared: it depends on the machine":   {times(1), times(9), false},
		"a count that was nothing and is something is one":    {count(0), count(3), true},
		"what was not measured before is compared to nothing": {figures.Figure{Case: "other", Unit: "x F1", Values: []float64{1}}, ratio(9), false},
	} {
		t.Run(name, func(t *testing.T) {
			found := figures.Compare(figures.Result{Figures: []figures.Figure{c.was}}, figures.Result{Figures: []figures.Figure{c.now}})
			if (len(found) > 0) != c.worse {
				t.Errorf("found %v", found)
			}
		})
	}
}

func times(values ...float64) figures.Figure {
	return figures.Figure{Case: "one", Unit: figures.Seconds, Values: values}
}

func count(values ...float64) figures.Figure {
	return figures.Figure{Case: "quiet", Unit: figures.Requests, Values: values}
}

func TestAResultIsReadAsItWasWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "bench.json")
	r := figures.Result{Version: "v1", Rounds: 2, Figures: []figures.Figure{figures.Ratio("first", "x F1", []float64{1}, []float64{2}, figures.Median(1.5))}}
	if err := r.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := figures.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
	if got.Missed() != 1 {
		t.Errorf("%d goals missed, want 1", got.Missed())
	}
}

func TestTheTableSaysWhatIsMissed(t *testing.T) {
	r := figures.Result{Figures: []figures.Figure{
		figures.Ratio("first", "x F1", []float64{1}, []float64{2}, figures.Median(1.5)),
		{Case: "none", Unit: figures.Seconds},
	}}
	var table, page strings.Builder
	r.Table(&table)
	r.Markdown(&page)
	for _, want := range []string{"median at most 1.5", "NO", "nothing measured"} {
		if !strings.Contains(table.String(), want) || !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s%s", want, &table, &page)
		}
	}
}
