package render_test

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/object"
)

const helmHook = "helm.sh/hook"

// plain undoes what we do to the objects of a chart on purpose: it takes away the
// annotations that stand for those of Helm, which stay beside them, and the objects of
// crd-install, which are ordinary to us and unknown to Helm.
func plain(ours []object.Object) []object.Object {
	var out []object.Object
	for _, o := range ours {
		if o.Annotation(helmHook) == "crd-install" {
			continue
		}
		out = append(out, o.With(func(u *unstructured.Unstructured) {
			annotations := u.GetAnnotations()
			if annotations[helmHook] != "" {
				delete(annotations, "plumb.dev/hook")
				delete(annotations, "plumb.dev/hook-delete")
				delete(annotations, "plumb.dev/wave")
			}
			if annotations["helm.sh/resource-policy"] != "" {
				delete(annotations, "plumb.dev/prune")
			}
			if annotations != nil {
				u.SetAnnotations(annotations)
			}
		}))
	}
	return out
}

// inPhases leaves out, of what Helm prints, hooks of which no event has a phase of
// ours. Tests are not printed.
func inPhases(theirs []object.Object) []object.Object {
	var out []object.Object
	for _, o := range theirs {
		events := strings.Split(o.Annotation(helmHook), ",")
		without := func(event string) bool {
			return slices.Contains([]string{"post-delete", "pre-rollback", "post-rollback"}, strings.TrimSpace(event))
		}
		if !slices.ContainsFunc(events, func(e string) bool { return !without(e) }) {
			continue
		}
		out = append(out, o)
	}
	return out
}

func TestNormaliserUndoesNothingElse(t *testing.T) {
	of := func(annotations string) []object.Object {
		return parseOutput(t, []byte("apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: {"+annotations+"}}\n"))
	}
	for name, c := range map[string]struct{ ours, want string }{
		"a hook is Helm's again":                     {"helm.sh/hook: pre-install, plumb.dev/hook: pre-sync, plumb.dev/hook-delete: before", "helm.sh/hook: pre-install"},
		"a weight is Helm's again":                   {"helm.sh/hook: pre-install, helm.sh/hook-weight: '1', plumb.dev/wave: '1'", "helm.sh/hook: pre-install, helm.sh/hook-weight: '1'"},
		"a policy is Helm's again":                   {"helm.sh/resource-policy: keep, plumb.dev/prune: disabled", "helm.sh/resource-policy: keep"},
		"a wave of no hook stays":                    {"plumb.dev/wave: '1'", "plumb.dev/wave: '1'"},
		"a hook of ours stays":                       {"plumb.dev/hook: pre-sync", "plumb.dev/hook: pre-sync"},
		"prune beside a hook that is not kept stays": {"helm.sh/hook: pre-install, plumb.dev/prune: disabled", "helm.sh/hook: pre-install, plumb.dev/prune: disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(canonical(t, of(c.want)), canonical(t, plain(of(c.ours)))); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
	for name, c := range map[string]struct {
		events string
		kept   bool
	}{
		"an ordinary object":           {`a: b`, true},
		"a hook with a phase":          {`helm.sh/hook: pre-install`, true},
		"one without":                  {`helm.sh/hook: post-delete`, false},
		"two without":                  {`helm.sh/hook: "pre-rollback, post-delete"`, false},
		"one with and one without one": {`helm.sh/hook: "pre-install,post-delete"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			if kept := len(inPhases(of(c.events))) == 1; kept != c.kept {
				t.Errorf("kept is %t, want %t", kept, c.kept)
			}
		})
	}
	if got := plain(of(`helm.sh/hook: crd-install`)); len(got) != 0 {
		t.Errorf("crd-install is left with %d objects", len(got))
	}
}
