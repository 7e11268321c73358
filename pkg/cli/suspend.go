package cli

import (
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
)

func newSuspend(env Env) *cobra.Command {
	var a api
	var s selection
	var reason, until string
	c := &cobra.Command{
		Use:   "suspend <namespace>/<name> --reason <why>",
		Short: "Stop the syncs of an Application",
		Long: `Set spec.suspend of an Application: nothing is applied, healed or pruned any more
until it is resumed, or until the end that --until names. What is applied stays, and
the Application can still be deleted. Who suspended it (the user's name, as the
environment tells it), why and until when stand in its status and in plumb get.

Where the Application itself comes from Git, say it there: spec.suspend and
spec.suspension.`,
		Example: `  plumb suspend team-a/web --reason "the database is being moved"
  plumb suspend team-a/web --reason "a demo" --until 2h
  plumb suspend team-a/web --reason "the holidays" --until 2027-01-04T08:00:00+01:00`,
		Args: oneApplication,
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return fmt.Errorf("say why with --reason; %w", errUsage)
			}
			end, err := moment(until, env.Now())
			if err != nil {
				return err
			}
			request := &apiv1.SuspendRequest{Suspend: true, By: env.Getenv("USER"), Reason: reason}
			if !end.IsZero() {
				request.Until = timestamppb.New(end)
			}
			return s.suspend(c, &a, args[0], request)
		},
	}
	a.flags(c, env.Getenv)
	s.flags(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for everyone who wonders; required")
	c.Flags().StringVar(&until, "until", "", "when it ends by itself: a `time` as 2h, or 2027-01-04T08:00:00Z")
	return c
}

func newResume(env Env) *cobra.Command {
	var a api
	var s selection
	c := &cobra.Command{
		Use:   "resume <namespace>/<name>",
		Short: "Let the syncs of a suspended Application go on",
		Long: `Take back spec.suspend of an Application. The newest commit is applied at once, and
what drifted meanwhile is healed, as its policy says.`,
		Example: "  plumb resume team-a/web",
		Args:    oneApplication,
		RunE: func(c *cobra.Command, args []string) error {
			return s.suspend(c, &a, args[0], &apiv1.SuspendRequest{By: env.Getenv("USER")})
		},
	}
	a.flags(c, env.Getenv)
	s.flags(c)
	return c
}

// suspend asks for it and says what was done.
func (s *selection) suspend(c *cobra.Command, a *api, name string, request *apiv1.SuspendRequest) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	request.Cluster, request.Namespace, request.Name = s.cluster, key.Namespace, key.Name
	if _, err := client.Suspend(c.Context(), connect.NewRequest(request)); err != nil {
		return a.explained(err)
	}
	switch {
	case !request.GetSuspend():
		fmt.Fprintf(c.OutOrStdout(), "%s: resumed\n", key)
	case request.Until != nil:
		fmt.Fprintf(c.OutOrStdout(), "%s: suspended until %s\n", key, request.Until.AsTime().UTC().Format(time.RFC3339))
	default:
		fmt.Fprintf(c.OutOrStdout(), "%s: suspended; to go on: plumb resume %s\n", key, key)
	}
	return nil
}

// moment reads a time from now on, or a point in time; the zero time for nothing.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if d, wrong := time.ParseDuration(text); wrong == nil {
		at, err = now.Add(d), nil
	}
	if err == nil && !at.After(now) {
		err = errors.New("it is over already")
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("--until %q is no time from now on, as 2h, and no point in time, as 2027-01-04T08:00:00Z; %w", text, errUsage)
	}
	return at, nil
}
