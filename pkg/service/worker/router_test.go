package worker

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// Nobody announces again a push that was routed, so none may be dropped here.
func TestAPushIsNotDroppedForASourceThatCannotBeReached(t *testing.T) {
	web := &v1alpha1.Application{}
	web.Namespace, web.Name = "team-a", "web"
	cases := map[string]struct {
		unfit error
		want  []route.Touched
		again bool
	}{
		"one that is refused is told so by an attempt": {
			unfit: fault.Refuse(fault.SourceRefused, fault.Place{}, "no"),
			want:  []route.Touched{{Key: app.Key{Namespace: "team-a", Name: "web"}, Why: "no"}},
		},
		"a credential that cannot be read now brings the push back": {
			unfit: fault.Retry(fault.SourceRefused, "the API server is away"), again: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := (&router{}).decide(t.Context(), &followed{unfit: c.unfit, applications: []*v1alpha1.Application{web}}, source.Freshness{})
			if (err != nil) != c.again {
				t.Errorf("error %v, want one: %v", err, c.again)
			}
			if diff := cmp.Diff(c.want, got.decision.Affected); diff != "" {
				t.Errorf("affected (-want +got):\n%s", diff)
			}
		})
	}
}
