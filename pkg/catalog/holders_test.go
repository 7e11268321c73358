package catalog_test

import (
	"testing"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestHeldByOther(t *testing.T) {
	c, client, namespace := open(t)
	shown := make(chan string, 100) // resourceVersions
	c.Subscribe(func(_, now *v1alpha1.Application) {
		if now != nil && now.Namespace == namespace {
			shown <- now.ResourceVersion
		}
	})
	run(t, c)
	key, other := app.Key{Namespace: namespace, Name: "web"}, app.Key{Namespace: namespace, Name: "other"}
	id := object.ID{Kind: "ConfigMap", Namespace: namespace, Name: "settings"}
	hold := func(entries ...v1alpha1.InventoryEntry) {
		t.Helper()
		a, err := c.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		a.Status.Inventory = &v1alpha1.Inventory{Entries: entries}
		if a, err = c.WriteStatus(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		for <-shown != a.ResourceVersion { // until the watch has shown it
		}
	}
	held := func(sentence string, byOther, byOwn bool) {
		t.Helper()
		if got := c.HeldByOther(id, other); got != byOther {
			t.Errorf("%s: held by another than other: %v", sentence, got)
		}
		if got := c.HeldByOther(id, key); got != byOwn {
			t.Errorf("%s: held by another than its holder: %v", sentence, got)
		}
	}
	apply(t, client, namespace, web)
	held("in no inventory", false, false)
	hold(v1alpha1.InventoryEntry{ID: id.String(), Version: "v1"})
	held("in an inventory", true, false)
	hold(v1alpha1.InventoryEntry{ID: "/ConfigMap/" + namespace + "/more", Version: "v1"})
	held("let go", false, false)
}
