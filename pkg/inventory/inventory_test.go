package inventory_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/inventory"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func status(entries ...v1alpha1.InventoryEntry) *v1alpha1.Inventory {
	return &v1alpha1.Inventory{Entries: entries}
}

func TestFromRefusesWhatItCannotRead(t *testing.T) {
	tests := map[string]struct {
		in   *v1alpha1.Inventory
		want string // part of the error; empty: it is read
	}{
		"no inventory yet": {in: nil},
		"an owned object":  {in: status(v1alpha1.InventoryEntry{ID: "apps/Deployment/web/web", Version: "v1", UID: "u", Digest: "d", Fields: "f"})},
		"a claim":          {in: status(v1alpha1.InventoryEntry{ID: "/Namespace//web", Version: "v1"})},
		"something else":   {in: &v1alpha1.Inventory{Foreign: []byte(`7`)}, want: "only Plumb writes it"},
		"an id of three parts": {
			in:   status(v1alpha1.InventoryEntry{ID: "/Namespace//web", Version: "v1"}, v1alpha1.InventoryEntry{ID: "Deployment/web/web", Version: "v1"}),
			want: `status.inventory.entries[1]: parse object id "Deployment/web/web"`,
		},
		"an id without a name": {in: status(v1alpha1.InventoryEntry{ID: "/ConfigMap/web/", Version: "v1"}), want: "entries[0]"},
		"an entry without version": {
			in:   status(v1alpha1.InventoryEntry{ID: "/ConfigMap/web/a"}),
			want: "/ConfigMap/web/a has no version",
		},
		"one object twice": {
			in:   status(v1alpha1.InventoryEntry{ID: "/ConfigMap/web/a", Version: "v1", UID: "1"}, v1alpha1.InventoryEntry{ID: "/ConfigMap/web/a", Version: "v1", UID: "2"}),
			want: "entries[1]: /ConfigMap/web/a stands there twice",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := inventory.From(tt.in)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				want := tt.in
				if want == nil {
					want = status()
				}
				if diff := cmp.Diff(len(want.Entries), got.Len()); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.PruneBlocked {
				t.Errorf("is %s, %s", class, fault.ReasonOf(err))
			}
			if got.Len() != 0 {
				t.Errorf("%d entries beside the error", got.Len())
			}
		})
	}
}

func id(name string) object.ID { return object.ID{Kind: "ConfigMap", Namespace: "web", Name: name} }

func settled(name string) inventory.Entry {
	return inventory.Entry{ID: id(name), Version: "v1", UID: "uid-" + name, Digest: "digest-" + name, Fields: "fields-" + name}
}

func TestChanges(t *testing.T) {
	base := inventory.Inventory{}.Record(settled("a"), settled("b"))
	tests := map[string]struct {
		got  inventory.Inventory
		want []inventory.Entry
	}{
		"a claim of a new object has neither uid nor digest": {
			got:  base.Claim(inventory.Entry{ID: id("c"), Version: "v1", UID: "forged", Digest: "forged"}),
			want: []inventory.Entry{settled("a"), settled("b"), {ID: id("c"), Version: "v1"}},
		},
		"a claim of an owned object keeps its uid and unsettles it": {
			got:  base.Claim(inventory.Entry{ID: id("a"), Version: "v2"}),
			want: []inventory.Entry{{ID: id("a"), Version: "v1", UID: "uid-a"}, settled("b")},
		},
		"a record settles": {
			got:  base.Claim(inventory.Entry{ID: id("a"), Version: "v2"}).Record(settled("a")),
			want: []inventory.Entry{settled("a"), settled("b")},
		},
		"what is gone is dropped":           {got: base.Without(id("a"), id("z")), want: []inventory.Entry{settled("b")}},
		"nothing changes the original":      {got: base, want: []inventory.Entry{settled("a"), settled("b")}},
		"an empty inventory can be claimed": {got: inventory.Inventory{}.Claim(settled("a")), want: []inventory.Entry{{ID: id("a"), Version: "v1"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.got.Entries()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzFrom(f *testing.F) {
	f.Add("apps/Deployment/web/web", "v1", "uid", "/Namespace//web", "v1", "")
	f.Add("////", "", "", "a/b/c/d/e", "v1", "x")
	f.Fuzz(func(t *testing.T, id1, version1, uid1, id2, version2, uid2 string) {
		in := status(v1alpha1.InventoryEntry{ID: id1, Version: version1, UID: uid1}, v1alpha1.InventoryEntry{ID: id2, Version: version2, UID: uid2})
		read, err := inventory.From(in)
		if err != nil {
			return
		}
		again, err := inventory.From(read.Status())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(read.Entries(), again.Entries()); diff != "" {
			t.Error(diff)
		}
		if read.Len() != 2 {
			t.Errorf("%d of 2 entries", read.Len())
		}
		for i, e := range read.Entries() {
			if s := e.ID.String(); s != id1 && s != id2 {
				t.Errorf("entry %d is %q", i, s)
			}
		}
	})
}
