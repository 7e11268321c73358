package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// breakage is a commit that one Application cannot be synced at.
type breakage struct {
	name, app, reason string
	half              bool // the API server refuses one object, others are applied
	copied            *item
	spoil             func(files map[string]string)
}

// breakages are the ways to break an Application; each is refused with its reason.
func (w *rounder) breakages(name string) []*breakage {
	add := func(text string) func(map[string]string) {
		return func(files map[string]string) { files[name+"/broken.yaml"] = text }
	}
	f := w.forest
	own := pick(w.r, slices.DeleteFunc(slices.Clone(f.items), func(i *item) bool { return i.app != name }))
	other := pick(w.r, slices.DeleteFunc(slices.Clone(f.items), func(i *item) bool { // what is new in this commit would be of either
		return i.app == name || !i.mobile() || w.last[i.id()] == nil
	}))
	return []*breakage{
		{name: "bad YAML", reason: "RenderFailed", spoil: add("kind: [\n")},
		{name: "an unknown field", reason: "RenderFailed", spoil: add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: broken}\ndada: {a: b}\n")},
		{name: "an annotation that means nothing", reason: "RenderFailed", spoil: add(annotated("broken", "x", `plumb.dev/wave: soon`))},
		{name: "an object twice", reason: "RenderFailed", spoil: add(own.manifest(f.homes[name]))},
		{name: "nothing at all", reason: "RenderFailed", spoil: func(files map[string]string) {
			maps.DeleteFunc(files, func(file, _ string) bool { return strings.HasPrefix(file, name+"/") && !strings.HasSuffix(file, ".md") })
		}},
		{name: "a Service that only the API server refuses", reason: "ApplyFailed", half: true,
			spoil: add("apiVersion: v1\nkind: Service\nmetadata: {name: broken}\nspec: {clusterIP: 999.1.1.1, ports: [{port: 80}]}\n")},
		{name: "an object of " + other.app, reason: "OwnershipConflict", copied: other, spoil: add(other.manifest(""))},
	}
}

// broken pushes a commit that breaks one Application, with edits beside.
func (w *rounder) broken() {
	name := pick(w.r, w.forest.apps)
	w.edits(limits{stays: true, changes: name})
	w.break_ = pick(w.r, w.breakages(name))
	w.break_.app = name
	w.tell("break %s with %s", name, w.break_.name)
	if i := w.break_.copied; i != nil {
		w.claims[i.id()] = w.keys[name].String()
		w.excused[i.id()] = true
	}
	w.push("broken", true)
	w.mended = true
}

// expect is what has to be in the cluster now.
func (w *rounder) expect() wants {
	now, all := map[string]wants{}, wants{}
	for _, name := range w.forest.apps {
		now[name] = w.good[name]
		if w.break_ == nil || w.break_.app != name {
			now[name] = read(w.t, w.repo.Work, name, w.forest.homes[name])
		}
		maps.Copy(all, now[name])
	}
	for _, old := range w.good {
		for id, o := range old {
			if _, rendered := all[id]; !rendered && o.is(keepText) {
				w.kept[id] = o
			}
		}
	}
	for id, o := range w.kept {
		if _, rendered := all[id]; rendered {
			delete(w.kept, id)
			continue
		}
		all[id] = o
	}
	if b := w.break_; b != nil && b.half {
		w.half(all, read(w.t, w.repo.Work, b.app, w.forest.homes[b.app]))
	}
	w.good = now
	return all
}

// half lets what is changed be as it was or as it should be.
func (w *rounder) half(all, changed wants) {
	for id, next := range changed {
		if old, was := all[id]; was {
			old.any = append(slices.Clone(old.any), next.any...)
			all[id] = old
			w.excused[id] = true
		}
	}
}

// pins makes what was made once wanted as it is: as it was when it was made.
func (w *rounder) pins(all wants, there live) {
	for id, o := range all {
		u, old := there[id], w.last[id]
		switch {
		case !o.once || u == nil, old == nil || old.GetUID() != u.GetUID():
			// Its content must be that of the files, now.
		default:
			labels := old.GetLabels()
			if w.excused[id] {
				labels = u.GetLabels()
			}
			o.any = []map[string]any{madeOnce(old.Object, labels)}
			all[id] = o
		}
	}
}

func madeOnce(o map[string]any, labels map[string]string) map[string]any {
	metadata := map[string]any{"labels": map[string]any{}}
	for k, v := range labels {
		metadata["labels"].(map[string]any)[k] = v
	}
	metadata["annotations"] = map[string]any{"plumb.dev/apply": "if-absent"}
	return map[string]any{"data": o["data"], "metadata": metadata}
}

// settle waits until every Application is where the commit wants it.
func (w *rounder) settle() {
	w.t.Helper()
	w.Eventually(w.t, fmt.Sprintf("round %d is settled: %s", w.number, strings.Join(w.story, "\n")), func() error {
		var wrong []error
		for _, name := range w.forest.apps {
			if err := w.settled(name); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
			}
		}
		return errors.Join(wrong...)
	})
	if w.cut != "" && w.blocked[w.cut] == "" {
		w.failf("most of %s was deleted without a question", w.cut)
	}
}

func (w *rounder) settled(name string) error {
	a := w.Get(w.t, w.keys[name])
	ready := stack.Condition(a, v1alpha1.ConditionReady)
	if b := w.break_; b != nil && b.app == name {
		if ready.Status != metav1.ConditionFalse || ready.Reason != b.reason || a.Status.LastAttempt.Revision != w.head {
			return fmt.Errorf("want a failure with %s at %.8s; status %+v", b.reason, w.head, a.Status.LastAttempt)
		}
		return nil
	}
	if err := stack.Ready(a); err != nil {
		w.confirm(name, a)
		return fmt.Errorf("%w; status %+v", err, a.Status.LastAttempt)
	}
	for _, o := range a.Status.LastAttempt.Objects {
		if strings.Contains(o.Message, "may take it over") {
			return fmt.Errorf("%s: %s", o.ID, o.Message)
		}
	}
	applied, wanted := w.treeOf(a.Status.Revision, name), w.treeOf(w.head, name)
	if applied != wanted {
		return fmt.Errorf("revision %s has another tree than %.8s; status %+v", a.Status.Revision, w.head, a.Status.LastAttempt)
	}
	return nil
}

// treeOf is the hash of an Application's directory in a commit.
func (w *rounder) treeOf(commit, name string) string {
	w.t.Helper()
	hash, err := w.repo.Git(w.t.Context(), "rev-parse", commit+":"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	return hash
}

// confirm answers the question whether so much may be deleted. Until then everything is there.
func (w *rounder) confirm(name string, a *v1alpha1.Application) {
	ready := stack.Condition(a, v1alpha1.ConditionReady)
	_, digest, asks := strings.Cut(ready.Message, v1alpha1.ConfirmPruneAnnotation+"=")
	if ready.Reason != "PruneBlocked" || !asks || w.blocked[name] == digest {
		return
	}
	w.tell("confirm %s of %s: %s", digest, name, ready.Message)
	there := look(w.t, w.Stack, w.forest.names)
	for id, o := range w.good[name] {
		if before := w.last[id]; before != nil && !o.hook() && !w.excused[id] && w.blocked[name] == "" && there[id] == nil {
			w.failf("%s is gone before anybody confirmed it", id)
		}
	}
	w.blocked[name] = digest
	w.Patch(w.t, w.keys[name], fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ConfirmPruneAnnotation, digest))
}

func (w *rounder) gvr(id string) schema.GroupVersionResource { return w.kindOf(id).gvr() }

// still says whether only Plumb writes to such an object.
func (w *rounder) still(id string) bool { return w.kindOf(id).quiet }

func (w *rounder) kindOf(id string) kind {
	part := strings.Split(id, "/")
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.gvk.Group == part[0] && k.gvk.Kind == part[1] })]
}
