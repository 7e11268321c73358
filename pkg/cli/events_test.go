package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func (w *world) publish(t *testing.T, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		if _, err := w.bus.Publish(t.Context(), e, e.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// sinceReal reaches back, from the commands' fixed clock, to before the real
// time at which NATS stored the events.
func sinceReal() string { return (max(0, time.Until(now)) + time.Hour).String() }

func history() []event.Event {
	return []event.Event{
		{ID: "1", Source: "/local/receiver", Type: event.GitPush, Subject: "h/a", Time: now, Trace: traceparent, Data: &eventsv1.GitPush{
			Repo: "h/a", Ref: "refs/heads/main", After: "0123456789abcdef0123456789abcdef01234567",
		}},
		{ID: "2", Source: "/local/worker", Type: event.SyncFinished, Subject: "team-a/web", Time: now, Trace: traceparent, Data: &eventsv1.SyncFinished{
			Cluster: "local", Namespace: "team-a", Name: "web", Attempt: 7, Reason: "push", Result: "failed",
			Duration: durationpb.New(1500123456), ErrorReason: "RenderFailed", Message: "x.yaml:3: \x1b[2Jno kind",
			Objects: []*eventsv1.ObjectAction{{Id: "a"}, {Id: "b"}},
			Stages:  []*eventsv1.Stage{stage("queue", 1400*time.Microsecond), stage("fetch", 0), stage("apply", 12*time.Millisecond)},
		}},
		{ID: "3", Source: "/local/worker", Type: event.DriftHealed, Subject: "team-a/web", Time: now, Trace: traceparent, Data: &eventsv1.DriftHealed{
			Cluster: "local", Namespace: "team-a", Name: "web", Attempt: 8, Objects: []*eventsv1.DriftedObject{
				{Id: "apps/Deployment/web/web", Kind: "changed", Manager: "kubectl-scale", Fields: []*eventsv1.FieldChange{{Path: "spec.replicas", Before: "3", After: "9"}}},
				{Id: "/Service/web/web", Kind: "deleted"},
			},
		}},
	}
}

func stage(name string, took time.Duration) *eventsv1.Stage {
	return &eventsv1.Stage{Name: name, Duration: durationpb.New(took)}
}

func TestEventsAreOneLineEach(t *testing.T) {
	w := start(t)
	w.publish(t, history()...)
	for sentence, c := range map[string]struct {
		args []string
		want []string
	}{
		"all": {[]string{"events"}, []string{
			"  git.push        h/a                          ref=refs/heads/main after=01234567  trace=4bf92f3577b34da6a3ce929d0e0e4736",
			`  sync.finished   team-a/web                   attempt=7 reason=push result=failed errorReason=RenderFailed message="x.yaml:3: \x1b[2Jno kind" duration=1.5s stages=queue:1ms,apply:12ms objects=2  trace=4bf92f3577b34da6a3ce929d0e0e4736`,
			`  drift.healed    team-a/web                   attempt=8 objects=2 changed=apps/Deployment/web/web spec.replicas="3 -> 9" by=kubectl-scale deleted=/Service/web/web  trace=4bf92f3577b34da6a3ce929d0e0e4736`,
		}},
		"of an Application": {[]string{"events", "team-a/web"}, []string{"  sync.finished ", "  drift.healed "}},
		"of a namespace":    {[]string{"events", "-n", "other"}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, out, errs := plumb(t, w.env, "", append(c.args, "--since", sinceReal())...)
			lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
			if out == "" {
				lines = nil
			}
			if code != 0 || len(lines) != len(c.want) {
				t.Fatalf("exit code %d, %d lines, want %d:\n%s%s", code, len(lines), len(c.want), out, errs)
			}
			for i, want := range c.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("%q is not in\n%q", want, lines[i])
				}
			}
		})
	}
}

func TestEventsAsJSONAreOneObjectALine(t *testing.T) {
	w := start(t)
	w.publish(t, history()...)
	_, out, errs := plumb(t, w.env, "", "events", "-o", "json", "--since", sinceReal())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(history()) {
		t.Fatalf("%d lines:\n%s%s", len(lines), out, errs)
	}
	var e struct {
		ID, Type, Subject, Trace string
		Data                     map[string]any
	}
	if err := json.Unmarshal([]byte(lines[0]), &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != "1" || e.Type != "dev.plumb.git.push.v1" || e.Trace != traceparent || e.Data["ref"] != "refs/heads/main" {
		t.Errorf("got %+v", e)
	}
}
