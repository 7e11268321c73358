package driftscanner

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// liveWith is an object of which Plumb owns fields.
func liveWith(owned string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": "team-a", "name": "web", "uid": "u"}, "data": map[string]any{"a": "1", "b": "2"}}}
	u.SetAnnotations(map[string]string{v1alpha1.OwnerAnnotation: "team-a/web"})
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "plumb", Operation: "Apply", APIVersion: "v1", FieldsV1: metav1.NewFieldsV1(owned)}})
	return u
}

func TestWhatIsIgnoredIsNoDrift(t *testing.T) {
	ignoring := func(generation int64, paths ...string) *v1alpha1.Application {
		a := application(v1alpha1.ResultSucceeded)
		a.Generation = generation
		if len(paths) > 0 {
			a.Spec.Ignore = []v1alpha1.IgnoreRule{{Kind: "ConfigMap", Paths: paths}}
		}
		return a
	}
	const whole, lostB = `{"f:data":{"f:a":{},"f:b":{}}}`, `{"f:data":{"f:a":{}}}`
	cases := map[string]struct {
		applied, now *v1alpha1.Application
		live         *unstructured.Unstructured
		want         string
	}{
		"a lost field":                      {ignoring(1), ignoring(1), liveWith(lostB), changed},
		"a lost field that is ignored":      {ignoring(1, "/data/b"), ignoring(1, "/data/b"), liveWith(lostB), ""},
		"another one than what is ignored":  {ignoring(1, "/data/a"), ignoring(1, "/data/a"), liveWith(lostB), changed},
		"a rule that came afterwards":       {ignoring(1), ignoring(2, "/data/b"), liveWith(lostB), ""},
		"a rule that went":                  {ignoring(1, "/data/b"), ignoring(2), liveWith(lostB), ""},
		"all that is Plumb's is lost":       {ignoring(1, "/data/b"), ignoring(1, "/data/b"), liveWith(`{}`), changed},
		"an object that is gone":            {ignoring(1, "/data/b"), ignoring(1, "/data/b"), nil, deleted},
		"rules that the worker will refuse": {ignoring(1), ignoring(1, "/kind"), liveWith(lostB), changed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var before ignored
			entry := inventory.Entry{ID: web, Version: "v1", UID: "u", Digest: "d", Fields: before.of(c.applied).Fields(liveWith(whole))}
			o := &objects{records: records{byID: map[object.ID]record{}}}
			if got := o.certain(c.now, entry, c.live); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if known, is := o.records.get(web); c.live != nil && (!is || known.fields != o.ignored.of(c.now).Fields(c.live)) {
				t.Errorf("the record is %+v: it would be suspected again", known)
			}
		})
	}
}

func TestRulesAreThoseOfTheGeneration(t *testing.T) {
	var i ignored
	a := application(v1alpha1.ResultSucceeded)
	a.Generation, a.Spec.Ignore = 1, []v1alpha1.IgnoreRule{{Kind: "ConfigMap", Paths: []string{"/data/a"}}}
	first := i.of(a)
	a.Generation, a.Spec.Ignore = 2, []v1alpha1.IgnoreRule{{Kind: "Service", Paths: []string{"/spec"}}}
	if !first.Match(web) || i.of(a).Match(web) {
		t.Error("the rules do not follow the spec")
	}
}
