package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func newConfirm(env Env) *cobra.Command {
	var s selection
	f := confirmation{env: env}
	c := &cobra.Command{
		Use:   "confirm <namespace>/<name> [<digest>]",
		Short: "Confirm the deletions that an Application waits for",
		Long: `Show what a plan that waits for a confirmation would delete, ask, and let just these
deletions go on: more than spec.sync.pruneLimit allows, or anything grave (Namespace,
CustomResourceDefinition, PersistentVolumeClaim, Application). Then wait for the sync
to end, as plumb sync does.

A confirmation names the digest of the plan. When the plan has come to delete anything
else meanwhile, nothing is deleted, and the new digest is shown. Without a terminal
give the digest and --yes. An ApplicationSet is named as set/<namespace>/<name>.

The exit code is 0 when it was done or nothing waits for a confirmation, else 1.`,
		Example: `  plumb confirm team-a/web
  plumb confirm team-a/web 0f8a4c1b6d3e5a27 --yes
  plumb confirm set/team-a/services --cluster prod`,
		Args: confirmArgs,
		RunE: func(c *cobra.Command, args []string) error {
			name, isSet := strings.CutPrefix(args[0], "set/")
			var err error
			if f.key, err = s.key(name); err != nil {
				return err
			}
			if f.client, err = f.api.client(); err != nil {
				return err
			}
			f.cluster = s.cluster
			if len(args) > 1 {
				f.digest = args[1]
			}
			if isSet {
				return f.api.explained(f.set(c.Context()))
			}
			return f.api.explained(f.application(c.Context()))
		},
	}
	f.api.flags(c, env.Getenv)
	s.flags(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask; needs the digest")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for the sync")
	return c
}

var digestPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)

func confirmArgs(c *cobra.Command, args []string) error {
	yes, _ := c.Flags().GetBool("yes")
	switch {
	case len(args) < 1 || len(args) > 2:
		return fmt.Errorf("name one Application as <namespace>/<name> and, perhaps, a digest, not %d arguments", len(args))
	case len(args) == 2 && !digestPattern.MatchString(args[1]):
		return fmt.Errorf("%q is no digest of a plan, which is 16 hex digits", args[1])
	case yes && len(args) < 2:
		return errors.New("--yes needs the digest of what is confirmed; without --yes it is shown")
	}
	return nil
}

// confirmation is one use of the command.
type confirmation struct {
	env     Env
	api     api
	client  apiv1connect.PlumbServiceClient
	key     app.Key
	cluster string
	digest  string // as given; empty: the present one
	yes     bool
	timeout time.Duration
}

// pending is what waits for a confirmation.
type pending struct {
	name      string // on the command line
	digest    string // empty: nothing waits
	why       string
	deletions []string
	omitted   int
}

func (f *confirmation) application(ctx context.Context) error {
	waits, err := f.plan(ctx)
	if err != nil {
		return err
	}
	if digest, err := f.settle(waits); digest == "" || err != nil {
		return err
	}
	w := &waiting{api: &f.api, client: f.client, key: f.key, cluster: f.cluster, out: f.env.Out, timeout: f.timeout}
	w.ask = func(ctx context.Context) (string, error) {
		r, err := f.confirm(ctx, v1alpha1.GroupVersionKind.Kind, waits.digest)
		return r.GetRequestId(), err
	}
	err = w.run(ctx, false)
	if err == nil || !strings.Contains(err.Error(), string(fault.PruneBlocked)) {
		return err
	}
	now, unknown := f.plan(ctx)
	if unknown != nil || now.digest == "" || now.digest == waits.digest {
		return err
	}
	return f.changed(now)
}

// plan asks what would be deleted now.
func (f *confirmation) plan(ctx context.Context) (pending, error) {
	answer, err := ask(ctx, f.client, f.env.Err, &apiv1.DiffRequest{
		Cluster: f.cluster, Namespace: f.key.Namespace, Name: f.key.Name, PlanOnly: true,
	})
	if err != nil {
		return pending{}, err
	}
	s := answer.GetSummary()
	p := pending{name: f.key.String()}
	if s.GetBlocked() != "" {
		p.digest, p.why, p.omitted = s.GetDigest(), "at "+short(s.GetRevision())+" it "+s.GetBlocked(), int(s.GetOmitted())
	}
	for _, id := range s.GetDeletions() {
		p.deletions = append(p.deletions, human(id))
	}
	return p, nil
}

// settle shows what waits and returns the digest that the person confirms; empty when
// nothing waits.
func (f *confirmation) settle(p pending) (string, error) {
	switch {
	case p.digest == "":
		fmt.Fprintf(f.env.Out, "%s: nothing waits for a confirmation\n", p.name)
		return "", nil
	case f.digest != "" && f.digest != p.digest:
		return "", f.changed(p)
	}
	f.show(p)
	if f.yes {
		return p.digest, nil
	}
	how := fmt.Sprintf("plumb confirm %s %s --yes", p.name, p.digest)
	if !f.env.onTerminal(f.env.In) {
		return "", fmt.Errorf("there is no terminal to ask on; if that is meant: %s; %w", how, errUsage)
	}
	agreed, err := f.env.agreed(fmt.Sprintf("Delete these %d?", len(p.deletions)+p.omitted))
	if err != nil {
		return "", err
	}
	if !agreed {
		return "", fmt.Errorf("%s: nothing was confirmed", p.name)
	}
	return p.digest, nil
}

func (f *confirmation) show(p pending) {
	fmt.Fprintf(f.env.Out, "%s: %s\n", p.name, cell(p.why))
	for _, d := range p.deletions {
		fmt.Fprintf(f.env.Out, "  delete %s\n", cell(d))
	}
	if p.omitted > 0 {
		fmt.Fprintf(f.env.Out, "  and %d more\n", p.omitted)
	}
	fmt.Fprintf(f.env.Out, "digest: %s\n", cell(p.digest))
}

func (f *confirmation) changed(p pending) error {
	f.show(p)
	return fmt.Errorf("%s: the plan is another one now, and nothing was deleted; if what is shown is meant: plumb confirm %s %s", p.name, p.name, p.digest)
}

func (f *confirmation) confirm(ctx context.Context, kind, digest string) (*eventsv1.AnswerConfirm, error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	r, err := f.client.Confirm(ctx, connect.NewRequest(&apiv1.ConfirmRequest{
		Cluster: f.cluster, Kind: kind, Namespace: f.key.Namespace, Name: f.key.Name, Digest: digest,
	}))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

// set confirms the Applications that an ApplicationSet would delete.
func (f *confirmation) set(ctx context.Context) error {
	state, err := f.confirm(ctx, v1alpha1.SetKind.Kind, "")
	if err != nil {
		return err
	}
	digest, err := f.settle(f.ofSet(state))
	if digest == "" || err != nil {
		return err
	}
	if _, err := f.confirm(ctx, v1alpha1.SetKind.Kind, digest); err != nil {
		return err
	}
	fmt.Fprintf(f.env.Out, "set/%s: confirmed\n", f.key)
	return f.await(ctx, digest)
}

func (f *confirmation) ofSet(state *eventsv1.AnswerConfirm) pending {
	p := pending{name: "set/" + f.key.String(), digest: state.GetPlan(), why: state.GetMessage()}
	for _, name := range state.GetDeletions() {
		p.deletions = append(p.deletions, "Application "+f.key.Namespace+"/"+name)
	}
	return p
}

// await waits until the set was worked on with the confirmation.
func (f *confirmation) await(ctx context.Context, digest string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, errors.New("not done in time; it goes on without this command"))
	defer cancel()
	p := &progress{out: f.env.Err}
	p.step("waiting for the worker")
	defer p.step("")
	for {
		state, err := f.confirm(ctx, v1alpha1.SetKind.Kind, "")
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("set/%s: %w", f.key, context.Cause(ctx))
		case connect.CodeOf(err) == connect.CodeUnavailable:
		case err != nil:
			return err
		case state.GetConfirmed() == digest && state.GetPlan() == "" && state.GetReady() == "True":
			fmt.Fprintf(f.env.Out, "set/%s: done, %s\n", f.key, cell(state.GetMessage()))
			return nil
		case state.GetConfirmed() == digest && state.GetPlan() != "" && state.GetPlan() != digest:
			return f.changed(f.ofSet(state))
		case state.GetConfirmed() == digest && state.GetReady() == "False":
			return fmt.Errorf("set/%s: %s: %s", f.key, state.GetReason(), cell(state.GetMessage()))
		}
		if err := pause(ctx, poll); err != nil {
			return fmt.Errorf("set/%s: %w", f.key, context.Cause(ctx))
		}
	}
}
