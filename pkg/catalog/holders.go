package catalog

import (
	"slices"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// HeldByOther says whether an Application other than key has the object in its inventory, as
// the watch knows it.
func (c *Catalog) HeldByOther(id object.ID, key app.Key) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	holder, held := c.holders[id.String()]
	return held && holder != key
}

// holders are by the id of an object the Application that has it in its inventory: of
// several, the one that took it last.
type holders map[string]app.Key

// follow notes what became of the inventory of an Application.
func (h holders) follow(key app.Key, old, now *v1alpha1.Application) {
	before, after := entries(old), entries(now)
	if slices.EqualFunc(before, after, func(a, b v1alpha1.InventoryEntry) bool { return a.ID == b.ID }) {
		return
	}
	for _, e := range before {
		if h[e.ID] == key {
			delete(h, e.ID)
		}
	}
	for _, e := range after {
		h[e.ID] = key
	}
}

func entries(a *v1alpha1.Application) []v1alpha1.InventoryEntry {
	if a == nil {
		return nil
	}
	stored, err := inventory.Stored(a)
	if err != nil || stored == nil {
		return nil // the worker says in the status that it cannot be read
	}
	return stored.Entries
}
