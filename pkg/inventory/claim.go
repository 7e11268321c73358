package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Of is what an Application owns: the inventory of its status or, while no attempt has
// written one, what its first sync claimed in FirstClaimAnnotation. Errors are those of
// From, and a claim that cannot be read is one, too.
func Of(a *v1alpha1.Application) (Inventory, error) {
	stored, err := Stored(a)
	if err != nil {
		return Inventory{}, err
	}
	return From(stored)
}

// Stored is the list that Of reads, in the form of the status; nil when there is none.
func Stored(a *v1alpha1.Application) (*v1alpha1.Inventory, error) {
	value, claimed := a.Annotations[v1alpha1.FirstClaimAnnotation]
	// Who removes the inventory of an Application that was applied once wants to begin anew.
	if !claimed || a.Status.Inventory != nil || a.Status.Revision != "" {
		return a.Status.Inventory, nil
	}
	c, err := readClaim(value)
	if err != nil {
		return nil, fault.Refuse(fault.PruneBlocked, fault.Place{}, "read the annotation %s: %w; only Plumb writes it: remove it: "+
			"what Git declares is adopted then, and what left Git meanwhile stays in the cluster", v1alpha1.FirstClaimAnnotation, err)
	}
	if c.UID != a.UID { // it came with a copy of another Application
		return nil, nil
	}
	return c.inventory.Status(), nil
}

// FirstClaim is the value of FirstClaimAnnotation for what an Application is about to own.
func FirstClaim(a *v1alpha1.Application, owned Inventory) (string, error) {
	value, err := json.Marshal(firstClaim{UID: a.UID, Objects: owned.Status().Entries})
	return string(value), err
}

// firstClaim is the form of FirstClaimAnnotation.
type firstClaim struct {
	UID     types.UID                 `json:"uid"`
	Objects []v1alpha1.InventoryEntry `json:"objects"`

	inventory Inventory
}

// readClaim believes only which objects were claimed: whether they were created, and by
// whom they are owned, is what the cluster says.
func readClaim(value string) (c firstClaim, err error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(value)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, err
	}
	if decoder.More() {
		return c, fmt.Errorf("more follows after the JSON object")
	}
	if c.UID == "" {
		return c, fmt.Errorf("uid: is missing")
	}
	listed, err := From(&v1alpha1.Inventory{Entries: c.Objects})
	if err != nil {
		return c, err
	}
	c.inventory = Inventory{}.Claim(listed.Entries()...)
	return c, nil
}
