package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

func (w *rounder) edits(l limits) {
	for range 1 + w.r.IntN(5) {
		before := map[*item]item{}
		for _, i := range w.forest.items {
			before[i] = *i
		}
		w.tell("%s", w.forest.edit(l))
		for _, i := range w.forest.items {
			if old, was := before[i]; was && old.value != i.value && i.policy == replaceText {
				w.excused[i.id()] = true
			}
		}
	}
}

func (w *rounder) plain(l limits) {
	w.edits(l)
	w.push("plain", true)
}

// twice pushes a second commit amid the sync of the first.
func (w *rounder) twice() {
	w.edits(limits{})
	between := map[string]bool{}
	for _, i := range w.forest.items {
		between[i.id()] = true
		if w.wanted[i.id()].app == "" && (i.policy == keepText || i.policy == onceText) {
			i.policy = "" // whether it came to be of this commit cannot be told
		}
	}
	w.push("first", true)
	w.pause(400)
	if w.r.IntN(3) == 0 {
		w.kill()
	}
	for _, i := range slices.Clone(w.forest.items) { // some of it was a mistake
		if w.wanted[i.id()].app == "" && w.r.IntN(2) == 0 {
			w.forest.remove(i)
			w.tell("remove %s again", i.id())
		}
	}
	w.edits(limits{})
	for _, i := range w.forest.items { // so that no Application is settled by what it had before
		i.change(w.r)
		w.excused[i.id()] = w.excused[i.id()] || !between[i.id()] || i.policy == replaceText
	}
	w.tell("change everything")
	w.push("second", true)
}

// silent pushes without a word; a sweep finds it, or the news of an older commit.
func (w *rounder) silent() {
	before := w.head
	w.edits(limits{})
	w.push("silent", false)
	if w.r.IntN(2) == 0 {
		w.tell("announce %.8s", before)
		w.Announce(w.t, w.repo, fmt.Sprintf("late-%d", w.number), before)
	}
}

// hand changes and deletes owned objects, with or without a push at the same time.
func (w *rounder) hand() {
	ids, also := slices.Sorted(maps.Keys(w.wanted)), w.r.IntN(3) == 0
	for range 1 + w.r.IntN(3) {
		id := pick(w.r, ids)
		if _, lingers := w.kept[id]; lingers || w.last[id] == nil || w.wanted[id].hook() || w.excused[id] {
			continue // nobody heals these
		}
		w.excused[id], w.drifted = true, true
		of := w.Objects.Resource(w.gvr(id)).Namespace(w.last[id].GetNamespace())
		name := w.last[id].GetName()
		var err error
		if w.r.IntN(2) == 0 || also && w.wanted[id].once { // of which commit it would be made anew cannot be told
			w.tell("change %s by hand", id)
			_, err = of.Patch(w.t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"labels":{"tier":"hand"}}}`), metav1.PatchOptions{FieldManager: "hand"})
		} else {
			w.tell("delete %s by hand", id)
			err = of.Delete(w.t.Context(), name, metav1.DeleteOptions{})
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if also {
		w.plain(limits{})
	}
}

// impostor replaces an object by another one of its name and marks, as kubectl replace
// --force does, just before Git drops it: then it is nobody's, and stays.
func (w *rounder) impostor() {
	of := slices.DeleteFunc(slices.Clone(w.forest.items), func(i *item) bool {
		return !i.quiet || !i.mobile() || i.policy != "" || w.last[i.id()] == nil
	})
	i := pick(w.r, of)
	w.worker.Kill()
	u := w.last[i.id()].DeepCopy()
	objects := w.Objects.Resource(i.gvr()).Namespace(u.GetNamespace())
	if err := objects.Delete(w.t.Context(), u.GetName(), metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	u.SetResourceVersion("")
	u.SetUID("")
	u.SetManagedFields(nil)
	u, err := objects.Create(w.t.Context(), u, metav1.CreateOptions{FieldManager: "another"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.foreign[string(u.GetUID())] = u.GetResourceVersion()
	w.forest.items = slices.DeleteFunc(w.forest.items, func(o *item) bool { return o == i })
	w.tell("replace %s by hand", i.id())
	w.push("without it", true)
	w.worker = w.Start(w.t, stack.Options{})
}

// kill ends the worker at a random moment of the sync; another one takes over, which
// may have been there before.
func (w *rounder) kill() {
	early := w.r.IntN(2) == 0
	var heir *stack.Process
	if early {
		heir = w.Start(w.t, stack.Options{})
	}
	w.pause(int(killWithin / time.Millisecond))
	w.kills++
	w.worker.Kill()
	for _, name := range w.forest.apps {
		a := w.Get(w.t, w.keys[name])
		if a.Status.LastAttempt != nil && a.Status.LastAttempt.Result == v1alpha1.ResultRunning {
			w.hits++
			w.tell("kill the worker amid attempt %d of %s", a.Status.LastAttempt.Number, name)
			break
		}
	}
	w.tell("kill the worker")
	if !early {
		heir = w.Start(w.t, stack.Options{})
	}
	w.worker = heir
}

// pause waits for a random moment, which is what the test is about.
func (w *rounder) pause(most int) {
	timer := time.NewTimer(time.Duration(w.r.IntN(most)) * time.Millisecond)
	defer timer.Stop()
	<-timer.C
}

// commit pushes what the tree has become, and what breaks it.
func (w *rounder) commit() {
	w.t.Helper()
	files := w.forest.files()
	if w.break_ != nil {
		w.break_.spoil(files)
	}
	changes := map[string]string{}
	for name := range w.pushed {
		if _, stays := files[name]; !stays {
			changes[name] = ""
		}
	}
	for name, text := range files {
		if w.pushed[name] != text {
			changes[name] = text
		}
	}
	w.pushed = files
	w.head = w.PushSilently(w.t, w.repo, changes)
}

func (w *rounder) push(what string, announced bool) {
	w.t.Helper()
	w.commit()
	w.tell("push %s %.8s", what, w.head)
	if announced {
		w.Announce(w.t, w.repo, "delivery-"+w.head, w.head)
	}
}
