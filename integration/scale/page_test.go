package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/scale/model"
)

var update = flag.Bool("update", false, "write the predictions of docs/scale.md")

// reference is what single operations cost on the machine of docs/scale.md, best of
// three rounds; but for the comparison, which is that of a tree of Git and not of memory.
var reference = model.Costs{
	Fact:    model.Cost{Wall: 148 * time.Microsecond, CPU: 160 * time.Microsecond},
	Request: model.Cost{Wall: 288 * time.Microsecond, CPU: 230 * time.Microsecond},
	Lease:   model.Cost{Wall: 59 * time.Microsecond, CPU: 110 * time.Microsecond},
	State:   model.Cost{Wall: 212 * time.Microsecond, CPU: 180 * time.Microsecond},
	Follow:  model.Cost{Wall: 32 * time.Microsecond, CPU: 30 * time.Microsecond},
	Alert:   model.Cost{Wall: 289 * time.Microsecond, CPU: 370 * time.Microsecond},
	Digest:  20 * time.Microsecond,
}

const (
	begin = "<!-- predicted: go test ./integration/scale -run Page -update -->\n"
	end   = "<!-- end -->"
)

// The page and the simulation use the same formulas.
func TestThePageTellsWhatTheModelPredicts(t *testing.T) {
	const path = "../../docs/scale.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for predictions", path)
	}
	want := before + begin + predictions() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), want); diff != "" {
		t.Errorf("run go test ./integration/scale -run Page -update:\n%s", diff)
	}
}

func predictions() string {
	f := model.Fleet{Clusters: 100, Applications: 500, Workers: 2, Slots: 32, Service: 100 * time.Millisecond}
	var b strings.Builder
	fmt.Fprintln(&b, "| push | requests | facts stored | handed to scanners | busiest stream | handed out, median | last done | alerter behind by at most |\n|---|---|---|---|---|---|---|---|")
	for _, c := range []struct {
		what               string
		affected, clusters int
	}{{"that concerns nobody", 0, 0}, {"one Application", 1, 1}, {"one cluster", 500, 1}, {"all 50,000", 50_000, 100}} {
		m, at := f.Messages(1, c.affected), f.Push(reference, c.affected, c.clusters)
		if c.affected == 0 {
			at = model.Times{}
		}
		tell(&b, c.what, m, f.Stream(reference, 1, c.affected), at, f.Lag(reference, c.affected))
	}
	tell(&b, "100 in a row, an Application each", f.Messages(100, 100), f.Stream(reference, 100, 100), f.Row(reference, 100), f.Lag(reference, 100))
	fmt.Fprintln(&b, "\n| a second, while nothing happens | one repository | 100 repositories |\n|---|---|---|")
	one, many := f.Quiet(1, 5*time.Minute), f.Quiet(100, 5*time.Minute)
	fmt.Fprintf(&b, "| states read from NATS by repairs | %.0f | %.0f |\n| messages that keep pulls open | %.0f | %.0f |\n| lists of refs at the Git host | %.0f | %.0f |\n",
		one.States, many.States, one.Pulls, many.Pulls, one.Lists, many.Lists)
	return b.String()
}

func tell(b *strings.Builder, what string, m model.Messages, stream time.Duration, at model.Times, lag time.Duration) {
	fmt.Fprintf(b, "| %s | %d | %d | %d | %s | %s | %s | %s |\n", what, m.Requests, m.Events, m.Followed, short(stream), short(at.Median), short(at.Last), short(lag))
}

func short(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2g s", d.Seconds())
}
