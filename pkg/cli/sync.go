package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/fault"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func newSync(env Env) *cobra.Command {
	var a api
	var s selection
	var timeout time.Duration
	var noWait, override bool
	c := &cobra.Command{
		Use:   "sync <namespace>/<name>",
		Short: "Sync an Application now and wait for the end",
		Long: `Ask the worker of the Application's cluster for an attempt at the newest commit,
also when nothing seems to have changed, and wait until it is live and healthy.
The exit code is 0 when it is, 1 when it failed or did not end in time.

Where a window of spec.sync.windows is closed nothing is written, and the command ends
with when it opens; --override-windows writes all the same, once, and an Event tells
who asked. Dependencies and required checks are waited for.`,
		Example: `  plumb sync team-a/web
  plumb sync team-a/web --cluster prod --timeout 15m
  plumb sync team-a/web --no-wait`,
		Args: oneApplication,
		RunE: func(c *cobra.Command, args []string) error {
			key, err := s.key(args[0])
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			w := &waiting{api: &a, client: client, key: key, cluster: s.cluster, out: c.OutOrStdout(), timeout: timeout}
			w.ask = func(ctx context.Context) (string, error) { return w.sync(ctx, env.Getenv("USER"), override) }
			return a.explained(w.run(c.Context(), noWait))
		},
	}
	a.flags(c, env.Getenv)
	s.flags(c)
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait")
	c.Flags().BoolVar(&noWait, "no-wait", false, "only ask")
	c.Flags().BoolVar(&override, "override-windows", false, "write although a window is closed")
	return c
}

func oneApplication(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name one Application as <namespace>/<name>, not %d", len(args))
	}
	return nil
}

// waiting follows one request to its end. Facts are shown as they come; what
// decides is the state, in which the worker echoes the request's id.
type waiting struct {
	api     *api
	client  apiv1connect.PlumbServiceClient
	key     app.Key
	cluster string
	out     io.Writer
	timeout time.Duration
	ask     func(context.Context) (id string, err error)
	told    string // why it waits, as it was said last
}

// poll is how often the state is looked at without a fact; request is how long
// one request may take, so that a stuck one does not outlast the timeout by much.
const (
	poll    = time.Second
	request = 30 * time.Second
)

func (w *waiting) run(ctx context.Context, noWait bool) error {
	progress, cancel := context.WithCancel(ctx)
	defer cancel()
	facts := make(chan *apiv1.Event)
	if !noWait {
		go w.facts(progress, facts)
	}
	asking, done := context.WithTimeout(ctx, request)
	defer done()
	id, err := w.ask(asking)
	if err != nil {
		return err
	}
	fmt.Fprintf(w.out, "%s: sync requested, %s\n", w.key, cell(id))
	if noWait {
		return nil
	}
	return w.wait(ctx, id, facts)
}

func (w *waiting) sync(ctx context.Context, by string, override bool) (string, error) {
	r, err := w.client.Sync(ctx, connect.NewRequest(&apiv1.SyncRequest{
		Cluster: w.cluster, Namespace: w.key.Namespace, Name: w.key.Name, RequestedBy: by, OverrideWindows: override,
	}))
	if err != nil {
		return "", err
	}
	return r.Msg.GetRequestId(), nil
}

// facts are progress only: without them the command just shows less.
func (w *waiting) facts(ctx context.Context, to chan<- *apiv1.Event) {
	f := &follower{api: w.api, client: w.client, request: &apiv1.EventsRequest{
		Cluster: w.cluster, Namespace: w.key.Namespace, Name: w.key.Name, Follow: true,
	}}
	_ = f.run(ctx, func(e *apiv1.Event) error {
		select {
		case to <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// wait looks at the state after each fact, and every poll.
func (w *waiting) wait(ctx context.Context, id string, facts <-chan *apiv1.Event) error {
	tick, late := time.NewTicker(poll), time.NewTimer(w.timeout)
	defer tick.Stop()
	defer late.Stop()
	for {
		state, err := w.state(ctx)
		if err != nil && connect.CodeOf(err) != connect.CodeUnavailable {
			return err
		}
		if done, err := verdict(state, id); done {
			if !isHeld(state) {
				w.last(state)
			}
			return err
		}
		w.explain(state, id)
		select {
		case e := <-facts:
			fmt.Fprintln(w.out, line(e))
		case <-tick.C:
		case <-late.C:
			return fmt.Errorf("%s: not done after %s; it goes on without this command", w.key, w.timeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// state is nil while none is known.
func (w *waiting) state(ctx context.Context) (*eventsv1.ApplicationState, error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	states, _, err := find(ctx, w.client, selection{cluster: w.cluster}, []string{w.key.String()})
	if err != nil || len(states) == 0 {
		return nil, err
	}
	return states[0], nil
}

// verdict says whether the request was answered, and how. A superseded attempt
// is followed by one that answers the same request.
func verdict(s *eventsv1.ApplicationState, id string) (done bool, err error) {
	if s.GetRequested() != id {
		return false, nil
	}
	if isHeld(s) {
		return verdictOfHeld(s)
	}
	switch s.GetResult() {
	case "succeeded":
		return true, nil
	case "failed":
		return true, fmt.Errorf("%s/%s: %s: %w", s.GetNamespace(), s.GetName(), s.GetReason(), errors.New(s.GetMessage()))
	}
	return false, nil
}

// isHeld says whether a revision waits before anything was written. What is green
// or ready later lets it go on; a window may be closed for long, and other things
// somebody has to mend.
func isHeld(s *eventsv1.ApplicationState) bool {
	switch fault.Reason(s.GetReason()) {
	case fault.WindowClosed, fault.Suspended, fault.ChecksPending, fault.ChecksFailed, fault.DependencyNotReady:
		return s.GetReady() != "True"
	}
	return false
}

// verdictOfHeld ends the wait when only time or somebody's work can.
func verdictOfHeld(s *eventsv1.ApplicationState) (done bool, err error) {
	closed := s.GetReason() == string(fault.WindowClosed)
	if !closed && s.GetReady() != "False" {
		return false, nil
	}
	how := ""
	if closed {
		how = "; to write all the same: plumb sync --override-windows " + s.GetNamespace() + "/" + s.GetName()
	}
	return true, fmt.Errorf("%s/%s: %s: %s%s", s.GetNamespace(), s.GetName(), s.GetReason(), s.GetMessage(), how)
}

// explain tells once what the request waits for.
func (w *waiting) explain(s *eventsv1.ApplicationState, id string) {
	if s.GetRequested() == id && isHeld(s) && w.told != s.GetMessage() {
		w.told = s.GetMessage()
		fmt.Fprintf(w.out, "%s: %s: %s\n", w.key, s.GetReason(), printable(s.GetMessage()))
	}
}

func (w *waiting) last(s *eventsv1.ApplicationState) {
	at := ""
	if revision := or(s.GetExamined(), s.GetRevision()); revision != "" {
		at = " at " + short(revision)
	}
	fmt.Fprintf(w.out, "%s: attempt %d %s%s, %d of %d objects healthy\n", w.key, s.GetAttempt(), cell(s.GetResult()), printable(at),
		s.GetResources().GetHealthy(), s.GetResources().GetTotal())
}
