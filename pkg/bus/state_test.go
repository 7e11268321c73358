package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/bus/embedded"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func state(cluster, name, ready string) *eventsv1.ApplicationState {
	return &eventsv1.ApplicationState{Cluster: cluster, Namespace: "team.a", Name: name, Ready: ready}
}

func put(t *testing.T, b *bus.Bus, states ...*eventsv1.ApplicationState) {
	t.Helper()
	for _, s := range states {
		if err := b.PutState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

func names(states []*eventsv1.ApplicationState) []string {
	var all []string
	for _, s := range states {
		all = append(all, s.GetCluster()+"/"+s.GetName()+"="+s.GetReady())
	}
	slices.Sort(all)
	return all
}

func TestStatesAreTheNewestOfEachApplication(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	if states, err := b.States(t.Context(), ""); err != nil || len(states) != 0 {
		t.Errorf("%v, error %v of an empty bucket", states, err)
	}
	put(t, b, state("local", "web", "False"), state("local", "web", "True"), state("local", "d.b", "True"), state("edge", "web", "Unknown"))
	put(t, b, state("local", "gone", "True"))
	if err := b.DeleteState(t.Context(), "local", app.Key{Namespace: "team.a", Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"web": "True", "gone": "", "never": ""} {
		if s, err := b.State(t.Context(), "local", app.Key{Namespace: "team.a", Name: name}); err != nil || s.GetReady() != want {
			t.Errorf("state of %s: %v, error %v", name, s, err)
		}
	}
	for cluster, want := range map[string][]string{
		"":      {"edge/web=Unknown", "local/d.b=True", "local/web=True"},
		"local": {"local/d.b=True", "local/web=True"},
		"none":  nil,
	} {
		states, err := b.States(t.Context(), cluster)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, names(states)); diff != "" {
			t.Errorf("cluster %q:\n%s", cluster, diff)
		}
	}
}

func TestWatchTellsWhatIsKnownThenChangesThenThatAllIsVoid(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	put(t, b, state("local", "web", "True"))
	got := make(chan bus.StateChange, 100)
	background(t, func(ctx context.Context) error {
		return b.WatchStates(ctx, "", func(c bus.StateChange) error { got <- c; return nil })
	})
	next := func(what string) bus.StateChange { return receive(t, what, got) }
	if c := next("the known state"); c.State.GetReady() != "True" {
		t.Errorf("got %+v", c)
	}
	if c := next("the end of what is known"); !c.Synced {
		t.Errorf("got %+v", c)
	}
	put(t, b, state("local", "w.eb", "False"))
	if c := next("a change"); c.Key != (app.Key{Namespace: "team.a", Name: "w.eb"}) || c.State.GetReady() != "False" {
		t.Errorf("got %+v", c)
	}
	for c := next("synced again"); !c.Synced; {
		t.Fatalf("got %+v", c)
	}
	if err := b.DeleteState(t.Context(), "local", app.Key{Namespace: "team.a", Name: "w.eb"}); err != nil {
		t.Fatal(err)
	}
	if c := next("a deletion"); c.Cluster != "local" || c.Key != (app.Key{Namespace: "team.a", Name: "w.eb"}) || c.State != nil || c.Synced {
		t.Errorf("got %+v", c)
	}
	deleteStreams(t, js)
	for c := next("the reset"); !c.Reset; c = next("the reset") {
		if !c.Synced {
			t.Fatalf("got %+v", c)
		}
	}
	put(t, b, state("local", "web", "Unknown"))
	for c := next("a state of the new bucket"); c.State.GetReady() != "Unknown"; c = next("a state of the new bucket") {
		if !c.Synced {
			t.Fatalf("got %+v", c)
		}
	}
}

func TestAStateThatCannotBeReadIsLeftOut(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	put(t, b, state("local", "web", "True"))
	kv, err := js.KeyValue(t.Context(), "plumb_apps")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"local.team.garbage": "\xff", "local": "{}", "local.team.lies": `{"cluster":"local","namespace":"team","name":"web"}`,
	} {
		if _, err := kv.PutString(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	states, err := b.States(t.Context(), "")
	if diff := cmp.Diff([]string{"local/web=True"}, names(states)); err != nil || diff != "" {
		t.Errorf("error %v\n%s", err, diff)
	}
}

func TestIncidentsChangeByCompareAndSet(t *testing.T) {
	server := startServer(t, embedded.Options{})
	incidents := open(t, server).Incidents()
	ctx := t.Context()
	incident := &eventsv1.Incident{Id: "local/team.a/web", State: "open", Told: map[string]string{"ops": "open"}}
	if got, revision, err := incidents.Get(ctx, incident.GetId()); got != nil || revision != 0 || err != nil {
		t.Fatalf("got %v at %d, error %v, want nothing", got, revision, err)
	}
	first, err := incidents.Put(ctx, incident, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := incidents.Put(ctx, incident, 0); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("second creation: error %v, want a conflict", err)
	}
	got, revision, err := incidents.Get(ctx, incident.GetId())
	if diff := cmp.Diff(incident, got, protocmp.Transform()); err != nil || revision != first || diff != "" {
		t.Errorf("revision %d, error %v\n%s", revision, err, diff)
	}
	second, err := incidents.Put(ctx, incident, first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := incidents.Put(ctx, incident, first); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("update of an old revision: error %v, want a conflict", err)
	}
	if err := incidents.Delete(ctx, incident.GetId(), first); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("deletion of an old revision: error %v, want a conflict", err)
	}
	listed := 0
	if err := incidents.List(ctx, func(_ *eventsv1.Incident, revision uint64) error {
		listed++
		if revision != second {
			t.Errorf("listed at %d, want %d", revision, second)
		}
		return nil
	}); err != nil || listed != 1 {
		t.Errorf("%d listed, error %v", listed, err)
	}
	if err := incidents.Delete(ctx, incident.GetId(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := incidents.Put(ctx, incident, 0); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func TestOfManyWritersOfAnIncidentNoneIsOverwritten(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for {
				incident, revision, err := b.Incidents().Get(t.Context(), "x")
				if err != nil {
					t.Error(err)
					return
				}
				if incident == nil {
					incident = &eventsv1.Incident{Id: "x", Told: map[string]string{}}
				}
				if incident.Told == nil {
					incident.Told = map[string]string{}
				}
				incident.Told[fmt.Sprint(i)] = "open"
				_, err = b.Incidents().Put(t.Context(), incident, revision)
				if err == nil {
					return
				}
				if !errors.Is(err, bus.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	incident, _, err := b.Incidents().Get(t.Context(), "x")
	if err != nil || len(incident.GetTold()) != 8 {
		t.Errorf("%v, error %v, want the words of 8", incident, err)
	}
}

func TestReplayAndFollow(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	if err := b.Replay(t.Context(), bus.Query{}, func(event.Event) error { return errors.New("nothing is there") }); err != nil {
		t.Error(err)
	}
	for i := range 600 { // more than one batch
		publish(t, b, push(fmt.Sprint(i), "a"), "")
	}
	since := time.Now()
	publish(t, b, push("late", "a"), "")
	health := &eventsv1.HealthChanged{Cluster: "local", Namespace: "team", Name: "w.eb", To: "Degraded"}
	publish(t, b, event.Event{ID: "health", Source: "/local/worker", Type: event.HealthChanged, Subject: "team/w.eb", Time: time.Now(), Data: health}, "")

	for name, c := range map[string]struct {
		query bus.Query
		want  int
		last  string
	}{
		"everything":             {bus.Query{}, 602, "health"},
		"since a moment":         {bus.Query{Since: since}, 2, "health"},
		"of one Application":     {bus.Query{Subjects: []string{bus.FactsOf("local", "team", "w.eb")}}, 1, "health"},
		"of all of a cluster":    {bus.Query{Subjects: []string{bus.FactsOf("local", "", "")}}, 1, "health"},
		"of another":             {bus.Query{Subjects: []string{bus.FactsOf("edge", "", "")}}, 0, ""},
		"of two kinds of things": {bus.Query{Subjects: []string{"plumb.events.git.>", "plumb.events.app.>"}, Since: since}, 2, "health"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			last := uint64(0)
			err := b.Replay(t.Context(), c.query, func(e event.Event) error {
				if e.Sequence <= last {
					t.Errorf("%d after %d", e.Sequence, last)
				}
				last = e.Sequence
				got = append(got, e.ID)
				return nil
			})
			if err != nil || len(got) != c.want || c.want > 0 && got[len(got)-1] != c.last {
				t.Errorf("%d events, error %v, want %d up to %q", len(got), err, c.want, c.last)
			}
		})
	}
	stopped := errors.New("enough of this")
	if err := b.Replay(t.Context(), bus.Query{}, func(event.Event) error { return stopped }); !errors.Is(err, stopped) {
		t.Errorf("error %v, want the handler's", err)
	}
}

func TestFollowBridgesRestartsAndNewStreams(t *testing.T) {
	server := startServer(t, embedded.Options{})
	_, js := admin(t, server)
	b := open(t, server)
	publish(t, b, push("0", "a"), "0")
	got := make(chan string, 100)
	background(t, func(ctx context.Context) error {
		return b.Follow(ctx, bus.Query{Since: time.Now().Add(-time.Hour)}, func(e event.Event) error { got <- e.ID; return nil })
	})
	receive(t, "the first event", got)
	publishUntil := func(id string) {
		eventually(t, "publishing works", func() bool {
			_, err := b.Publish(t.Context(), push(id, "a"), id)
			return err == nil
		})
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	publishUntil("1")
	if id := receive(t, "the event after the restart", got); id != "1" {
		t.Errorf("got %q, want 1", id)
	}
	eventually(t, "the other client is back", func() bool { _, err := js.Stream(t.Context(), "PLUMB_EVENTS"); return err == nil })
	deleteStreams(t, js)
	publishUntil("2")
	if id := receive(t, "the event of the new stream", got); id != "2" {
		t.Errorf("got %q, want 2", id)
	}
}

func TestReadingWhileNATSIsAwayFailsAtOnce(t *testing.T) {
	server := startServer(t, embedded.Options{})
	b := open(t, server)
	server.Stop()
	eventually(t, "the connection is seen to be gone", func() bool { return b.Connected() != nil })
	begun := time.Now()
	_, states := b.States(t.Context(), "")
	_, _, incident := b.Incidents().Get(t.Context(), "x")
	_, lease := b.Lease(t.Context(), webLease, "worker-1")
	for name, err := range map[string]error{
		"States": states, "Incidents.Get": incident, "Lease": lease,
		"Replay":   b.Replay(t.Context(), bus.Query{}, func(event.Event) error { return nil }),
		"PutState": b.PutState(t.Context(), state("local", "web", "True")),
		"Ask":      b.Ask(t.Context(), "local", "tree", &eventsv1.AskSync{}, &eventsv1.AnswerSync{}),
		"Ensure":   b.Ensure(t.Context()),
	} {
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient {
			t.Errorf("%s: error %v, want a transient fault", name, err)
		}
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %s", took)
	}
}
