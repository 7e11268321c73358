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
	"unaffected", "worstObject", "errorReason", "message",
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
	parts = append(parts, durations(data)...)
	for _, name := range lists {
		if list, ok := data[name].([]any); ok {
			parts = append(parts, name+"="+strconv.Itoa(len(list)))
			parts = append(parts, drift(list)...)
		}
	}
	return strings.Join(parts, " ")
}

// durations are how long an attempt took, and its stages that took any time.
func durations(data map[string]any) []string {
	var parts, stages []string
	if took := rounded(data["duration"]); took != "" {
		parts = append(parts, "duration="+took)
	}
	list, _ := data["stages"].([]any)
	for _, item := range list {
		stage, _ := item.(map[string]any)
		if took := rounded(stage["duration"]); took != "" && took != "0s" {
			stages = append(stages, fmt.Sprintf("%s:%s", cell(fmt.Sprint(stage["name"])), took))
		}
	}
	if len(stages) > 0 {
		parts = append(parts, "stages="+strings.Join(stages, ","))
	}
	return parts
}

// rounded is a duration of protojson to the millisecond; empty when v is none.
func rounded(v any) string {
	text, _ := v.(string)
	d, err := time.ParseDuration(text)
	if err != nil {
		return ""
	}
	return d.Round(time.Millisecond).String()
}

// maxDrift is how many drifted objects a line shows.
const maxDrift = 3

// drift shows drifted objects with their fields; other lists give nothing.
func drift(list []any) []string {
	var parts []string
	for _, item := range list[:min(len(list), maxDrift)] {
		o, _ := item.(map[string]any)
		kind, _ := o["kind"].(string)
		if kind == "" {
			continue
		}
		parts = append(parts, cell(kind)+"="+value(o["id"]))
		fields, _ := o["fields"].([]any)
		for _, item := range fields[:min(len(fields), maxDrift)] {
			f, _ := item.(map[string]any)
			parts = append(parts, fmt.Sprintf("%s=%q", f["path"], fmt.Sprintf("%v -> %v", f["before"], f["after"])))
		}
		if manager := value(o["manager"]); manager != "" {
			parts = append(parts, "by="+manager)
		}
	}
	return parts
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
