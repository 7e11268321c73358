package alert_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

var start = time.Date(2026, 9, 14, 10, 0, 0, 0, time.UTC)

// at is a fact of the n-th second, which is its place in the stream, too.
func at(n uint64, data proto.Message) event.Event {
	e := event.Event{
		ID: fmt.Sprint("fact-", n), Sequence: n, Time: start.Add(time.Duration(n) * time.Second), Data: data,
		Trace: fmt.Sprintf("00-%032d-00f067aa0ba902b7-01", n),
	}
	switch data.(type) {
	case *eventsv1.SyncFinished:
		e.Type = event.SyncFinished
	case *eventsv1.HealthChanged:
		e.Type = event.HealthChanged
	}
	return e
}

func finished(n uint64, result, class, reason string) event.Event {
	return at(n, &eventsv1.SyncFinished{
		Cluster: "prod", Namespace: "team-a", Name: "web", Attempt: int64(n), Revision: fmt.Sprint("r", n), Result: result,
		ErrorClass: class, ErrorReason: reason, Message: reason, Repo: "https://github.com/acme/config",
	})
}

func fails(n uint64) event.Event    { return finished(n, "failed", "permanent", "RenderFailed") }
func stumbles(n uint64) event.Event { return finished(n, "failed", "transient", "FetchFailed") }
func succeeds(n uint64) event.Event { return finished(n, "succeeded", "", "") }

func health(n uint64, to string) event.Event {
	return at(n, &eventsv1.HealthChanged{Cluster: "prod", Namespace: "team-a", Name: "web", To: to, WorstObject: "apps/Deployment/a/web", Message: "0 of 3", Revision: fmt.Sprint("r", n)})
}

func fold(events ...event.Event) *eventsv1.Incident {
	var i *eventsv1.Incident
	for _, e := range events {
		if f, ok := alert.Read(e); ok {
			i, _ = alert.Fold(i, f)
		}
	}
	return i
}

// summary is what counts of an incident, in a line.
func summary(i *eventsv1.Incident) string {
	if i == nil {
		return "none"
	}
	second := func(t *timestamppb.Timestamp) int { return int(t.AsTime().Sub(start).Seconds()) }
	return fmt.Sprintf("%s %s at %s, since %d, so from %d", i.GetState(), i.GetReason(), i.GetRevision(), second(i.GetOpenedAt()), second(i.GetChangedAt()))
}

func TestFactsFoldIntoAnIncident(t *testing.T) {
	for sentence, c := range map[string]struct {
		facts []event.Event
		want  string
	}{
		"success alone is nothing":                         {[]event.Event{succeeds(1), health(2, "Healthy")}, "none"},
		"a failure for good opens":                         {[]event.Event{fails(1)}, "open RenderFailed at r1, since 1, so from 1"},
		"a failure that may pass waits":                    {[]event.Event{stumbles(1)}, "pending FetchFailed at r1, since 1, so from 1"},
		"a failure without class waits":                    {[]event.Event{finished(1, "failed", "", "FetchFailed")}, "pending FetchFailed at r1, since 1, so from 1"},
		"one that passes was nothing":                      {[]event.Event{stumbles(1), succeeds(2)}, "recovered FetchFailed at r2, since 1, so from 2"},
		"one that becomes worse opens":                     {[]event.Event{stumbles(1), stumbles(2), fails(3)}, "open RenderFailed at r3, since 1, so from 3"},
		"one that becomes milder stays open":               {[]event.Event{fails(1), stumbles(2)}, "open FetchFailed at r2, since 1, so from 1"},
		"repetitions change the description":               {[]event.Event{fails(1), fails(2), finished(3, "failed", "permanent", "ApplyFailed")}, "open ApplyFailed at r3, since 1, so from 1"},
		"superseded is neither":                            {[]event.Event{fails(1), finished(2, "superseded", "", "")}, "open RenderFailed at r1, since 1, so from 1"},
		"superseded alone is nothing":                      {[]event.Event{finished(2, "superseded", "", "")}, "none"},
		"held back is no failure":                          {[]event.Event{finished(1, "failed", "permanent", "Suspended"), finished(2, "failed", "transient", "WindowClosed")}, "none"},
		"a failure without reason has one":                 {[]event.Event{finished(1, "failed", "permanent", "")}, "open ApplyFailed at r1, since 1, so from 1"},
		"success recovers":                                 {[]event.Event{fails(1), succeeds(2)}, "recovered RenderFailed at r2, since 1, so from 2"},
		"success stays recovered":                          {[]event.Event{fails(1), succeeds(2), succeeds(3)}, "recovered RenderFailed at r2, since 1, so from 2"},
		"it opens again":                                   {[]event.Event{fails(1), succeeds(2), fails(3)}, "open RenderFailed at r3, since 3, so from 3"},
		"lost health opens":                                {[]event.Event{health(1, "Degraded")}, "open HealthFailed at r1, since 1, so from 1"},
		"missing objects open":                             {[]event.Event{health(1, "Missing")}, "open HealthFailed at r1, since 1, so from 1"},
		"health on its way is nothing":                     {[]event.Event{health(1, "Progressing"), health(2, "Unknown")}, "none"},
		"health on its way does not recover":               {[]event.Event{health(1, "Degraded"), health(2, "Progressing")}, "open HealthFailed at r1, since 1, so from 1"},
		"health recovers lost health":                      {[]event.Event{health(1, "Degraded"), health(2, "Healthy")}, "recovered HealthFailed at r2, since 1, so from 2"},
		"health does not mend a failed attempt":            {[]event.Event{fails(1), health(2, "Healthy")}, "open RenderFailed at r1, since 1, so from 1"},
		"both are one incident":                            {[]event.Event{health(1, "Degraded"), finished(2, "failed", "permanent", "HealthFailed")}, "open HealthFailed at r2, since 1, so from 1"},
		"what is left of both counts":                      {[]event.Event{fails(1), health(2, "Degraded"), health(3, "Healthy")}, "open RenderFailed at r1, since 1, so from 1"},
		"success means healthy":                            {[]event.Event{health(1, "Degraded"), fails(2), succeeds(3)}, "recovered RenderFailed at r3, since 1, so from 3"},
		"health lost after success counts":                 {[]event.Event{fails(1), health(4, "Degraded"), succeeds(3)}, "open HealthFailed at r4, since 1, so from 1"},
		"the same fact twice is one":                       {[]event.Event{fails(1), succeeds(2), fails(1)}, "recovered RenderFailed at r2, since 1, so from 2"},
		"an older fact comes too late":                     {[]event.Event{fails(5), succeeds(9), fails(7)}, "recovered RenderFailed at r9, since 5, so from 9"},
		"an older success comes too late":                  {[]event.Event{fails(5), fails(9), succeeds(7)}, "open RenderFailed at r9, since 5, so from 5"},
		"health before a later success comes too late":     {[]event.Event{fails(1), succeeds(5), health(4, "Degraded")}, "recovered RenderFailed at r5, since 1, so from 5"},
		"a failure is not hidden by newer health":          {[]event.Event{health(1, "Degraded"), health(4, "Healthy"), fails(3)}, "open RenderFailed at r3, since 3, so from 3"},
		"drift is nothing":                                 {[]event.Event{at(1, &eventsv1.DriftFound{Cluster: "prod", Namespace: "team-a", Name: "web"})}, "none"},
		"an attempt that starts is nothing":                {[]event.Event{at(1, &eventsv1.SyncStarted{Cluster: "prod", Namespace: "team-a", Name: "web"})}, "none"},
		"a fact about no Application in particular is not": {[]event.Event{at(1, &eventsv1.SyncFinished{Cluster: "prod", Namespace: "team-a", Result: "failed", ErrorClass: "permanent"})}, "none"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := summary(fold(c.facts...)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A stream that was made anew begins its sequences again.
func TestFactsOfANewStreamCountAlthoughTheirSequenceIsLower(t *testing.T) {
	late := succeeds(5000)
	late.Sequence = 1
	if got := fold(fails(4000), late); got.GetState() != alert.Recovered || got.GetSequence() != 1 {
		t.Errorf("got %v", got)
	}
	older := succeeds(3000)
	older.Sequence = 1
	if got := fold(fails(4000), older); got.GetState() != alert.Open {
		t.Errorf("got %v", got)
	}
}

// Replicas may see facts in any order. Where an incident was stored between
// them, the end is the same.
func TestTheOrderOfFactsMakesNoDifferenceOnceThereIsAnIncident(t *testing.T) {
	facts := []event.Event{health(2, "Degraded"), fails(3), health(4, "Healthy"), stumbles(5), succeeds(6), health(7, "Degraded"), fails(8)}
	for end := 2; end <= len(facts); end++ {
		want := fold(append([]event.Event{fails(1)}, facts[:end]...)...)
		for a := range end {
			for b := range a {
				swapped := append([]event.Event{fails(1)}, facts[:end]...)
				swapped[a+1], swapped[b+1] = swapped[b+1], swapped[a+1]
				got := fold(swapped...)
				if well(got) != well(want) {
					t.Errorf("with %s and %s swapped: %s, in order: %s", facts[a].ID, facts[b].ID, summary(got), summary(want))
				}
			}
		}
	}
}

func well(i *eventsv1.Incident) bool { return i.GetState() == alert.Recovered }

func TestFoldLeavesItsArgumentAlone(t *testing.T) {
	before := fold(fails(1), succeeds(2))
	before.Told = map[string]string{"ops": alert.Refused}
	copied := proto.CloneOf(before)
	f, _ := alert.Read(fails(3))
	if _, changed := alert.Fold(before, f); !changed {
		t.Error("nothing changed")
	}
	if diff := cmp.Diff(copied, before, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestAnIncidentHoldsWhatAMessageNeeds(t *testing.T) {
	failed := fails(7)
	failed.Data.(*eventsv1.SyncFinished).Stages = []*eventsv1.Stage{{Name: "fetch"}, {Name: "plan"}}
	got := fold(failed, health(8, "Degraded"))
	f := got.GetSync()
	want := &eventsv1.Incident{
		Id: "prod/team-a/web", Cluster: "prod", Namespace: "team-a", Name: "web", State: "open",
		Reason: "RenderFailed", Message: "RenderFailed", Revision: "r7", Repo: "https://github.com/acme/config", Attempt: 7, Stage: "plan",
		Trace: fmt.Sprintf("%032d", 7), Traceparent: failed.Trace, Cause: "fact-7",
		OpenedAt: f.GetAt(), ChangedAt: f.GetAt(), Sequence: 8, Sync: f, Health: got.GetHealth(),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestHugeAndOddTextsOfFactsAreBounded(t *testing.T) {
	huge := fails(1)
	huge.Data.(*eventsv1.SyncFinished).Message = strings.Repeat("a\r\n\x00漢", 50_000)
	if size := proto.Size(fold(huge)); size > 20_000 {
		t.Errorf("an incident of %d bytes", size)
	}
}

func TestWhatIsDue(t *testing.T) {
	for sentence, c := range map[string]struct {
		state, told string
		routed      bool
		want        string
	}{
		"an opening":                  {alert.Open, "", true, alert.Opened},
		"none without a route":        {alert.Open, "", false, ""},
		"none twice":                  {alert.Open, alert.Opened, true, ""},
		"an opening after a recovery": {alert.Open, alert.Recovered, true, alert.Opened},
		"none that was refused":       {alert.Open, alert.Refused, true, ""},
		"nothing while it may pass":   {alert.Pending, "", true, ""},
		"a recovery":                  {alert.Recovered, alert.Opened, true, alert.Recovered},
		"a recovery although no route leads there now":  {alert.Recovered, alert.Opened, false, alert.Recovered},
		"no recovery of what was never told":            {alert.Recovered, "", true, ""},
		"no recovery twice":                             {alert.Recovered, alert.Recovered, true, ""},
		"no recovery where the opening was refused":     {alert.Recovered, alert.Refused, true, ""},
		"an opening where nobody is sure":               {alert.Open, alert.Unsure, true, alert.Opened},
		"a recovery where nobody is sure":               {alert.Recovered, alert.Unsure, false, alert.Recovered},
		"nothing where nobody is sure and it may pass":  {alert.Pending, alert.Unsure, true, ""},
		"nothing in a state that nobody knows":          {"odd", "", true, ""},
		"nothing where it may pass, though told before": {alert.Pending, alert.Opened, true, ""},
	} {
		i := &eventsv1.Incident{State: c.state, Told: map[string]string{"ops": c.told}}
		if got := alert.Due(i, "ops", c.routed); got != c.want {
			t.Errorf("%s: got %q", sentence, got)
		}
	}
}

// A channel that could not be told of a recovery hears of no new opening: for it
// the trouble went on. One that refused the first message is tried again.
func TestOpeningAgainForgetsRefusals(t *testing.T) {
	i := fold(fails(1), succeeds(2))
	i.Told = map[string]string{"down": alert.Opened, "picky": alert.Refused, "ops": alert.Recovered}
	f, _ := alert.Read(fails(3))
	i, _ = alert.Fold(i, f)
	got := map[string]string{}
	for _, channel := range []string{"down", "picky", "ops"} {
		got[channel] = alert.Due(i, channel, true)
	}
	if diff := cmp.Diff(map[string]string{"down": "", "picky": alert.Opened, "ops": alert.Opened}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatMayPassOpensWhenItLasts(t *testing.T) {
	i := fold(stumbles(10), stumbles(30))
	if _, changed := alert.Ripen(i, start.Add(69*time.Second), time.Minute); changed {
		t.Error("opened after 59 s")
	}
	next, changed := alert.Ripen(i, start.Add(80*time.Second), time.Minute)
	if got, want := summary(next), "open FetchFailed at r30, since 10, so from 70"; !changed || got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, i := range []*eventsv1.Incident{fold(fails(1)), fold(stumbles(1), succeeds(2)), nil} {
		if _, changed := alert.Ripen(i, start.Add(time.Hour), time.Minute); changed {
			t.Errorf("%s changed", summary(i))
		}
	}
}

func TestAStateThatIsNewerAndReadyEndsAnIncident(t *testing.T) {
	state := func(ready string, attempt int64, second int) *eventsv1.ApplicationState {
		return &eventsv1.ApplicationState{Ready: ready, Attempt: attempt, Revision: "rs", UpdatedAt: timestamppb.New(start.Add(time.Duration(second) * time.Second))}
	}
	open, ended := "open RenderFailed at r5, since 5, so from 5", "recovered RenderFailed at rs, since 5, so from 9"
	for sentence, c := range map[string]struct {
		facts []event.Event
		state *eventsv1.ApplicationState
		want  string
	}{
		"newer and ready":                  {[]event.Event{fails(5)}, state("True", 6, 9), ended},
		"newer and not ready":              {[]event.Event{fails(5)}, state("False", 6, 9), open},
		"newer and on its way":             {[]event.Event{fails(5)}, state("Unknown", 6, 9), open},
		"of the same attempt":              {[]event.Event{fails(5)}, state("True", 5, 9), open},
		"of an earlier attempt":            {[]event.Event{fails(5)}, state("True", 4, 9), open},
		"written before":                   {[]event.Event{fails(5)}, state("True", 6, 5), open},
		"none":                             {[]event.Event{fails(5)}, nil, open},
		"health, newer and ready":          {[]event.Event{health(5, "Degraded")}, state("True", 1, 9), "recovered HealthFailed at rs, since 5, so from 9"},
		"health, written before":           {[]event.Event{health(5, "Degraded")}, state("True", 1, 4), "open HealthFailed at r5, since 5, so from 5"},
		"newer than one of two only":       {[]event.Event{fails(5), health(10, "Degraded")}, state("True", 6, 9), open},
		"what may pass, newer and ready":   {[]event.Event{stumbles(5)}, state("True", 6, 9), "recovered FetchFailed at rs, since 5, so from 9"},
		"recovered already is not touched": {[]event.Event{fails(5), succeeds(6)}, state("True", 7, 9), "recovered RenderFailed at r6, since 5, so from 6"},
	} {
		t.Run(sentence, func(t *testing.T) {
			next, _ := alert.Review(fold(c.facts...), c.state)
			if got := summary(next); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			late, _ := alert.Read(c.facts[0])
			if again, changed := alert.Fold(next, late); changed {
				t.Errorf("the old fact changes it to %s", summary(again))
			}
		})
	}
}

func TestAnApplicationThatIsGoneHasNoIncident(t *testing.T) {
	next, changed := alert.Gone(fold(fails(5)), start.Add(99*time.Second))
	if got, want := summary(next), "recovered RenderFailed at r5, since 5, so from 99"; !changed || got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if m := alert.MessageOf(next, alert.Recovered); m.Text != "the Application is not there any more" {
		t.Errorf("it says %q", m.Text)
	}
	if _, changed := alert.Gone(fold(fails(5), succeeds(6)), start); changed {
		t.Error("a recovered one changed")
	}
}
