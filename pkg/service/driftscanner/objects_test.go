package driftscanner

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Which Applications are examined again after an object's event, given what was known.
func TestAnEventConcernsWhoOwnsTheObjectAndWhoDid(t *testing.T) {
	cases := map[string]struct {
		owners []string // of the same object, one event after the other; empty: deleted
		want   []string // who is examined after the last
	}{
		"a new object concerns its owner":                  {[]string{"team/one"}, []string{"team/one"}},
		"an unchanged one concerns nobody":                 {[]string{"team/one", "team/one"}, nil},
		"one that another took concerns who lost it, too":  {[]string{"team/one", "team/two"}, []string{"team/one", "team/two"}},
		"one that is deleted concerns who had it":          {[]string{"team/one", ""}, []string{"team/one"}},
		"one that is deleted after it was taken, its last": {[]string{"team/one", "team/two", ""}, []string{"team/two"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := &objects{
				records: records{byID: map[object.ID]record{}}, dirty: map[app.Key]bool{}, wake: make(chan struct{}, 1),
				catalog: &catalog.Catalog{},
			}
			for _, owner := range c.owners {
				o.take()
				u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
				u.SetName("both")
				u.SetAnnotations(map[string]string{v1alpha1.OwnerAnnotation: owner})
				e := cluster.WatchEvent{Type: watch.Modified, Object: u}
				if owner == "" {
					e.Type = watch.Deleted
				}
				o.see(u.GroupVersionKind(), e)
			}
			var got []string
			for _, key := range o.take() {
				got = append(got, key.String())
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
