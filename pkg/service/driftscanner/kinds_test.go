package driftscanner

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// owner is an Application whose inventory has an object of each kind.
func owner(name string, kinds ...string) *v1alpha1.Application {
	a := application(v1alpha1.ResultSucceeded)
	a.Name = name
	a.Status.Inventory = &v1alpha1.Inventory{}
	for _, kind := range kinds {
		a.Status.Inventory.Entries = append(a.Status.Inventory.Entries, v1alpha1.InventoryEntry{ID: "/" + kind + "/team-a/" + name, Version: "v1"})
	}
	return a
}

func TestKindsFollowWhatMoved(t *testing.T) {
	all := map[app.Key]*v1alpha1.Application{}
	put := func(a *v1alpha1.Application) { all[a.Key()] = a }
	reads := 0
	get := func(key app.Key) (*v1alpha1.Application, bool) { reads++; a, found := all[key]; return a, found }
	web, api := owner("web").Key(), owner("api").Key()
	k := newKinds()
	steps := []struct {
		name  string
		do    func()
		want  string // the kinds; empty: no answer
		reads int    // of Applications
	}{
		{name: "nothing at the start", do: func() {}},
		{name: "what two own", want: "Secret Service", reads: 2, do: func() {
			put(owner("web", "Service"))
			put(owner("api", "Service", "Secret"))
			k.note(web)
			k.note(api)
		}},
		{name: "no answer while nothing moves", do: func() {}},
		{name: "only the one that moved is read", want: "ConfigMap Secret Service", reads: 1, do: func() { put(owner("web", "ConfigMap")); k.note(web) }},
		{name: "a kind stays while another owns it", want: "ConfigMap Service", reads: 1, do: func() { put(owner("api", "Service")); k.note(api) }},
		{name: "all without a move when asked to", want: "ConfigMap Service", do: func() { k.repeat() }},
		{name: "nothing of one that is gone", want: "ConfigMap", reads: 1, do: func() { delete(all, api); k.note(api) }},
		{name: "nothing of one whose inventory cannot be read", want: "none", reads: 1, do: func() {
			broken := owner("web", "ConfigMap")
			broken.Status.Inventory.Entries[0].ID = "no id"
			put(broken)
			k.note(web)
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			reads = 0
			step.do()
			wanted, changed := k.look(get)
			if diff := cmp.Diff(step.want, told(wanted, changed)); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
			if reads != step.reads {
				t.Errorf("%d Applications were read, want %d", reads, step.reads)
			}
		})
	}
}

func told(kinds map[schema.GroupVersionKind]bool, changed bool) string {
	if !changed {
		return ""
	}
	var names []string
	for kind := range kinds {
		names = append(names, kind.Kind)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(slices.Values(names)), " ")
}
