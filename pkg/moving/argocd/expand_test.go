package argocd_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/generate"
	"github.com/plumb-gitops/plumb/pkg/moving/argocd"
	"github.com/plumb-gitops/plumb/pkg/moving/movingtest"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// The templates of sets mean the same here: what each set of the golden files makes,
// as name, path and namespace.
func TestSetsExpandToWhatArgoCDMakes(t *testing.T) {
	want := map[string][]string{
		"dirs":           {"web apps/web shop"},
		"files":          {"big-cluster config/eu team"},
		"plain-clusters": {"eu-1-x x/z1/eu-1 shop"},
	}
	files := map[string]tree.File{
		"apps/web/a.yaml": {}, "apps/old/a.yaml": {}, "addons/eu/dns/a.yaml": {},
		"config/eu/config.json": {Data: []byte(`{"cluster": {"name": "Big-Cluster", "x": "a-b"}, "env": "", "ns": {"name": "team"}}`)},
	}
	repo, err := tree.FromFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, c := range movingtest.Cases(t, "testdata") {
		for _, made := range argocd.Convert(c.Objects, c.Options).Objects {
			set := &v1alpha1.ApplicationSet{}
			raw, err := json.Marshal(made)
			if err != nil || made["kind"] != "ApplicationSet" {
				continue
			}
			if err := json.Unmarshal(raw, set); err != nil || want[set.Name] == nil {
				continue
			}
			r, err := generate.Expand(t.Context(), generate.Input{
				Set: set, Cluster: generate.Cluster{Name: "EU_1", Labels: map[string]string{"env": "prod", "region": "eu", "example.com/zone": "z1"}},
				Read: func(context.Context, generate.Source) (generate.Tree, string, error) { return repo, "1", nil },
			})
			if err != nil {
				t.Errorf("%s: %v", set.Name, err)
			}
			for _, a := range r.Applications {
				got[set.Name] = append(got[set.Name], summary(a.Object.Object))
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func summary(o map[string]any) string {
	field := func(in any, name string) any { m, _ := in.(map[string]any); return m[name] }
	text := func(v any) string { s, _ := v.(string); return s }
	spec := o["spec"]
	return text(field(o["metadata"], "name")) + " " + text(field(field(spec, "source"), "path")) + " " + text(field(field(spec, "destination"), "namespace"))
}
