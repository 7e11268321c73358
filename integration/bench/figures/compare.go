package figures

import (
	"fmt"
	"slices"
)

// Regression is a figure that became worse.
type Regression struct {
	Case     string
	Unit     string
	Was, Now float64 // medians
	By       float64 // share of Was
}

func (r Regression) String() string {
	return fmt.Sprintf("%s: %s %s, was %s: %.0f%% worse", r.Case, short(r.Now), r.Unit, short(r.Was), r.By*100)
}

// tolerated is by which share a median may become worse.
const tolerated = 0.2

// Compare returns what became worse from one result to the next: its median by more than
// a fifth, and no round of one as good as a round of the other. A figure that only one of
// them has is no regression. Only what does not depend on the machine is compared: ratios,
// counts, memory.
func Compare(was, now Result) []Regression {
	var found []Regression
	for _, f := range now.Figures {
		i := slices.IndexFunc(was.Figures, func(o Figure) bool { return o.Case == f.Case && o.Unit == f.Unit })
		if i < 0 || len(f.Values) == 0 || len(was.Figures[i].Values) == 0 || depends(f) {
			continue
		}
		if r, worse := compare(was.Figures[i], f); worse {
			found = append(found, r)
		}
	}
	return found
}

// depends says whether a figure is a time or a rate, as which machines differ.
func depends(f Figure) bool {
	return slices.Contains([]string{Seconds, Milliseconds, PerSecond}, f.Unit)
}

// The units of figures, next to ratios to a floor.
const (
	Seconds      = "s"
	Milliseconds = "ms"
	PerSecond    = "per s"
	Megabytes    = "MB"
	Requests     = "requests"
)

func compare(was, now Figure) (Regression, bool) {
	r := Regression{Case: now.Case, Unit: now.Unit, Was: Quantile(was.Values, 0.5), Now: Quantile(now.Values, 0.5)}
	if moreIsBetter(now) {
		r.By = (r.Was - r.Now) / max(r.Was, least)
		return r, r.By > tolerated && slices.Max(now.Values) < slices.Min(was.Values)
	}
	r.By = (r.Now - r.Was) / max(r.Was, least)
	return r, r.By > tolerated && slices.Min(now.Values) > slices.Max(was.Values)
}

// least keeps shares of nothing finite.
const least = 1e-9

// moreIsBetter says so of a figure whose goal is a least value.
func moreIsBetter(f Figure) bool {
	return slices.ContainsFunc(f.Goals, func(g Goal) bool { return g.AtLeast != nil })
}
