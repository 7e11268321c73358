package plan_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

func TestDiff(t *testing.T) {
	text, err := os.ReadFile("testdata/diff.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		Desired, Live map[string]any
		Want          []plan.FieldChange
	}
	if err := yaml.UnmarshalStrict(text, &cases); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.Desired["apiVersion"], c.Live["apiVersion"] = "v1", "v1"
			desired := object.New(&unstructured.Unstructured{Object: c.Desired}, "", 0)
			got := plan.Diff(desired, &unstructured.Unstructured{Object: c.Live})
			if diff := cmp.Diff(c.Want, got); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	tests := map[string]struct {
		scenario
		fresh bool
		want  string
	}{
		"settled objects need no look": {
			scenario: scenario{Desired: []string{"ConfigMap a=1", "ConfigMap b=2"}, Inventory: []string{"ConfigMap a=1 uid:1", "ConfigMap b=1 uid:2"}},
		},
		"new ones, claims, and unsettled ones do": {
			scenario: scenario{Desired: []string{"ConfigMap new=1", "ConfigMap claim=1", "ConfigMap torn=1", "ConfigMap a=1"},
				Inventory: []string{"ConfigMap claim", "ConfigMap torn uid:1", "ConfigMap a=1 uid:1"}},
			want: "ConfigMap web/claim v1, ConfigMap web/new v1, ConfigMap web/torn v1",
		},
		"what is presumed to be absent does not, even when fresh": {
			scenario: scenario{Desired: []string{"ConfigMap new=1", "ConfigMap held=1", "ConfigMap claim=1", "Job hook=1 hook:pre-sync"},
				Inventory: []string{"ConfigMap claim"}, Presume: true, Held: []string{"held"}, Hooks: true},
			fresh: true,
			want:  "ConfigMap web/claim v1, ConfigMap web/held v1, Job web/hook v1",
		},
		"what might be pruned does, in the version it was applied in": {
			scenario: scenario{Desired: []string{"ConfigMap a=1"}, Inventory: []string{"ConfigMap a=1 uid:1", "OldDeployment d=1 uid:2"}},
			want:     "Deployment web/d v1beta1",
		},
		"with prune off it does not": {
			scenario: scenario{Desired: []string{"ConfigMap a=1"}, Inventory: []string{"ConfigMap a=1 uid:1", "ConfigMap b=1 uid:2"}, App: off()},
		},
		"a fresh look is at everything": {
			scenario: scenario{Desired: []string{"ConfigMap a=1"}, Inventory: []string{"ConfigMap a=1 uid:1", "ConfigMap b=1 uid:2"}, App: off()},
			fresh:    true,
			want:     "ConfigMap web/a v1, ConfigMap web/b v1",
		},
		"the shared namespace does while something in it may be new": {
			scenario: scenario{Desired: []string{"ConfigMap a=1", "ConfigMap b=1"}, Inventory: []string{"ConfigMap a=1 uid:1"}, App: shared()},
			want:     "Namespace web v1, ConfigMap web/b v1",
		},
		"the shared namespace does not when everything in it is there": {
			scenario: scenario{Desired: []string{"ConfigMap a=1"}, Inventory: []string{"ConfigMap a=1 uid:1"}, App: shared()},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, ref := range plan.Needs(tt.input(t), tt.fresh) {
				got = append(got, ref.ID.Human()+" "+ref.Version)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func off() policy    { return policy{Prune: new(bool)} }
func shared() policy { return policy{CreateNamespace: true} }

func TestTeardown(t *testing.T) {
	s := scenario{
		App: off(),
		Inventory: []string{"Namespace n=1 uid:1", "ConfigMap a=1 uid:2", "ConfigMap held=1 uid:3", "ConfigMap going=1 uid:4",
			"ConfigMap foreign=1 uid:5", "ConfigMap unread=1 uid:6", "ConfigMap gone=1 uid:7", "Deployment d=1 uid:8"},
		Live: []string{"Namespace n=1 uid:1 ours", "ConfigMap a=1 uid:2 ours", "ConfigMap held=1 uid:3 ours prune:disabled", "ConfigMap going=1 uid:4 ours deleting",
			"ConfigMap foreign=1 uid:5 owner:team/other", "ConfigMap gone absent", "Deployment d=1 uid:8 ours"},
	}
	in := s.input(t)
	tests := map[string]struct {
		policy v1alpha1.DeletionPolicy
		want   string
	}{
		"everything owned goes, whatever the limit and sync.prune": {v1alpha1.DeletionDelete, `prune
  prune     Deployment web/d: not in the source any more [uid 8]
  keep      ConfigMap web/unread: not in the source; the live object was not read [uid 6]
  forget    ConfigMap web/held: left in the cluster: not in the source; its annotation plumb.dev/prune is disabled [uid 3]
  forget    ConfigMap web/gone: not in the cluster any more [uid 7]
  keep      ConfigMap web/going: is being deleted [uid 4]
  forget    ConfigMap web/foreign: left in the cluster: its mark is "team/other", not that of this Application [uid 5]
  prune     ConfigMap web/a: not in the source any more [uid 2]
  prune     Namespace n: not in the source any more [uid 1]
`},
		"orphans are left and forgotten": {v1alpha1.DeletionOrphan, orphans("orphan")},
		"no policy deletes nothing":      {"", orphans("")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := plan.Teardown(in, tt.policy)
			if diff := cmp.Diff(tt.want, describe(p)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if p.Err() != nil {
				t.Errorf("is blocked: %v", p.Err())
			}
		})
	}
}

func orphans(policy string) string {
	out := "prune\n"
	for _, line := range []string{"Deployment web/d 8", "ConfigMap web/unread 6", "ConfigMap web/held 3", "ConfigMap web/gone 7",
		"ConfigMap web/going 4", "ConfigMap web/foreign 5", "ConfigMap web/a 2", "Namespace n 1"} {
		i := strings.LastIndex(line, " ")
		out += fmt.Sprintf("  forget    %s: left in the cluster: spec.deletionPolicy is %s [uid %s]\n", line[:i], policy, line[i+1:])
	}
	return out
}

func TestDigestNamesTheDeletionsAndNothingElse(t *testing.T) {
	digest := func(change func(*scenario)) string {
		s := scenario{
			Desired:   []string{"ConfigMap stays=1"},
			Inventory: []string{"ConfigMap stays=1 uid:0", "ConfigMap a=1 uid:1", "ConfigMap b=1 uid:2"},
			Live:      []string{"ConfigMap a=1 uid:1 ours", "ConfigMap b=1 uid:2 ours"},
		}
		change(&s)
		p, err := plan.Decide(s.input(t))
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	base := digest(func(*scenario) {})
	if base != "654da56c2f324757" {
		t.Errorf("digest is %s: a confirmation given before an upgrade is lost", base)
	}
	tests := map[string]struct {
		change func(*scenario)
		same   bool
	}{
		"another change in the source": {func(s *scenario) { s.Desired = []string{"ConfigMap stays=2"} }, true},
		"another state of the object":  {func(s *scenario) { s.Live[0] = "ConfigMap a=5 uid:1 rv:9 ours" }, true},
		"one deletion less":            {func(s *scenario) { s.Live[0] = "ConfigMap a absent" }, false},
		"another object of that name":  {func(s *scenario) { s.Inventory[1], s.Live[0] = "ConfigMap a=1 uid:7", "ConfigMap a=1 uid:7 ours" }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := digest(tt.change); (got == base) != tt.same {
				t.Errorf("%s, before %s", got, base)
			}
		})
	}
}

func TestClaimUnsettlesWhatIsWritten(t *testing.T) {
	s := scenario{
		App:       shared(),
		Desired:   []string{"ConfigMap new=1", "ConfigMap changed=2", "ConfigMap same=1", "ConfigMap held=1", "ConfigMap drifted=1"},
		Inventory: []string{"ConfigMap changed=1 uid:1", "ConfigMap same=1 uid:2", "ConfigMap leftover=1 uid:3", "ConfigMap held=1 uid:4", "ConfigMap drifted=1 uid:5"},
		Live: []string{"ConfigMap new absent", "ConfigMap leftover=1 uid:3 ours", "ConfigMap held=1 uid:4 ours deleting",
			"ConfigMap drifted=7 uid:5 ours", "Namespace web absent"},
	}
	in := s.input(t)
	p, err := plan.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range p.Claim(in.Inventory).Entries() {
		got[e.ID.Name] = fmt.Sprintf("%s %v", e.UID, e.Settled())
	}
	want := map[string]string{"new": " false", "changed": "1 false", "same": "2 true", "leftover": "3 true", "held": "4 false", "drifted": "5 true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claim (-want +got):\n%s", diff)
	}
}

func TestAgainDecidesAnewAboutOneObject(t *testing.T) {
	tests := map[string]struct {
		inventory, live string
		want            string
	}{
		"an object that vanished is created":                 {inventory: "ConfigMap a=1 uid:1", live: "", want: "create    ConfigMap web/a: was deleted from the cluster"},
		"one that came back as somebody's own is adopted":    {inventory: "ConfigMap a=1 uid:1", live: "ConfigMap a=1 uid:2", want: "adopt     ConfigMap web/a: exists, and nobody owns it"},
		"one that another Application took is a conflict":    {inventory: "ConfigMap a=1 uid:1", live: "ConfigMap a=1 uid:2 owner:team/other", want: "contest   ConfigMap web/a: belongs to Application team/other, so Application team/web does not take it over; remove it from one of the two sources"},
		"one that is still ours is applied under its uid":    {inventory: "ConfigMap a=1 uid:1", live: "ConfigMap a=1 uid:2 ours", want: "update    ConfigMap web/a: replaced in the cluster by another object of this name"},
		"one that is on its way out is not applied any more": {inventory: "ConfigMap a=1 uid:1", live: "ConfigMap a=1 uid:1 ours deleting", want: "hold      ConfigMap web/a: is being deleted, held by finalizers example.com/hold; it is made anew once it is gone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := scenario{Desired: []string{"ConfigMap a=2"}, Inventory: []string{tt.inventory}, Exists: []string{"team/other"}}
			p, err := plan.Decide(s.input(t))
			if err != nil {
				t.Fatal(err)
			}
			var live *unstructured.Unstructured
			if tt.live != "" {
				live, _ = parseObject(t, tt.live)
			}
			got, err := p.Again(p.Actions()[0], live)
			if err != nil || got.String() != tt.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestAPlanTellsHowToConfirmIt(t *testing.T) {
	p := plan.Plan{Application: application().Key(), Digest: "0123456789abcdef", Blocked: "would delete Namespace n"}
	want := "nothing was changed, since this would delete Namespace n; if that is meant, confirm it: " +
		"kubectl annotate --overwrite -n team applications.plumb.dev web plumb.dev/confirm-prune=0123456789abcdef"
	if got := p.Err().Error(); got != want {
		t.Errorf("got %s", got)
	}
	if zero := (plan.Plan{}); zero.Err() != nil || !zero.Settled() || len(zero.Actions()) != 0 || zero.Claim(inventory.Inventory{}).Len() != 0 {
		t.Errorf("the zero plan does something:\n%s", zero)
	}
}

func TestWithoutKnowingTheApplicationsEachMayExist(t *testing.T) {
	in := scenario{Desired: []string{"ConfigMap a=1"}, Live: []string{"ConfigMap a=0 uid:9 owner:team/old"}}.input(t)
	in.Exists = nil
	p, err := plan.Decide(in)
	if err != nil || len(p.Contested()) != 1 || fault.ReasonOf(p.Contested()[0].Conflict()) != fault.OwnershipConflict {
		t.Errorf("got %v\n%s", err, p)
	}
}
