package cli_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// asked answers what is asked of a worker, once it is there, and returns the question.
func (w *world) asked(t *testing.T, question string, kind, answer proto.Message) func() proto.Message {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	got := make(chan proto.Message, 1)
	go func() {
		defer close(ended)
		_ = w.bus.Answer(ctx, "local", question, kind, func(_ context.Context, req proto.Message, reply func(proto.Message) error) error {
			got <- proto.CloneOf(req)
			return reply(answer)
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return func() proto.Message {
		select {
		case m := <-got:
			return m
		default:
			return nil
		}
	}
}

// again runs a command line until its worker listens.
func (w *world) again(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	w.env["USER"] = "ann"
	for {
		if code, out, errs = plumb(t, w.env, "", args...); !strings.Contains(errs, "no worker is there") {
			return code, out, errs
		}
	}
}

func TestSuspendAndResume(t *testing.T) {
	cases := map[string]struct {
		args   []string
		answer *eventsv1.AnswerSuspend
		code   int
		out    string // of either stream
		want   *eventsv1.AskSuspend
	}{
		"for good": {
			args: []string{"suspend", "team-a/web", "--reason", "a move"}, out: "team-a/web: suspended; to go on: plumb resume team-a/web\n",
			want: &eventsv1.AskSuspend{Namespace: "team-a", Name: "web", Suspend: true, By: "ann (API token)", Reason: "a move"},
		},
		"for a while": {
			args: []string{"suspend", "team-a/web", "--reason", "a move", "--until", "2h"}, out: "team-a/web: suspended until 2026-11-23T14:00:00Z\n",
			want: &eventsv1.AskSuspend{Namespace: "team-a", Name: "web", Suspend: true, By: "ann (API token)", Reason: "a move", Until: timestamppb.New(now.Add(2 * time.Hour))},
		},
		"until a day": {
			args: []string{"suspend", "web", "-n", "team-a", "--reason", "a move", "--until", "2027-01-04T08:00:00+01:00"}, out: "team-a/web: suspended until 2027-01-04T07:00:00Z\n",
			want: &eventsv1.AskSuspend{Namespace: "team-a", Name: "web", Suspend: true, By: "ann (API token)", Reason: "a move", Until: timestamppb.New(time.Date(2027, 1, 4, 7, 0, 0, 0, time.UTC))},
		},
		"resumed": {
			args: []string{"resume", "team-a/web"}, out: "team-a/web: resumed\n",
			want: &eventsv1.AskSuspend{Namespace: "team-a", Name: "web", By: "ann (API token)"},
		},
		"one that is not there": {
			args: []string{"resume", "team-a/web"}, answer: &eventsv1.AnswerSuspend{Error: "there is none", ErrorCode: "NotFound"}, code: 1, out: "plumb: there is none\n",
			want: &eventsv1.AskSuspend{Namespace: "team-a", Name: "web", By: "ann (API token)"},
		},
		"without a reason":      {args: []string{"suspend", "team-a/web"}, code: 2, out: "say why with --reason"},
		"until yesterday":       {args: []string{"suspend", "team-a/web", "--reason", "x", "--until", "2026-11-22T00:00:00Z"}, code: 2, out: "no point in time"},
		"until what is no time": {args: []string{"suspend", "team-a/web", "--reason", "x", "--until", "tomorrow"}, code: 2, out: "no time from now on"},
		"for less than no time": {args: []string{"suspend", "team-a/web", "--reason", "x", "--until", "-2h"}, code: 2, out: "no time from now on"},
		"no Application":        {args: []string{"suspend", "--reason", "x"}, code: 2, out: "name one Application"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.put(t, web("local"))
			if c.answer == nil {
				c.answer = &eventsv1.AnswerSuspend{}
			}
			asked := w.asked(t, "suspend", &eventsv1.AskSuspend{}, c.answer)
			code, out, errs := w.again(t, c.args...)
			if code != c.code || !strings.Contains(out+errs, c.out) {
				t.Errorf("code %d, out %q, errors %q; want %d, %q", code, out, errs, c.code, c.out)
			}
			var want proto.Message
			if c.want != nil {
				want = c.want
			}
			if diff := cmp.Diff(want, asked(), protocmp.Transform()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func heldState(ready, reason, message string) *eventsv1.ApplicationState {
	s := attempt("r1", "succeeded", reason, message)
	s.Ready = ready
	return s
}

// A request that is held back is no success of the attempt before it.
func TestSyncTellsWhatHoldsItBack(t *testing.T) {
	cases := map[string]struct {
		states []*eventsv1.ApplicationState
		code   int
		want   []string
		never  string
	}{
		"a closed window ends it": {
			states: []*eventsv1.ApplicationState{heldState("Unknown", "WindowClosed", "closed until noon")}, code: 1,
			want: []string{"team-a/web: WindowClosed: closed until noon; to write all the same: plumb sync --override-windows team-a/web"}, never: "attempt 7",
		},
		"so do failed checks": {
			states: []*eventsv1.ApplicationState{heldState("False", "ChecksFailed", "ci failed")}, code: 1, want: []string{"ChecksFailed: ci failed"}, never: "attempt 7",
		},
		"a dependency is waited for": {
			states: []*eventsv1.ApplicationState{heldState("Unknown", "DependencyNotReady", "db is not ready"), attempt("r1", "succeeded", "Succeeded", "")},
			want:   []string{"team-a/web: DependencyNotReady: db is not ready", "attempt 7 succeeded"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.put(t, web("local"))
			w.slowly(t, c.states...)
			code, out, errs := w.again(t, "sync", "team-a/web")
			for _, want := range c.want {
				if !strings.Contains(out+errs, want) {
					t.Errorf("out %q, errors %q lack %q", out, errs, want)
				}
			}
			if code != c.code || c.never != "" && strings.Contains(out, c.never) {
				t.Errorf("code %d, out %q", code, out)
			}
		})
	}
}

// slowly answers a sync with one state, and has the others follow once the command,
// which looks every second, may have seen it.
func (w *world) slowly(t *testing.T, states ...*eventsv1.ApplicationState) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	follow := func() {
		for _, s := range states[1:] {
			select {
			case <-time.After(1500 * time.Millisecond):
				_ = w.bus.PutState(ctx, s)
			case <-ctx.Done():
			}
		}
	}
	running.Go(func() {
		_ = w.bus.Answer(ctx, "local", "sync", &eventsv1.AskSync{}, func(ctx context.Context, _ proto.Message, reply func(proto.Message) error) error {
			if err := w.bus.PutState(ctx, states[0]); err != nil {
				return err
			}
			running.Go(follow)
			return reply(&eventsv1.AnswerSync{RequestId: "r1"})
		})
	})
	t.Cleanup(func() { cancel(); running.Wait() })
}
