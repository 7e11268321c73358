package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app"
	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
	"github.com/plumb-gitops/plumb/proto/plumb/api/v1/apiv1connect"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// selection is which Applications a command is about.
type selection struct {
	cluster, namespace string
	all                bool
}

func (s *selection) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.cluster, "cluster", "", "only this `cluster`")
	c.Flags().StringVarP(&s.namespace, "namespace", "n", "", "only this `namespace`; without it all")
}

// key reads <namespace>/<name>, or a name alone with --namespace.
func (s *selection) key(arg string) (app.Key, error) {
	if !strings.Contains(arg, "/") && s.namespace != "" {
		arg = s.namespace + "/" + arg
	}
	key, err := app.ParseKey(arg)
	switch {
	case err != nil:
		return app.Key{}, fmt.Errorf("%w, or a name with --namespace; %w", err, errUsage)
	case s.namespace != "" && s.namespace != key.Namespace:
		return app.Key{}, fmt.Errorf("%s is not in namespace %s; %w", arg, s.namespace, errUsage)
	}
	return key, nil
}

func newGet(env Env) *cobra.Command {
	var a api
	var s selection
	var output string
	c := &cobra.Command{
		Use:   "get [papp] [<namespace>/<name>...]",
		Short: "Show Applications: synced, healthy, revision, age, message",
		Example: `  plumb get                     # all Applications of all clusters
  plumb get -n team-a -o wide   # of a namespace, with source and reason
  plumb get team-a/web -o yaml  # all that is known about one`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			states, missing, err := find(c.Context(), client, s, names(args))
			if err != nil {
				return a.explained(err)
			}
			if err := show(c.OutOrStdout(), output, states, env.Now()); err != nil {
				return err
			}
			return told(c.ErrOrStderr(), len(states) == 0 && output == "", missing)
		},
	}
	a.flags(c, env.Getenv)
	s.flags(c)
	c.Flags().BoolVarP(&s.all, "all-namespaces", "A", false, "all namespaces, which is the default")
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: wide, json or yaml; without it a table")
	c.MarkFlagsMutuallyExclusive("all-namespaces", "namespace")
	return c
}

// names leaves out the name of the resource, which kubectl wants and this does not.
func names(args []string) []string {
	if len(args) > 0 && slices.Contains([]string{"papp", "application", "applications"}, args[0]) {
		return args[1:]
	}
	return args
}

// told says on the error stream what the table cannot.
func told(w io.Writer, nothing bool, missing []string) error {
	for _, m := range missing {
		fmt.Fprintf(w, "plumb: Application %s is not known\n", cell(m))
	}
	if len(missing) > 0 {
		return errTold
	}
	if nothing {
		fmt.Fprintln(w, "No Applications found.")
	}
	return nil
}

// find returns the selected Applications, in the API's order or in that of the names.
func find(ctx context.Context, client apiv1connect.PlumbServiceClient, s selection, names []string) (states []*eventsv1.ApplicationState, missing []string, err error) {
	request := &apiv1.ApplicationsRequest{Cluster: s.cluster, Namespace: s.namespace}
	r, err := client.Applications(ctx, connect.NewRequest(request))
	switch {
	case err != nil:
		return nil, nil, err
	case len(names) == 0:
		return r.Msg.GetApplications(), nil, nil
	}
	for _, n := range names {
		key, err := s.key(n)
		if err != nil {
			return nil, nil, err
		}
		known := len(states)
		for _, a := range r.Msg.GetApplications() {
			if a.GetNamespace() == key.Namespace && a.GetName() == key.Name {
				states = append(states, a)
			}
		}
		if len(states) == known {
			missing = append(missing, key.String())
		}
	}
	return states, missing, nil
}

func show(w io.Writer, output string, states []*eventsv1.ApplicationState, now time.Time) error {
	switch output {
	case "", "wide":
		if len(states) == 0 {
			return nil
		}
		return table(w, rows(states, output == "wide", now))
	case "json", "yaml":
		return encode(w, output, &apiv1.ApplicationsResponse{Applications: states})
	}
	return fmt.Errorf("output %q is not known, use wide, json or yaml; %w", output, errUsage)
}

func encode(w io.Writer, output string, m proto.Message) error {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	// protojson varies its blanks on purpose.
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if output == "yaml" {
		raw, err = yaml.Marshal(value)
	} else {
		raw, err = json.MarshalIndent(value, "", "  ")
		raw = append(raw, '\n')
	}
	_, written := w.Write(raw)
	return errors.Join(err, written)
}

// column is one column of the table.
type column struct {
	head string
	wide bool
	text func(*eventsv1.ApplicationState, time.Time) string
}

// columns are those of `kubectl get papp`, and the cluster.
var columns = []column{
	{"NAMESPACE", false, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetNamespace() }},
	{"NAME", false, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetName() }},
	{"SYNCED", false, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetSynced() }},
	{"HEALTHY", false, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetHealthy() }},
	{"REVISION", false, func(a *eventsv1.ApplicationState, _ time.Time) string { return short(a.GetRevision()) }},
	{"AGE", false, func(a *eventsv1.ApplicationState, now time.Time) string { return age(a.GetCreatedAt(), now) }},
	{"CLUSTER", true, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetCluster() }},
	{"REASON", true, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetReason() }},
	{"DRIFTED", true, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetDrifted() }},
	{"REPO", true, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetRepo() }},
	{"REF", true, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetRef() }},
	{"PATH", true, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetPath() }},
	{"MESSAGE", false, func(a *eventsv1.ApplicationState, _ time.Time) string { return a.GetMessage() }},
}

// rows shows the cluster also when there is more than one.
func rows(states []*eventsv1.ApplicationState, wide bool, now time.Time) [][]string {
	clusters := slices.ContainsFunc(states, func(a *eventsv1.ApplicationState) bool { return a.GetCluster() != states[0].GetCluster() })
	shown := slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return c.wide && !wide && !(clusters && c.head == "CLUSTER")
	})
	out := make([][]string, 1, len(states)+1)
	for _, c := range shown {
		out[0] = append(out[0], c.head)
	}
	for _, a := range states {
		row := make([]string, len(shown))
		for i, c := range shown {
			row[i] = c.text(a, now)
		}
		out = append(out, row)
	}
	return out
}

func age(since *timestamppb.Timestamp, now time.Time) string {
	if since == nil {
		return ""
	}
	return duration.HumanDuration(now.Sub(since.AsTime()))
}
