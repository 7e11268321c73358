package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// grave are kinds whose deletion takes more with it than the object itself.
var grave = []schema.GroupKind{
	{Kind: "Namespace"},
	definitionKind,
	{Kind: "PersistentVolumeClaim"},
	v1alpha1.GroupVersionKind.GroupKind(),
}

const (
	defaultLimit = "50%"
	fewDeletions = 2 // never too many by share alone
	digestLength = 16
	maxNamed     = 5
)

// leftovers decides about what is owned and not rendered, in the order of deletion.
func (j judge) leftovers() []Action {
	var actions []Action
	for _, e := range j.Inventory.Entries() {
		if o, rendered := j.Desired.Get(e.ID); !rendered || ignored(o) {
			actions = append(actions, j.surplus(e))
		}
	}
	slices.SortFunc(actions, func(a, b Action) int { return compareActions(b, a) })
	return actions
}

// surplus decides about one owned object that is not rendered. Owned means: in
// the inventory with that uid, and so marked. An entry that is not settled is of an
// attempt that did not end, and which may have created the object, or created it
// anew after somebody deleted it: then the claim and the mark must do.
func (j judge) surplus(entry inventory.Entry) Action {
	live, read := j.Live[entry.ID]
	a := Action{ID: entry.ID, Version: entry.Version, UID: entry.UID, Live: live}
	set := func(verb Verb, why string) Action {
		a.Verb, a.Why = verb, why
		return a
	}
	if o, rendered := j.Desired.Get(entry.ID); rendered && ignored(o) {
		return set(Forget, "left in the cluster: its annotation "+applyAnnotation+" is "+applyIgnore)
	}
	if moved, is := j.handover(a); is {
		return moved
	}
	switch {
	case read && live == nil:
		a.Absent = true
		return set(Forget, "not in the cluster any more")
	case !j.teardown && !j.prunes():
		return set(Keep, "not in the source; spec.sync.prune is false")
	case !read:
		return set(Keep, "not in the source; the live object was not read")
	case entry.Settled() && entry.UID != string(live.GetUID()):
		return set(Forget, "left in the cluster: another object took its name")
	case owner(live) != j.key().String():
		return set(Forget, fmt.Sprintf("left in the cluster: its mark is %q, not that of this Application", owner(live)))
	case live.GetDeletionTimestamp() != nil:
		return set(Keep, "is being deleted")
	case live.GetAnnotations()[pruneAnnotation] == pruneDisabled:
		return set(Keep, "not in the source; its annotation "+pruneAnnotation+" is "+pruneDisabled)
	}
	if same, is := j.alias(a, string(live.GetUID())); is {
		return set(Forget, "is "+same.String()+" by another name, which is rendered")
	}
	a.UID, a.ResourceVersion = string(live.GetUID()), live.GetResourceVersion()
	return set(Prune, "not in the source any more")
}

// alias finds the rendered object that is the same under another API group.
func (j judge) alias(a Action, uid string) (object.ID, bool) {
	for _, o := range j.Desired.All() {
		if ignored(o) {
			continue
		}
		entry, _ := j.Inventory.Get(o.ID())
		live := j.Live[o.ID()]
		if entry.UID == uid || live != nil && string(live.GetUID()) == uid {
			return o.ID(), true
		}
	}
	return object.ID{}, false
}

// guarded names the deletions and blocks the plan when they are too many or too
// grave, unless the Application confirms just these.
func (p Plan) guarded(in Input) (Plan, error) {
	var doomed []Action
	for _, a := range p.Prune {
		if entry, _ := in.Inventory.Get(a.ID); a.Verb == Prune && entry.Hook == "" {
			doomed = append(doomed, a)
		}
	}
	limit, err := limitOf(in)
	if err != nil {
		return Plan{}, err
	}
	if len(doomed) == 0 {
		return p, nil
	}
	p.Digest = digest(p, doomed)
	if in.Application.Annotations[v1alpha1.ConfirmPruneAnnotation] == p.Digest {
		return p, nil
	}
	if limit.exceeded(len(doomed)) {
		p.Blocked = fmt.Sprintf("would delete %d of %d objects, more than spec.sync.pruneLimit (%s) allows: %s",
			len(doomed), limit.owned, limit.text, names(doomed))
		return p, nil
	}
	doomed = slices.DeleteFunc(doomed, func(a Action) bool { return !asks(a) })
	if len(doomed) > 0 {
		p.Blocked = "would delete " + names(doomed)
	}
	return p, nil
}

func asks(a Action) bool {
	return slices.Contains(grave, a.ID.GroupKind()) || a.Live.GetAnnotations()[pruneAnnotation] == pruneConfirm
}

// limit is how many deletions need no confirmation.
type limit struct {
	text    string
	number  int
	percent bool
	owned   int // entries with a uid: claims that were never created would thin the share out
}

func limitOf(in Input) (limit, error) {
	l := limit{text: in.Application.Spec.Sync.PruneLimit}
	if l.text == "" {
		l.text = defaultLimit
	}
	digits, percent := strings.CutSuffix(l.text, "%")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || percent && n > 100 {
		return l, fault.Refuse(fault.PruneBlocked, fault.Place{Field: "spec.sync.pruneLimit"},
			"is %q; want a percentage up to 100%% or a count", l.text)
	}
	l.number, l.percent = int(n), percent
	for _, e := range in.Inventory.Entries() {
		if e.UID != "" && e.Hook == "" {
			l.owned++
		}
	}
	return l, nil
}

func (l limit) exceeded(deletions int) bool {
	if !l.percent {
		return deletions > l.number
	}
	return deletions > fewDeletions && deletions*100 > l.number*l.owned
}

// digest names exactly these deletions; it stays the same while they do, whatever
// else the plan would change.
func digest(p Plan, doomed []Action) string {
	h := sha256.New()
	fmt.Fprintf(h, "prune of %s\n", p.Application)
	for _, a := range doomed {
		fmt.Fprintf(h, "%s %s\n", a.ID, a.UID)
	}
	return hex.EncodeToString(h.Sum(nil))[:digestLength]
}

func names(actions []Action) string {
	var b strings.Builder
	for i, a := range actions {
		if i == maxNamed {
			fmt.Fprintf(&b, " and %d more", len(actions)-maxNamed)
			break
		}
		if i > 0 {
			io.WriteString(&b, ", ")
		}
		io.WriteString(&b, a.ID.Human())
	}
	return b.String()
}
