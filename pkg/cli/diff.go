package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/app"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// Exit codes of plumb diff, which are those of git diff and kubectl diff.
const (
	codeDiffers = 1
	codeTrouble = 2
)

func newDiff(env Env) *cobra.Command {
	var a api
	var s selection
	var d difference
	c := &cobra.Command{
		Use:   "diff <namespace>/<name>",
		Short: "Show what the next sync would do, field by field",
		Long: `Ask the worker of the Application's cluster what its next sync would do: it fetches,
renders and plans as a sync does, as the Application's account, and has the API
server try the changes without making them. Nothing is written. What webhooks and
defaults add is no difference, nor is what spec.ignore names; values that may be
secret are not shown.

With --revision or --ref another commit is taken than spec.source.ref leads to.

The exit code is 0 when it was done, also when there are changes; with --exit-code it
is then 1. It is 2 when it failed, or when the API server refuses a change.`,
		Example: `  plumb diff team-a/web
  plumb diff team-a/web --ref feature/new-image
  plumb diff team-a/web --revision 8f2c1d0e5b7a4c3f9e6d8b1a0c2f4e6d8b1a0c2f --exit-code
  plumb diff team-a/web -o json`,
		Args: oneApplication,
		RunE: func(c *cobra.Command, args []string) error {
			key, err := s.key(args[0])
			if err != nil {
				return err
			}
			if d.ref, err = d.chosen(); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return coded{codeTrouble, err}
			}
			d.env, d.client, d.key, d.cluster = env, client, key, s.cluster
			return d.run(c.Context(), &a)
		},
	}
	a.flags(c, env.Getenv)
	s.flags(c)
	c.Flags().StringVar(&d.revision, "revision", "", "full `commit` SHA to compare with, or digest of an artifact")
	c.Flags().StringVar(&d.ref, "ref", "", "`branch` or tag to compare with")
	c.Flags().StringVarP(&d.output, "output", "o", "text", "`format`: text, json or yaml")
	c.Flags().BoolVar(&d.exitCode, "exit-code", false, "end with exit code 1 when there are changes")
	return c
}

// difference is one question for it.
type difference struct {
	env      Env
	client   apiv1connect.PlumbServiceClient
	key      app.Key
	cluster  string
	revision string
	ref      string
	output   string
	exitCode bool
}

// chosen is the ref to ask for. A short SHA would be taken for a branch.
func (d *difference) chosen() (string, error) {
	switch d.output {
	case "text", "json", "yaml":
	default:
		return "", fmt.Errorf("output %q is not known, use text, json or yaml; %w", d.output, errUsage)
	}
	switch {
	case d.revision == "":
		return d.ref, nil
	case d.ref != "":
		return "", fmt.Errorf("give --revision or --ref, not both; %w", errUsage)
	case !fullRevision(d.revision):
		return "", fmt.Errorf("--revision %s is no full commit SHA (40 hex digits) and no digest; a branch or tag is given with --ref; %w", cell(d.revision), errUsage)
	}
	return d.revision, nil
}

func (d *difference) run(ctx context.Context, a *api) error {
	answer, err := ask(ctx, d.client, d.env.Err, &apiv1.DiffRequest{
		Cluster: d.cluster, Namespace: d.key.Namespace, Name: d.key.Name, Ref: d.ref,
	})
	if err != nil {
		return coded{codeTrouble, a.explained(err)}
	}
	if d.output == "text" {
		err = writeDiff(d.env.Out, d.key, answer, d.env.colours())
	} else {
		err = encode(d.env.Out, d.output, answer)
	}
	if err != nil {
		return coded{codeTrouble, err}
	}
	return d.verdict(answer)
}

func (d *difference) verdict(answer *eventsv1.AnswerDiff) error {
	counts := tallyOf(answer)
	switch {
	case counts.refused > 0:
		return coded{codeTrouble, fmt.Errorf("%s: %d objects could not be compared; a sync would fail there", d.key, counts.refused)}
	case d.exitCode && counts.changes > 0:
		return coded{codeDiffers, errTold}
	}
	return nil
}

// doing are the steps of an answer, for people.
var doing = map[string]string{
	"fetch": "fetching the source", "render": "rendering", "plan": "reading the cluster",
	"compare": "having the API server try the changes",
}

// ask reads a whole answer: its summary, and each object once.
func ask(ctx context.Context, client apiv1connect.PlumbServiceClient, notes io.Writer, question *apiv1.DiffRequest) (*eventsv1.AnswerDiff, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &progress{out: notes}
	defer p.step("")
	p.step("asking the worker")
	stream, err := client.Diff(ctx, connect.NewRequest(question))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	whole := &eventsv1.AnswerDiff{}
	for stream.Receive() {
		part := stream.Msg()
		if part.GetStage() != "" {
			p.step(or(doing[part.GetStage()], part.GetStage()))
		}
		if part.GetSummary() != nil {
			whole.Summary = part.GetSummary()
		}
		for _, o := range part.GetObjects() {
			join(whole, o)
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	if whole.Summary == nil {
		return nil, connect.NewError(connect.CodeInternal, errors.New("the answer has no summary; is the worker of an older version?"))
	}
	return whole, nil
}

func join(whole *eventsv1.AnswerDiff, o *eventsv1.DiffObject) {
	if n := len(whole.Objects); o.GetContinued() && n > 0 && whole.Objects[n-1].GetId() == o.GetId() {
		last := whole.Objects[n-1]
		last.Fields = append(last.Fields, o.GetFields()...)
		last.Cut += o.GetCut()
		return
	}
	whole.Objects = append(whole.Objects, o)
}
