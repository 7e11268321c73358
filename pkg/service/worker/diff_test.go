package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func value(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// Whatever there is fits into messages, in its order and without loss but for values
// that are cut and say so.
func TestDifferencesFitIntoMessages(t *testing.T) {
	many := make([]plan.FieldChange, 5000)
	for i := range many {
		many[i] = plan.FieldChange{Path: fmt.Sprintf("data.key-%04d", i), Before: value(strings.Repeat("a", 50)), After: value(strings.Repeat("b", 50))}
	}
	nasty := strings.Repeat("\"\\<\u2028\n", 20_000)
	for sentence, c := range map[string]struct {
		diffs []plan.ObjectDiff
		cut   int32
	}{
		"many objects":     {repeat(3000, plan.ObjectDiff{Verb: plan.Prune, Why: "not in the source any more"}), 0},
		"many fields":      {[]plan.ObjectDiff{{Verb: plan.Update, Fields: many}}, 0},
		"a long value":     {[]plan.ObjectDiff{{Verb: plan.Update, Fields: []plan.FieldChange{{Path: "data.a", Before: value("x"), After: value(strings.Repeat("long", 200_000))}}}}, 1},
		"two nasty values": {[]plan.ObjectDiff{{Verb: plan.Update, Fields: []plan.FieldChange{{Path: "data.a", Before: value(nasty), After: value([]string{nasty})}}}}, 2},
		"a large object":   {[]plan.ObjectDiff{{Verb: plan.Create, Fields: []plan.FieldChange{{After: value(map[string]any{"spec": many})}}}}, 1},
		"no JSON":          {[]plan.ObjectDiff{{Verb: plan.Update, Fields: []plan.FieldChange{{Path: strings.Repeat("p.", 100_000), Before: strings.Repeat("{", 100_000)}}}}, 2},
		"a long refusal":   {[]plan.ObjectDiff{{Verb: plan.Update, Err: errors.New(strings.Repeat(nasty, 3))}}, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			for i := range c.diffs {
				c.diffs[i].ID = object.ID{Kind: "ConfigMap", Namespace: "live", Name: fmt.Sprintf("map-%d", i)}
			}
			objects, fields, cut := -1, 0, int32(0)
			for _, part := range parts(reconcile.Preview{Differences: c.diffs}) {
				raw, err := protojson.Marshal(&eventsv1.AnswerDiff{Objects: part})
				if err != nil || len(raw) > event.MaxData {
					t.Fatalf("%d bytes, %v", len(raw), err)
				}
				for _, o := range part {
					if !o.GetContinued() {
						objects++
					}
					if want := c.diffs[objects].ID.String(); o.GetId() != want {
						t.Fatalf("%s where %s should be", o.GetId(), want)
					}
					fields, cut = fields+len(o.GetFields()), cut+o.GetCut()
				}
			}
			if objects+1 != len(c.diffs) || cut != c.cut || len(c.diffs) == 1 && fields != len(c.diffs[0].Fields) {
				t.Errorf("%d objects, %d fields, %d cut", objects+1, fields, cut)
			}
		})
	}
}

func repeat(n int, d plan.ObjectDiff) []plan.ObjectDiff {
	all := make([]plan.ObjectDiff, n)
	for i := range all {
		all[i] = d
	}
	return all
}
