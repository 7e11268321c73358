// Package inventory holds what an Application owns in its cluster, as an
// immutable value over the entries of its status.
//
// It may import object, fault and app/v1alpha1. Only From fails: entries that
// cannot be read are a permanent fault, since whatever is deleted is chosen from
// this list, and nothing is pruned on doubt.
package inventory

import (
	"cmp"
	"maps"
	"slices"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Entry is one owned object.
type Entry struct {
	ID      object.ID
	Version string // API version last applied, without the group
	UID     string // empty: claimed before the first write, perhaps not created
	Digest  string // of the rendered object last applied; empty: unsure
	Fields  string // hash of Plumb's managedFields entry after that apply; empty: unsure
	Hook    string // phases of an object that is a hook, as in its annotation; empty: it is none
}

// Settled says whether the entry tells what was applied to which object, so that
// an unchanged render needs no look at the cluster.
func (e Entry) Settled() bool { return e.UID != "" && e.Digest != "" }

// Inventory is a set of entries, each identity once. The zero value is empty.
// Its methods leave the receiver as it is.
type Inventory struct {
	entries map[object.ID]Entry
}

// From reads the entries of a status; nil is an empty inventory. An entry
// without identity or version and a second entry of one identity are permanent
// faults that name the entry.
func From(status *v1alpha1.Inventory) (Inventory, error) {
	if status == nil {
		return Inventory{}, nil
	}
	if status.Foreign != nil {
		return Inventory{}, fault.Refuse(fault.PruneBlocked, fault.Place{}, "read status.inventory: it is no list of entries with strings "+
			"for id, version, uid, digest, fields and hook; only Plumb writes it: restore it, or remove it: "+
			"what Git declares is adopted then, and what left Git meanwhile stays in the cluster")
	}
	entries := make(map[object.ID]Entry, len(status.Entries))
	for i, e := range status.Entries {
		id, err := object.ParseID(e.ID)
		if err != nil {
			return Inventory{}, refuse(i, "%w", err)
		}
		if e.Version == "" {
			return Inventory{}, refuse(i, "%s has no version", id)
		}
		if _, twice := entries[id]; twice {
			return Inventory{}, refuse(i, "%s stands there twice", id)
		}
		entries[id] = Entry{ID: id, Version: e.Version, UID: e.UID, Digest: e.Digest, Fields: e.Fields, Hook: e.Hook}
	}
	return Inventory{entries: entries}, nil
}

func refuse(index int, format string, args ...any) error {
	return fault.Refuse(fault.PruneBlocked, fault.Place{}, "read status.inventory.entries[%d]: "+format+
		"; only Plumb writes this list: restore it, or remove the entry to leave its object in the cluster",
		append([]any{index}, args...)...)
}

// Len returns how many objects are owned.
func (v Inventory) Len() int { return len(v.entries) }

// Get finds an entry.
func (v Inventory) Get(id object.ID) (Entry, bool) {
	e, ok := v.entries[id]
	return e, ok
}

// Entries returns the entries sorted by identity, as a fresh slice.
func (v Inventory) Entries() []Entry {
	return slices.SortedFunc(maps.Values(v.entries), func(a, b Entry) int {
		return cmp.Compare(a.ID.String(), b.ID.String())
	})
}

// Status returns the form of the Application's status.
func (v Inventory) Status() *v1alpha1.Inventory {
	out := &v1alpha1.Inventory{Entries: make([]v1alpha1.InventoryEntry, 0, len(v.entries))}
	for _, e := range v.Entries() {
		out.Entries = append(out.Entries, v1alpha1.InventoryEntry{
			ID: e.ID.String(), Version: e.Version, UID: e.UID, Digest: e.Digest, Fields: e.Fields, Hook: e.Hook,
		})
	}
	return out
}

// Claim returns the inventory with what is about to be written. Entries of new
// objects are added; one that is there keeps its uid and version and becomes
// unsettled: until the write is recorded nobody knows which of the two it holds.
func (v Inventory) Claim(entries ...Entry) Inventory {
	out := v.copy(len(entries))
	for _, e := range entries {
		claimed := Entry{ID: e.ID, Version: e.Version, Hook: e.Hook}
		if old, known := v.entries[e.ID]; known {
			claimed.Version, claimed.UID = old.Version, old.UID
		}
		out.entries[e.ID] = claimed
	}
	return out
}

// Record returns the inventory with entries added or replaced.
func (v Inventory) Record(entries ...Entry) Inventory {
	out := v.copy(len(entries))
	for _, e := range entries {
		out.entries[e.ID] = e
	}
	return out
}

// Without returns the inventory without the given objects.
func (v Inventory) Without(ids ...object.ID) Inventory {
	out := v.copy(0)
	for _, id := range ids {
		delete(out.entries, id)
	}
	return out
}

func (v Inventory) copy(more int) Inventory {
	entries := make(map[object.ID]Entry, len(v.entries)+more)
	maps.Copy(entries, v.entries)
	return Inventory{entries: entries}
}
