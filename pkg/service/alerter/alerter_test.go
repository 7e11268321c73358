package alerter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func TestOneMessageWhenItOpensNoneForRepetitionsOneWhenItRecovers(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1))
	ops.expect(t, "web opened")
	for n := range int64(100) {
		w.tell(fails("web", n+2))
	}
	w.tell(succeeds("web", 102))
	ops.expect(t, "web opened", "web recovered")
	w.tell(succeeds("web", 103), fails("web", 104))
	ops.expect(t, "web opened", "web recovered", "web opened")
}

func TestSlackIsToldWhatPeopleNeed(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "slack")
	w.start(routed(ops))
	w.tell(fails("web", 7))
	eventually(t, "Slack is told", func() bool { return len(ops.Accepted()) == 1 })
	body := string(ops.Accepted()[0].Body)
	for _, want := range []string{
		"team-a/web", "prod", "https://github.com/acme/config/commit/" + strings.Repeat("ab", 20), "render", "RenderFailed",
		"x.yaml:3: no such kind", "What to do", w.incident("web").GetTrace(),
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in %s", want, body)
		}
	}
	w.tell(succeeds("web", 8))
	eventually(t, "Slack hears of the recovery", func() bool { return len(ops.Accepted()) == 2 })
	if refused := ops.Refused(); len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
}

func TestWhatWasToldIsAFactInTheTraceOfTheFailure(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1))
	ops.expect(t, "web opened")
	i := w.incident("web")
	var got event.Event
	eventually(t, "the fact is there", func() bool {
		err := w.bus.Replay(t.Context(), bus.Query{Subjects: []string{"plumb.events.alert.*"}}, func(e event.Event) error { got = e; return nil })
		return err == nil && got.ID != ""
	})
	data := got.Data.(*eventsv1.AlertSent)
	if data.GetIncident() != "prod/team-a/web" || data.GetChannel() != "ops" || data.GetState() != "opened" ||
		got.Source != "/prod/alerter" || got.Cause != i.GetCause() || !strings.Contains(got.Trace, i.GetTrace()) {
		t.Errorf("got %+v", got)
	}
}

func TestLostHealthIsTold(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.is("web", "True", 3)
	health := func(to string) proto.Message {
		return &eventsv1.HealthChanged{Cluster: "prod", Namespace: "team-a", Name: "web", To: to, WorstObject: "apps/Deployment/a/web", Message: "crashes", Revision: strings.Repeat("ab", 20)}
	}
	w.tell(health("Degraded"), health("Progressing"), health("Degraded"))
	ops.expect(t, "web opened")
	if body := string(ops.Accepted()[0].Body); !strings.Contains(body, "apps/Deployment/a/web: crashes") || !strings.Contains(body, "https://github.com/acme/config/commit/") {
		t.Errorf("told %s", body)
	}
	w.tell(health("Healthy"))
	ops.expect(t, "web opened", "web recovered")
}

func TestWhatPassesIsNotToldAndWhatLastsIs(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(stumbles("passes", 1), stumbles("lasts", 1), succeeds("passes", 2))
	eventually(t, "both are folded", func() bool {
		return w.incident("passes").GetState() == alert.Recovered && w.incident("lasts").GetState() == alert.Pending
	})
	w.pass(50 * time.Second)
	w.settled(ops)
	w.pass(11 * time.Second)
	eventually(t, "what lasts is told", func() bool { return slices.Contains(ops.told(t), "lasts opened") })
	if slices.ContainsFunc(ops.told(t), func(s string) bool { return strings.HasPrefix(s, "passes") }) {
		t.Errorf("told %v", ops.told(t))
	}
	if told := ops.told(t); len(told) != 2 || told[1] != "lasts opened" {
		t.Errorf("told %v", told)
	}
}

// One without channels stores and sends nothing, as one that is killed between
// the two does. What it stored is told by whoever comes after it.
func TestKilledBetweenStoreAndSendNothingIsLost(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	stop := w.start(routed(ops))
	w.tell(fails("known", 1))
	ops.expect(t, "known opened")
	stop(true)
	stop = w.start(config.Alerter{})
	w.tell(fails("web", 1), succeeds("known", 2))
	eventually(t, "both are stored", func() bool {
		return w.incident("web").GetState() == alert.Open && w.incident("known").GetState() == alert.Recovered
	})
	stop(true)
	w.start(routed(ops))
	ops.expect(t, "known opened", "web opened", "known recovered")
}

func TestKilledWhileSendingItIsSentAgain(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	stop := w.start(routed(ops))
	ops.Always(alerttest.Hang)
	w.tell(fails("web", 1))
	eventually(t, "it is on its way", func() bool { return ops.Requests() > 0 })
	stop(true)
	ops.Always(nil)
	w.start(routed(ops))
	w.pass(time.Minute) // the claim of the killed one runs out
	ops.expect(t, "web opened")
}

// The channel took the opening, nobody recorded it, and then it was over: the
// recovery must be told. The same holds for a recovery and a new opening.
func TestKilledAfterSendingWhatHoldsIsTold(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	for _, c := range []struct{ sent, then *eventsv1.SyncFinished }{{fails("web", 1), succeeds("web", 2)}, {succeeds("web", 2), fails("web", 3)}} {
		stop := w.start(routed(ops))
		taken := make(chan struct{})
		ops.Then(func(rw http.ResponseWriter, r *http.Request) {
			ops.Accept(rw, r)
			close(taken)
			alerttest.Hang(rw, r)
		})
		w.tell(c.sent)
		await(t, "the message", taken)
		stop(true)
		w.tell(c.then)
	}
	w.start(routed(ops))
	w.pass(time.Minute) // the claim of the killed one runs out
	ops.expect(t, "web opened", "web recovered", "web opened")
}

// A message on its way at a regular end is neither cut off nor told twice.
func TestAMessageOnItsWayAtTheEndIsToldOnce(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	stop := w.start(routed(ops), func(o *alerter.Options) { o.Linger = patience })
	arrived, leave := make(chan struct{}), make(chan struct{})
	ops.Then(func(http.ResponseWriter, *http.Request) { close(arrived); <-leave })
	w.tell(fails("web", 1))
	await(t, "the message", arrived)
	ended := make(chan struct{})
	go func() { stop(false); close(ended) }()
	close(leave)
	await(t, "the end", ended)
	if told := w.incident("web").GetTold()["ops"]; told != alert.Opened {
		t.Errorf("recorded: %q", told)
	}
	w.start(routed(ops))
	w.pass(time.Hour)
	w.settled(ops)
	for _, s := range ops.told(t) {
		if strings.HasPrefix(s, "web ") {
			t.Errorf("told again: %v", ops.told(t))
		}
	}
}

func TestABacklogIsFoldedFirst(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	stop := w.start(routed(ops))
	w.tell(fails("before", 1))
	ops.expect(t, "before opened")
	stop(true)
	for n := range int64(50) {
		w.tell(fails("flaky", n+1), stumbles("flaky", n+1))
	}
	w.tell(succeeds("flaky", 51), fails("broken", 1), succeeds("broken", 2), fails("broken", 3), fails("before", 2))
	w.start(routed(ops))
	w.settled(ops)
	if diff := cmp.Diff([]string{"before opened", "broken opened"}, ops.told(t)[:len(ops.told(t))-1]); diff != "" {
		t.Error(diff)
	}
}

// The fact of the recovery was lost, the state was not.
func TestWhatIsReadyAgainIsNotTold(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	stop := w.start(routed(ops))
	stop(true)
	w.tell(fails("web", 1))
	w.is("web", "True", 2)
	w.start(routed(ops))
	eventually(t, "it is over", func() bool { return w.incident("web").GetState() == alert.Recovered })
	w.settled(ops)
	if told := ops.told(t); len(told) != 1 {
		t.Errorf("told %v", told)
	}
}

func TestARecoveryWhoseFactWasLostIsToldByTheState(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1))
	w.is("web", "False", 1)
	ops.expect(t, "web opened")
	w.is("web", "True", 2)
	ops.expect(t, "web opened", "web recovered")
}

func TestTheIncidentOfADeletedApplicationEnds(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1))
	ops.expect(t, "web opened") // and plumb_apps knows nothing of it
	w.pass(4 * time.Minute)
	w.tell(fails("web", 2))
	w.pass(4 * time.Minute)
	w.is("db", "False", 1)
	w.tell(fails("db", 1))
	ops.expect(t, "web opened", "db opened")
	ops.Forget()
	eventually(t, "time has passed", func() bool {
		w.pass(time.Minute)
		return len(ops.told(t)) > 0
	})
	ops.expect(t, "web recovered")
	if body := string(ops.Accepted()[0].Body); !strings.Contains(body, "not there any more") {
		t.Errorf("told %s", body)
	}
	w.tell(fails("web", 1))
	ops.expect(t, "web recovered", "web opened")
}

func TestWhatIsLongOverIsForgotten(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1), succeeds("web", 2), fails("open", 1))
	w.is("open", "False", 1)
	ops.expect(t, "open opened")
	w.pass(25 * time.Hour)
	eventually(t, "it is forgotten", func() bool { return w.incident("web") == nil })
	if w.incident("open").GetState() != alert.Open {
		t.Error("an open one was forgotten")
	}
}

func TestTwoReplicasTellEachMessageOnce(t *testing.T) {
	w, ops, other := newWorld(t), newChannel(t, "ops", "webhook"), newChannel(t, "other", "webhook")
	for range 2 {
		w.start(routed(ops, other))
	}
	const applications = 20
	want := []string{}
	for n := range applications {
		name := fmt.Sprintf("app-%02d", n)
		w.tell(fails(name, 1), fails(name, 2))
		want = append(want, name+" opened", name+" recovered")
	}
	opened := func(c channel) func() bool { return func() bool { return len(c.told(t)) >= applications } }
	eventually(t, "all is told", opened(ops))
	eventually(t, "all is told", opened(other))
	for n := range applications {
		w.tell(succeeds(fmt.Sprintf("app-%02d", n), 3))
	}
	for _, c := range []channel{ops, other} {
		eventually(t, "all is over", func() bool { return len(c.told(t)) >= 2*applications })
		got := c.told(t)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s was told:\n%s", c.Name, diff)
		}
	}
}

func TestNATSAwayAndBackLosesNothing(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1))
	ops.expect(t, "web opened")
	w.server.Stop()
	if err := w.server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "NATS is back", func() bool { return w.bus.Connected() == nil })
	w.tell(succeeds("web", 2), fails("db", 1))
	ops.expect(t, "web opened", "web recovered", "db opened")
}

// While incidents cannot be stored, facts are not acknowledged.
func TestAFactWhoseIncidentCannotBeStoredComesAgain(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	w.tell(fails("web", 1))
	ops.expect(t, "web opened")
	w.room(2) // for web and the probe
	w.tell(fails("db", 1))
	eventually(t, "it was tried in vain", func() bool { return w.redelivered() })
	w.room(-1)
	ops.expect(t, "web opened", "db opened")
}

// Values that somebody tampered with are no reason to lose a fact.
func TestATamperedIncidentIsForgotten(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	w.start(routed(ops))
	foreign := &eventsv1.Incident{Id: "prod/team-a/web", Cluster: "prod", Namespace: "team-b", Name: "db", State: alert.Open, Told: map[string]string{"ops": alert.Opened}}
	if _, err := w.bus.Incidents().Put(t.Context(), foreign, 0); err != nil {
		t.Fatal(err)
	}
	w.tell(fails("web", 1))
	ops.expect(t, "web opened")
}

func TestABadChannelKeepsTheAlerterFromStarting(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "slack")
	ops.URLFile = "/none/url"
	_, err := alerter.New(routed(ops), w.bus, w.options())
	if err == nil || !strings.Contains(err.Error(), "alerter.channels: ops: read URL file /none/url: no such file") {
		t.Errorf("got %v", err)
	}
}

// The URL is a secret: it is in no incident, no fact and no log line.
func TestTheURLIsNowhere(t *testing.T) {
	w, ops := newWorld(t), newChannel(t, "ops", "webhook")
	var log strings.Builder
	lines := make(chan string, 1000)
	stop := w.start(routed(ops), func(o *alerter.Options) { o.Log = recorder(lines) })
	ops.Then(alerttest.Status(500), alerttest.Status(500), alerttest.Status(500), alerttest.Status(400))
	w.tell(fails("web", 1), fails("db", 1))
	eventually(t, "one is told", func() bool { return len(ops.told(t)) == 1 })
	stop(false)
	close(lines)
	for l := range lines {
		log.WriteString(l)
	}
	for _, i := range []string{"web", "db"} {
		data, err := json.Marshal(w.incident(i))
		if err != nil {
			t.Fatal(err)
		}
		log.Write(data)
	}
	if err := w.bus.Replay(context.Background(), bus.Query{}, func(e event.Event) error { fmt.Fprint(&log, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "channel cannot be told") || !strings.Contains(log.String(), "message refused") {
		t.Errorf("the log says nothing of the failures: %s", log.String())
	}
	if strings.Contains(log.String(), "/secret") || strings.Contains(log.String(), ops.URL) {
		t.Errorf("the URL is in %s", log.String())
	}
}
