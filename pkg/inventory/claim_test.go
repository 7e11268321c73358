package inventory_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
)

const uid = types.UID("1b4e28ba-2fa1-11d2-883f-0016d3cca427")

func claimed(value string, status v1alpha1.ApplicationStatus) *v1alpha1.Application {
	return &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{UID: uid, Annotations: map[string]string{v1alpha1.FirstClaimAnnotation: value}},
		Status:     status,
	}
}

func TestWhatAnApplicationOwns(t *testing.T) {
	const good = `{"uid":"` + string(uid) + `","objects":[{"id":"/ConfigMap/web/a","version":"v1"}]}`
	claim := []inventory.Entry{{ID: id("a"), Version: "v1"}}
	cases := map[string]struct {
		in   *v1alpha1.Application
		want []inventory.Entry
		err  string
	}{
		"nothing without status and claim":     {in: &v1alpha1.Application{}},
		"what the first sync claimed":          {in: claimed(good, v1alpha1.ApplicationStatus{}), want: claim},
		"also while the status says only why":  {in: claimed(good, v1alpha1.ApplicationStatus{ObservedGeneration: 1}), want: claim},
		"no more once the status has an empty": {in: claimed(good, v1alpha1.ApplicationStatus{Inventory: status()})},
		"what the status says, not the claim": {
			in:   claimed(good, v1alpha1.ApplicationStatus{Inventory: status(v1alpha1.InventoryEntry{ID: "/ConfigMap/web/b", Version: "v1"})}),
			want: []inventory.Entry{{ID: id("b"), Version: "v1"}},
		},
		"nothing when a person removed the inventory of what was applied": {in: claimed(good, v1alpha1.ApplicationStatus{Revision: "abc"})},
		"nothing that another Application claimed":                        {in: claimed(strings.Replace(good, "1b4e", "ffff", 1), v1alpha1.ApplicationStatus{})},
		"but never that a claimed object is known": {
			in: claimed(`{"uid":"`+string(uid)+`","objects":[{"id":"/ConfigMap/web/a","version":"v1","uid":"forged","digest":"forged","fields":"forged"}]}`,
				v1alpha1.ApplicationStatus{}),
			want: claim,
		},
		"a broken status whatever was claimed":   {in: claimed(good, v1alpha1.ApplicationStatus{Inventory: &v1alpha1.Inventory{Foreign: []byte("7")}}), err: "read status.inventory"},
		"a claim that is no JSON":                {in: claimed(`web`, v1alpha1.ApplicationStatus{}), err: "read the annotation plumb.dev/first-claim: invalid character"},
		"a claim with more behind it":            {in: claimed(good+"{}", v1alpha1.ApplicationStatus{}), err: "more follows"},
		"a claim with a field that is not known": {in: claimed(`{"uid":"1","names":[]}`, v1alpha1.ApplicationStatus{}), err: `unknown field "names"`},
		"a claim of nobody":                      {in: claimed(`{"objects":[]}`, v1alpha1.ApplicationStatus{}), err: "uid: is missing"},
		"a claim of what is no object":           {in: claimed(`{"uid":"1","objects":[{"id":"a","version":"v1"}]}`, v1alpha1.ApplicationStatus{}), err: `"a"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := inventory.Of(c.in)
			if c.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got.Entries()); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "adopted then") {
				t.Fatalf("got %v, want %q and what to do", err, c.err)
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.PruneBlocked {
				t.Errorf("is %s, %s", class, fault.ReasonOf(err))
			}
		})
	}
}

func FuzzFirstClaim(f *testing.F) {
	f.Add(`{"uid":"` + string(uid) + `","objects":[{"id":"/ConfigMap/web/a","version":"v1"}]}`)
	f.Add(`{"uid":"` + string(uid) + `","objects":[{"id":"rbac.authorization.k8s.io/ClusterRole//a b@\"c\"","version":"v1","uid":"u"}]}`)
	f.Add(`{"uid":"","objects":null} []`)
	f.Fuzz(func(t *testing.T, value string) {
		a := claimed(value, v1alpha1.ApplicationStatus{})
		read, err := inventory.Of(a)
		if err != nil {
			return
		}
		for _, e := range read.Entries() {
			if e.Settled() || e.UID != "" {
				t.Fatalf("a claim passes for what was applied: %+v", e)
			}
		}
		again, err := inventory.FirstClaim(a, read)
		if err != nil {
			t.Fatal(err)
		}
		back, err := inventory.Of(claimed(again, v1alpha1.ApplicationStatus{}))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(read.Entries(), back.Entries()); diff != "" {
			t.Error(diff)
		}
	})
}
