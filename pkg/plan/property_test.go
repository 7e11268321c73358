package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// Whatever was owned, is rendered, and is found in the cluster: the laws hold.
func TestLaws(t *testing.T) {
	refused := 0
	for seed := range uint64(1000) {
		s := random(rand.New(rand.NewPCG(seed, 1)))
		in := s.input(t)
		if s.App.CreateNamespace {
			in.Live[object.ID{Kind: "Namespace", Name: "web"}] = nil
		}
		p, err := plan.Decide(in)
		if err != nil && s.Hooks {
			refused++ // an object stands in the way of a hook
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%+v", seed, err, s)
		}
		for _, broken := range violations(in, p) {
			t.Errorf("seed %d: %s\n%s\n%+v", seed, broken, p, s)
		}
	}
	if refused > 300 {
		t.Errorf("%d of 1000 cases show nothing", refused)
	}
}

// random is a case over few names, so that sets overlap. Every object that might
// have to be read is, but what might be pruned now and then is not.
func random(r *rand.Rand) scenario {
	s := scenario{Heal: r.IntN(2) == 0, Hooks: r.IntN(2) == 0, App: policy{CreateNamespace: r.IntN(3) == 0, Limit: []string{"", "0", "100%", "3"}[r.IntN(4)]}}
	if r.IntN(4) == 0 {
		s.App.Prune = new(bool)
	}
	for i, name := range []string{"ConfigMap a", "ConfigMap b", "Secret a", "Deployment d", "OldDeployment d", "Namespace n", "PersistentVolumeClaim p", "Job j"} {
		policy := []string{"", " wave:-2", " wave:3", " apply:if-absent", " claimed-by:team/other"}[r.IntN(5)]
		if name == "Job j" {
			policy = []string{" hook:pre-sync", " hook:post-sync", " hook:sync-fail", " hook:pre-delete"}[r.IntN(4)]
		}
		rendered := i == 0 || r.IntN(2) == 0
		if rendered {
			s.Desired = append(s.Desired, fmt.Sprintf("%s=%d%s", name, r.IntN(2)+1, policy))
		}
		uid := r.IntN(3) + 10*i
		switch r.IntN(4) {
		case 0:
			s.Inventory = append(s.Inventory, name+policy)
		case 1:
			s.Inventory = append(s.Inventory, fmt.Sprintf("%s uid:%d%s", name, uid, policy))
		case 2:
			s.Inventory = append(s.Inventory, fmt.Sprintf("%s=1 uid:%d%s", name, uid, policy))
		}
		live := []string{"", " ours", " owner:team/old", " ours prune:disabled", " ours prune:confirm", " ours deleting"}[r.IntN(6)]
		switch {
		case r.IntN(4) == 0:
			s.Live = append(s.Live, name+" absent")
		case rendered || r.IntN(5) > 0:
			s.Live = append(s.Live, fmt.Sprintf("%s=%d uid:%d%s%s", name, r.IntN(2)+1, r.IntN(3)+10*i, live, policy))
		}
	}
	return s
}

// violations are the laws of invariants 4 and 5 that the plan breaks.
func violations(in plan.Input, p plan.Plan) (broken []string) {
	say := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	seen := map[object.ID]int{}
	uids := map[string]bool{}
	for _, s := range slices.Concat(p.Stages, p.SyncFail) {
		for _, a := range s.Actions {
			entry, known := in.Inventory.Get(a.ID)
			ours := known && a.Live != nil && (!entry.Settled() || entry.UID == a.UID) && a.Live.GetAnnotations()[v1alpha1.OwnerAnnotation] == "team/web"
			if a.Verb == plan.Replace && (a.Hook == plan.Sync || !ours) {
				say("%s is no hook of ours, and would be replaced", a.ID)
			}
			seen[a.ID]++
			if a.Live != nil {
				uids[string(a.Live.GetUID())] = true
			}
			if a.Verb == plan.Prune || a.Verb == plan.Keep || a.Verb == plan.Forget {
				say("%s is rendered, and the plan would %s it", a.ID, a.Verb)
			}
		}
	}
	for _, a := range p.Prune {
		seen[a.ID]++
		if _, owned := in.Inventory.Get(a.ID); !owned {
			say("%s is not owned, and stands in the prune", a.ID)
		}
		if law := unlawful(in, p, a); a.Verb == plan.Prune && law != "" {
			say("%s %s, and would be pruned", a.ID, law)
		}
		if uids[a.UID] && a.Verb == plan.Prune {
			say("%s is rendered by another name, and would be pruned", a.ID)
		}
	}
	for _, o := range in.Desired.All() {
		if seen[o.ID()] != 1 {
			say("%s is rendered, and stands %d times in the plan", o.ID(), seen[o.ID()])
		}
	}
	claimed := p.Claim(in.Inventory)
	for _, e := range in.Inventory.Entries() {
		if now, kept := claimed.Get(e.ID); !kept || now.UID != e.UID {
			say("the claim loses %s", e.ID)
		}
		if seen[e.ID] != 1 {
			say("%s is owned, and stands %d times in the plan", e.ID, seen[e.ID])
		}
	}
	for _, a := range p.Actions() {
		if _, is := claimed.Get(a.ID); a.Verb.Applies() && a.Owned() != is {
			say("%s is about to be applied, claimed: %v", a.ID, is)
		}
	}
	return broken
}

// unlawful says why the object must not be deleted.
func unlawful(in plan.Input, p plan.Plan, a plan.Action) string {
	entry, _ := in.Inventory.Get(a.ID)
	_, rendered := in.Desired.Get(a.ID)
	switch live := in.Live[a.ID]; {
	case rendered:
		return "is rendered"
	case live == nil:
		return "was not seen"
	case string(live.GetUID()) != a.UID || entry.Settled() && entry.UID != a.UID:
		return "has another uid"
	case live.GetAnnotations()[v1alpha1.OwnerAnnotation] != "team/web":
		return "does not bear our mark"
	case live.GetAnnotations()["plumb.dev/prune"] == "disabled", in.Application.Spec.Sync.Prune != nil:
		return "is held back"
	case a.ID.Kind == "Namespace" && p.Blocked == "":
		return "was not asked about"
	}
	return ""
}
