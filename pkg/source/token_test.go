package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestTheTokenForChecks(t *testing.T) {
	kube := kubetest.Start(t)
	c, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	namespace := kube.Namespace(t)
	for name, data := range map[string]map[string]any{
		"all":    {"token": "one\n", "bearerToken": "two", "password": "three"},
		"bearer": {"bearerToken": "two", "password": "three"},
		"basic":  {"username": "someone", "password": "three"},
		"other":  {"key": "four"},
	} {
		secret := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": namespace}, "stringData": data,
		}}
		if _, err := c.As(cluster.Identity{}).Apply(t.Context(), object.New(secret, "", 0), cluster.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	store, err := git.Open(t.TempDir(), git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	p := Policy{Catalog: catalog.New(c, catalog.Options{})}
	cases := map[string]struct{ checks, source, want, says string }{
		"the key token first":               {checks: "all", want: "one"},
		"else a bearer token":               {checks: "bearer", want: "two"},
		"else a password":                   {checks: "basic", want: "three"},
		"without a Secret the source's":     {source: "basic", want: "three"},
		"its own before the source's":       {checks: "all", source: "basic", want: "one"},
		"none at all":                       {},
		"a Secret without one":              {checks: "other", says: "spec.sync.checks.secretRef: Secret " + namespace + "/other holds no token; give it the key token"},
		"a Secret that is not there":        {checks: "none", says: "spec.sync.checks.secretRef"},
		"a source's that is not there, too": {source: "none", says: "spec.source.secretRef"},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			a := application(namespace, "https://git.example.com/acme/config")
			a.Spec.Sync.Checks = &v1alpha1.RequiredChecks{Required: []string{"x"}}
			if tt.checks != "" {
				a.Spec.Sync.Checks.SecretRef = &v1alpha1.LocalReference{Name: tt.checks}
			}
			if tt.source != "" {
				a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: tt.source}
			}
			got, err := p.Token(t.Context(), a, store)
			if got != tt.want || (err == nil) != (tt.says == "") {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.says) || fault.ReasonOf(err) != fault.SourceRefused || strings.Contains(err.Error(), "four")) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPinnedIsWhatWasApplied(t *testing.T) {
	a := application("team-a", "https://git.example.com/acme/config")
	a.Spec.Source.Ref, a.Spec.Source.Semver = "", ">=1"
	a.Spec.Source.Helm = &v1alpha1.HelmSource{Chart: "redis", Version: "1.x"}
	a.Spec.Sources = []v1alpha1.NamedSource{{Name: "values", Ref: "main"}, {Name: "new", Ref: "dev"}}
	a.Status.Revision = "0123"
	a.Status.Inputs = &v1alpha1.Inputs{Sources: []v1alpha1.SourceRevision{
		{Name: "values", Revision: "4567"}, {Name: chartMount, Revision: "1.2.3@sha256:89ab"}, {Name: "charts/x", Revision: "1@sha256:c"},
	}}
	before := a.DeepCopy()
	got := Pinned(a)
	want := a.DeepCopy()
	want.Spec.Source.Ref, want.Spec.Source.Semver = "0123", ""
	want.Spec.Source.Helm.Version, want.Spec.Source.Helm.Digest = "1.2.3", "sha256:89ab"
	want.Spec.Sources[0].Ref = "4567"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, a); diff != "" {
		t.Errorf("it changed what it was given:\n%s", diff)
	}
}
