package route

import (
	"fmt"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// A push to the repository of a thousand Applications that touches one of them.
func BenchmarkDecideAThousand(b *testing.B) {
	const count = 1000
	files := map[string]tree.File{}
	for i := range count {
		for f := range 4 {
			files[fmt.Sprintf("apps/app%04d/%d.yaml", i, f)] = tree.File{Data: fmt.Appendf(nil, "kind: ConfigMap # %d of %d\n", f, i)}
		}
	}
	at := func(change string) *tree.Memory {
		files["apps/app0007/0.yaml"] = tree.File{Data: []byte(change)}
		m, err := tree.FromFiles(files)
		if err != nil {
			b.Fatal(err)
		}
		return m
	}
	was, now := at("one"), at("two")
	var applications []*v1alpha1.Application
	for i := range count {
		a := &v1alpha1.Application{}
		a.Namespace, a.Name = "team", fmt.Sprintf("app%04d", i)
		a.Spec.Source.Path = "apps/" + a.Name
		digest, err := was.Digest(a.Spec.Source.Path, nil)
		if err != nil {
			b.Fatal(err)
		}
		a.Status.LastAttempt = &v1alpha1.LastAttempt{Number: 1, Result: v1alpha1.ResultSucceeded, Revision: "one"}
		a.Status.Inputs = &v1alpha1.Inputs{Digest: digest}
		applications = append(applications, a)
	}
	b.ReportAllocs()
	for b.Loop() {
		if d := Decide(Commit{SHA: "two", Tree: now}, applications); len(d.Affected) != 1 {
			b.Fatalf("%d are affected", len(d.Affected))
		}
	}
}
