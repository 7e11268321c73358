package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

const (
	// maxPart is how large a message of an answer grows, in bytes of protojson; far
	// below what one may have (event.MaxData).
	maxPart = 128 << 10
	// maxValue is the longest value of a field, in bytes of JSON; what is longer is cut.
	// Encoded once more it may take twice as many, and a change has two.
	maxValue = 48 << 10
	// maxString is how much stays of each string of a value that is too long.
	maxString = 256
	// maxDeletions is how many deletions a summary names.
	maxDeletions = 500
)

// diff answers what the next sync of an Application would do.
func (q *answers) diff(ctx context.Context, ask *eventsv1.AskDiff, reply func(proto.Message) error) error {
	key := app.Key{Namespace: ask.GetNamespace(), Name: ask.GetName()}
	ctx, end := telemetry.Start(ctx, "ask diff")
	a, err := q.catalog.Read(ctx, key)
	switch {
	case err != nil:
		end(err)
		return err
	case a == nil || !a.DeletionTimestamp.IsZero():
		end(nil)
		return reply(&eventsv1.AnswerDiff{Error: q.noSuch("Application", key), ErrorCode: codeNotFound})
	}
	made, err := q.preview(ctx, a, reconcile.PreviewOptions{Ref: ask.GetRef(), PlanOnly: ask.GetPlanOnly(), Progress: func(step string) {
		_ = reply(&eventsv1.AnswerDiff{Stage: step}) // for show; what comes later tells whether anybody listens
	}})
	end(err)
	if err != nil {
		return reply(&eventsv1.AnswerDiff{Error: err.Error(), ErrorCode: cmp.Or(string(fault.ReasonOf(err)), codeInternal)})
	}
	if err := reply(&eventsv1.AnswerDiff{Summary: summary(a, made)}); err != nil {
		return err
	}
	for _, part := range parts(made) {
		if err := reply(&eventsv1.AnswerDiff{Objects: part}); err != nil {
			return err
		}
	}
	return nil
}

func summary(a *v1alpha1.Application, made reconcile.Preview) *eventsv1.DiffSummary {
	s := &eventsv1.DiffSummary{
		Revision: made.Revision, Applied: a.Status.Revision, Digest: made.Plan.Digest, Blocked: made.Plan.Blocked, Rendered: int32(made.Rendered),
	}
	for _, action := range made.Plan.Prune {
		switch {
		case action.Verb != plan.Prune:
		case len(s.Deletions) < maxDeletions:
			s.Deletions = append(s.Deletions, action.ID.String())
		default:
			s.Omitted++
		}
	}
	return s
}

// parts are the objects in messages that are small enough.
func parts(made reconcile.Preview) [][]*eventsv1.DiffObject {
	hooks := map[object.ID]plan.Phase{}
	for _, a := range made.Plan.Actions() {
		hooks[a.ID] = a.Hook
	}
	var all [][]*eventsv1.DiffObject
	room := 0
	for _, d := range made.Differences {
		for _, o := range pieces(d, hooks[d.ID]) {
			size := sizeOf(o)
			if size > room {
				all, room = append(all, nil), maxPart
			}
			all[len(all)-1] = append(all[len(all)-1], o)
			room -= size
		}
	}
	return all
}

// pieces is one object as often as its fields need it.
func pieces(d plan.ObjectDiff, hook plan.Phase) []*eventsv1.DiffObject {
	first := &eventsv1.DiffObject{Id: d.ID.String(), Action: d.Verb.String(), Why: d.Why}
	if hook != plan.Sync {
		first.Hook = hook.String()
	}
	if d.Err != nil {
		first.Error, _ = shortened(d.Err.Error())
	}
	all := []*eventsv1.DiffObject{first}
	room := maxPart - sizeOf(first)
	for _, f := range d.Fields {
		change := &eventsv1.FieldChange{}
		var cut [3]bool
		change.Path, cut[0] = shortened(f.Path)
		change.Before, cut[1] = shortened(f.Before)
		change.After, cut[2] = shortened(f.After)
		size := sizeOf(change)
		if size > room {
			all, room = append(all, &eventsv1.DiffObject{Id: first.Id, Action: first.Action, Hook: first.Hook, Continued: true}), maxPart
		}
		last := all[len(all)-1]
		last.Fields = append(last.Fields, change)
		for _, c := range cut {
			if c {
				last.Cut++
			}
		}
		room -= size
	}
	return all
}

// shortened cuts what is too long: the strings of a JSON value, when that will do.
func shortened(s string) (string, bool) {
	if len(s) <= maxValue {
		return s, false
	}
	var value any
	if json.Unmarshal([]byte(s), &value) == nil {
		if out, err := json.Marshal(abridged(value)); err == nil && len(out) <= maxValue {
			return string(out), true
		}
	}
	return strings.ToValidUTF8(s[:maxValue], "") + "…", true
}

func abridged(value any) any {
	switch value := value.(type) {
	case string:
		if len(value) > maxString {
			return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(value[:maxString], ""), len(value))
		}
	case map[string]any:
		for key, below := range value {
			value[key] = abridged(below)
		}
	case []any:
		for i, below := range value {
			value[i] = abridged(below)
		}
	}
	return value
}

// sizeOf is what a message takes within another.
func sizeOf(m proto.Message) int {
	encoded, err := protojson.Marshal(m)
	if err != nil {
		return maxPart // it fails again where it is sent, and is told there
	}
	return len(encoded) + 1
}

func (q *answers) noSuch(kind string, key app.Key) string {
	return "there is no " + kind + " " + key.String() + " in cluster " + q.cluster
}
