package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/plumb-gitops/plumb/proto/plumb/api/v1"
)

func newEvents(env Env) *cobra.Command {
	var a api
	var s selection
	var follow bool
	var since time.Duration
	var output string
	c := &cobra.Command{
		Use:   "events [<namespace>/<name>]",
		Short: "Show what happened, and what happens",
		Long: `Show the facts of the audit log, oldest first: pushes, what they touch, attempts
with their stages, health, drift, alerts. The last column is the trace, which
leads from the webhook to "healthy".`,
		Example: `  plumb events --since 10m             # what happened
  plumb events --follow                # and what happens
  plumb events -f team-a/web -o json   # of one Application, one JSON object a line`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			print, err := printer(c.OutOrStdout(), output)
			if err != nil {
				return err
			}
			request := &apiv1.EventsRequest{Cluster: s.cluster, Namespace: s.namespace, Follow: follow, Since: timestamppb.New(env.Now().Add(-since))}
			for _, arg := range args {
				key, err := s.key(arg)
				if err != nil {
					return err
				}
				request.Namespace, request.Name = key.Namespace, key.Name
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			f := &follower{api: &a, client: client, request: request}
			if err := f.run(c.Context(), print); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil // somebody has seen enough
		},
	}
	a.flags(c, env.Getenv)
	s.flags(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	c.Flags().DurationVar(&since, "since", time.Hour, "begin that long ago")
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json; without it one line for people")
	return c
}

func printer(w io.Writer, output string) (func(*apiv1.Event) error, error) {
	switch output {
	case "":
		return func(e *apiv1.Event) error {
			_, err := fmt.Fprintln(w, line(e))
			return err
		}, nil
	case "json":
		return func(e *apiv1.Event) error { return printJSON(w, e) }, nil
	}
	return nil, fmt.Errorf("output %q is not known, use json; %w", output, errUsage)
}

func printJSON(w io.Writer, e *apiv1.Event) error {
	raw, err := protojson.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	var value any // protojson varies its blanks on purpose
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return json.NewEncoder(w).Encode(value)
}

// line is one event for people: time, what, about what, details, trace.
func line(e *apiv1.Event) string {
	kind := strings.TrimSuffix(strings.TrimPrefix(e.GetType(), "dev.plumb."), ".v1")
	at := e.GetTime().AsTime().Local().Format("15:04:05.000")
	text := fmt.Sprintf("%s  %-15s %-28s %s", at, cell(kind), cell(e.GetSubject()), cell(details(e.GetData().AsMap())))
	text = strings.TrimRight(text, " ")
	if trace := traceOf(e.GetTrace()); trace != "" {
		text += "  trace=" + cell(trace)
	}
	return text
}

// traceOf is the trace id of a W3C traceparent.
func traceOf(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 {
		return ""
	}
	return parts[1]
}

// shown are the fields of an event's data that its line shows, in order.
var shown = []string{
	"attempt", "reason", "result", "from", "to", "ref", "before", "after", "revision", "state", "channel", "tag",
	"duration", "unaffected", "worstObject", "errorReason", "message",
}

// lists are fields of which only the number of entries is shown.
var lists = []string{"affected", "objects", "images"}

func details(data map[string]any) string {
	var parts []string
	for _, name := range shown {
		if text := value(data[name]); text != "" {
			parts = append(parts, name+"="+text)
		}
	}
	for _, name := range lists {
		if list, ok := data[name].([]any); ok {
			parts = append(parts, name+"="+strconv.Itoa(len(list)))
		}
	}
	return strings.Join(parts, " ")
}

func value(v any) string {
	text := ""
	switch v := v.(type) {
	case string:
		text = v
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	}
	switch {
	case len(text) == 40 && strings.Trim(text, "0123456789abcdef") == "":
		return short(text)
	case strings.ContainsAny(text, " \t\n"):
		return strconv.Quote(text)
	}
	return text
}
