package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// worker answers questions as a cluster's worker does; attempts are what the
// state becomes afterwards, one after the other.
func (w *world) worker(t *testing.T, answer *eventsv1.AnswerSync, attempts ...*eventsv1.ApplicationState) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	handle := func(ctx context.Context, _ proto.Message, reply func(proto.Message) error) error {
		if err := reply(answer); err != nil {
			return err
		}
		for _, s := range attempts {
			if err := w.bus.PutState(ctx, s); err != nil {
				return err
			}
			fact := event.Event{
				ID: "f-" + s.GetResult(), Source: "/local/worker", Type: event.SyncStarted, Subject: "team-a/web", Time: time.Now(),
				Data: &eventsv1.SyncStarted{Cluster: "local", Namespace: "team-a", Name: "web", Attempt: s.GetAttempt()},
			}
			if _, err := w.bus.Publish(ctx, fact, fact.ID); err != nil {
				return err
			}
		}
		return nil
	}
	go func() {
		defer close(ended)
		_ = w.bus.Answer(ctx, "local", "sync", &eventsv1.AskSync{}, handle)
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

func attempt(requested, result, reason, message string) *eventsv1.ApplicationState {
	s := web("local")
	s.Requested, s.Result, s.Reason, s.Message, s.Attempt = requested, result, reason, message, 7
	s.Resources = &eventsv1.Resources{Total: 4, Healthy: 3}
	return s
}

func TestSyncWaitsForItsOwnEnd(t *testing.T) {
	taken := &eventsv1.AnswerSync{RequestId: "r1"}
	for sentence, c := range map[string]struct {
		answer   *eventsv1.AnswerSync
		attempts []*eventsv1.ApplicationState
		args     []string
		code     int
		want     string
	}{
		"that succeeds": {
			taken, []*eventsv1.ApplicationState{attempt("r1", "running", "", ""), attempt("r1", "waiting", "", ""), attempt("r1", "succeeded", "", "")}, nil, 0,
			"team-a/web: attempt 7 succeeded at 01234567, 3 of 4 objects healthy",
		},
		"that fails": {
			taken, []*eventsv1.ApplicationState{attempt("r1", "failed", "RenderFailed", "x.yaml:3: no kind")}, nil, 1,
			"team-a/web: RenderFailed: x.yaml:3: no kind",
		},
		"that is superseded first": {
			taken, []*eventsv1.ApplicationState{attempt("r1", "superseded", "", ""), attempt("r1", "succeeded", "", "")}, nil, 0,
			"succeeded",
		},
		"not for that of another request": {
			taken, []*eventsv1.ApplicationState{attempt("r0", "succeeded", "", "")}, []string{"--timeout", "300ms"}, 1,
			"team-a/web: not done after 300ms; it goes on without this command",
		},
		"or only asks": {
			taken, nil, []string{"--no-wait"}, 0, "team-a/web: sync requested, r1",
		},
		"or is refused": {
			&eventsv1.AnswerSync{Error: "it is suspended", ErrorCode: "Suspended"}, nil, nil, 1, "plumb: it is suspended",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := start(t)
			w.put(t, web("local"))
			w.worker(t, c.answer, c.attempts...)
			code, out, errs := plumb(t, w.env, "", append([]string{"sync", "team-a/web"}, c.args...)...)
			for strings.Contains(errs, "no worker is there") { // it is still subscribing
				code, out, errs = plumb(t, w.env, "", append([]string{"sync", "team-a/web"}, c.args...)...)
			}
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit code %d, want %d; %q is not in:\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}
