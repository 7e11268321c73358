package cli_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/cli"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// answers answers a question with messages, as a cluster's worker does.
func (w *world) answers(t *testing.T, question string, req proto.Message, messages func(proto.Message) []proto.Message) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.bus.Answer(ctx, "local", question, req, func(_ context.Context, req proto.Message, reply func(proto.Message) error) error {
			for _, m := range messages(req) {
				if err := reply(m); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

func (w *world) diffs(t *testing.T, messages ...*eventsv1.AnswerDiff) {
	w.put(t, web("local"))
	w.answers(t, "diff", &eventsv1.AskDiff{}, func(proto.Message) []proto.Message {
		var all []proto.Message
		for _, m := range messages {
			all = append(all, m)
		}
		return all
	})
}

// patient repeats a command until somebody answers.
func (w *world) patient(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	for {
		code, out, errs = plumb(t, w.env, "", args...)
		if !strings.Contains(errs, "no worker is there") {
			return code, out, errs
		}
	}
}

func field(path, before, after string) *eventsv1.FieldChange {
	return &eventsv1.FieldChange{Path: path, Before: before, After: after}
}

var planned = &eventsv1.DiffSummary{Revision: "89abcdef0123456789abcdef0123456789abcdef", Applied: "0123456789abcdef0123456789abcdef01234567"}

const longText = `"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"`

func TestDiffIsShownByObjectAndField(t *testing.T) {
	w := start(t)
	w.diffs(t,
		&eventsv1.AnswerDiff{Stage: "fetch"}, &eventsv1.AnswerDiff{Stage: "render"},
		&eventsv1.AnswerDiff{Summary: proto.CloneOf(planned)},
		&eventsv1.AnswerDiff{Objects: []*eventsv1.DiffObject{
			{Id: "apps/Deployment/live/web", Action: "update", Why: "changed in the source", Fields: []*eventsv1.FieldChange{
				field("spec.replicas", "1", "2"), field("metadata.labels.tier", "", `"front"`), field("data.n", `"1"`, "1"),
			}},
			{Id: "/ConfigMap/live/web", Action: "update", Why: "changed in the source", Fields: []*eventsv1.FieldChange{
				field("data.text", longText, strings.ReplaceAll(longText, "e", "E")),
			}},
		}},
		&eventsv1.AnswerDiff{Objects: []*eventsv1.DiffObject{
			{Id: "/ConfigMap/live/web", Action: "update", Continued: true, Cut: 1, Fields: []*eventsv1.FieldChange{field("data.x", `"\u001b[31mred"`, `""`)}},
			{Id: "/Secret/live/web", Action: "update", Why: "changed in the source", Fields: []*eventsv1.FieldChange{field("data.token", `"(redacted)"`, `"(redacted)"`)}},
			{Id: "batch/Job/live/migrate", Action: "create", Hook: "pre-sync", Why: "runs before the sync", Fields: []*eventsv1.FieldChange{field("", "", `{"kind":"Job","spec":{"size":1}}`)}},
			{Id: "/ConfigMap/live/old", Action: "prune", Why: "not in the source any more"},
			{Id: "/ConfigMap/live/hand", Action: "leave", Why: "drifted", Fields: []*eventsv1.FieldChange{field("data.a", `"9"`, `"1"`)}},
		}},
	)
	code, out, errs := w.patient(t, "diff", "team-a/web")
	want := `update Deployment live/web: changed in the source
@@ spec.replicas @@
- 1
+ 2
@@ metadata.labels.tier @@
+ front
@@ data.n @@
- "1"
+ 1

update ConfigMap live/web: changed in the source
@@ data.text @@
  b
  c
  d
- e
+ E
  f
  g
  h
@@ data.x @@
- ?[31mred
+ ""
@@ 1 of these values are cut, they are too large @@

update Secret live/web: changed in the source
@@ data.token @@
- (redacted)
+ (redacted)

run pre-sync hook Job live/migrate: runs before the sync
+ kind: Job
+ spec:
+   size: 1

delete ConfigMap live/old: not in the source any more

leave as it is ConfigMap live/hand: drifted
@@ data.a @@
- 9
+ 1

team-a/web at 89abcdef, applied is 01234567: 3 to update, 1 to delete, 1 to run as hooks
`
	if diff := cmp.Diff(want, out); diff != "" || code != 0 {
		t.Errorf("exit code %d, %s\n%s", code, errs, diff)
	}
	if code, _, _ := w.patient(t, "diff", "team-a/web", "--exit-code"); code != 1 {
		t.Errorf("--exit-code gives %d", code)
	}
	w.machines(t)
}

// machines read the same, every object once.
func (w *world) machines(t *testing.T) {
	for _, output := range []string{"json", "yaml"} {
		_, out, errs := w.patient(t, "diff", "team-a/web", "-o", output)
		var read struct {
			Summary struct{ Revision string }
			Objects []struct {
				ID, Action string
				Fields     []any
			}
		}
		if err := yaml.Unmarshal([]byte(out), &read); err != nil || len(read.Objects) != 6 || len(read.Objects[1].Fields) != 2 || read.Summary.Revision == "" {
			t.Errorf("%s: %v %s\n%s", output, err, errs, out)
		}
	}
}

func TestDiffEndsAsGitDiffDoes(t *testing.T) {
	change := &eventsv1.DiffObject{Id: "/ConfigMap/live/web", Action: "update", Why: "changed", Fields: []*eventsv1.FieldChange{field("data.a", "1", "2")}}
	refused := &eventsv1.DiffObject{Id: "/ConfigMap/live/web", Action: "update", Why: "changed", Error: "spec.x: is immutable"}
	left := &eventsv1.DiffObject{Id: "/ConfigMap/live/web", Action: "leave", Why: "drifted"}
	blocked := proto.CloneOf(planned)
	blocked.Blocked, blocked.Digest = "would delete 5 of 6 objects", "0123456789abcdef"
	for sentence, c := range map[string]struct {
		summary *eventsv1.DiffSummary
		objects []*eventsv1.DiffObject
		refusal string
		args    []string
		code    int
		want    string
	}{
		"0 without changes":              {planned, nil, "", []string{"--exit-code"}, 0, "a sync would change nothing"},
		"0 with what is only told":       {planned, []*eventsv1.DiffObject{left}, "", []string{"--exit-code"}, 0, "a sync would change nothing"},
		"0 with changes":                 {planned, []*eventsv1.DiffObject{change}, "", nil, 0, "1 to update"},
		"1 with changes, when asked":     {planned, []*eventsv1.DiffObject{change}, "", []string{"--exit-code"}, 1, "1 to update"},
		"2 with what would fail":         {planned, []*eventsv1.DiffObject{refused}, "", nil, 2, "! spec.x: is immutable"},
		"2 when it is refused":           {nil, nil, "web.yaml:3: no kind", nil, 2, "plumb: web.yaml:3: no kind"},
		"2 without a summary":            {nil, []*eventsv1.DiffObject{change}, "", nil, 2, "has no summary"},
		"2 for a short commit":           {planned, nil, "", []string{"--revision", "89abcdef"}, 2, "is no full commit SHA"},
		"2 for two revisions":            {planned, nil, "", []string{"--revision", "x", "--ref", "y"}, 2, "not both"},
		"2 for an output that is no one": {planned, nil, "", []string{"-o", "xml"}, 2, "use text, json or yaml"},
		"0 when it waits":                {blocked, []*eventsv1.DiffObject{change}, "", nil, 0, "plumb confirm team-a/web 0123456789abcdef"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := start(t)
			w.diffs(t, &eventsv1.AnswerDiff{Summary: c.summary, Objects: c.objects, Error: c.refusal})
			code, out, errs := w.patient(t, append([]string{"diff", "team-a/web"}, c.args...)...)
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit code %d, want %d; %q is not in:\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}

func TestDiffIsColouredForPeopleOnly(t *testing.T) {
	w := start(t)
	w.diffs(t, &eventsv1.AnswerDiff{Summary: proto.CloneOf(planned)})
	w.patient(t, "diff", "team-a/web")
	for sentence, c := range map[string]struct {
		terminal bool
		noColor  string
		want     bool
	}{
		"on a terminal": {true, "", true}, "not to a file": {false, "", false}, "not when it is not wanted": {true, "1", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			var out strings.Builder
			cli.Main([]string{"diff", "team-a/web"}, cli.Env{
				In: strings.NewReader(""), Out: &out, Err: os.Stderr, Terminal: func(any) bool { return c.terminal },
				Getenv: func(k string) string {
					if k == "NO_COLOR" {
						return c.noColor
					}
					return w.env[k]
				},
			})
			if got := strings.Contains(out.String(), "\x1b["); got != c.want {
				t.Errorf("%q", out.String())
			}
		})
	}
}
